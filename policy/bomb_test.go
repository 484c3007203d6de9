package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// TestCostBombs has conditions that pass the estimate meet claims as large as
// they may be: each ends soon, and as a rule does that cannot be worked out.
func TestCostBombs(t *testing.T) {
	t.Parallel()
	var list []any
	for range 4000 {
		list = append(list, "a")
	}
	s := session.New("anna", session.Claims{"list": list, "text": strings.Repeat("a", 15<<10), "deep": deep(16)}, nil)
	for _, when := range []string{
		"claims.list.all(a, a == 'a')",
		"claims.list.all(a, claims.list.all(b, a == b))",
		"claims.list.map(a, claims.text).size() == 1",
		"claims.list.map(a, a + claims.text + claims.text).size() == 1",
		"claims.list.filter(a, claims.text.contains('b')).size() == 1",
		"claims.list.exists(a, claims.text.matches('^(a+)+b$'))",
		"claims.text.matches('(a*)*b') || claims.text.matches('(a|aa)+c')",
		"claims.deep == claims.deep && claims.list == claims.list && false",
		"(claims.text + claims.text + claims.text + claims.text).size() == 1",
		"claims.list.exists(a, claims.list == [a])",
	} {
		p, err := policy.Compile(policy.Config{Preset: "closed", Rules: []policy.Rule{rule("r", "call", "a:/allow", when), denying(rule("d", "call", "a:/deny", when))}})
		if err != nil {
			continue // refused
		}
		start := time.Now()
		allow, deny := p.Decide(s, ask(t, policy.Call, "a:/allow")), p.Decide(s, ask(t, policy.Call, "a:/deny"))
		if took := time.Since(start); took > time.Second && !race.Enabled {
			t.Errorf("%s took %v", when, took)
		}
		if allow.Allowed || deny.Allowed && deny.Why != "" {
			t.Errorf("%s: %+v, %+v", when, allow, deny)
		}
	}
}

func deep(n int) any {
	if n <= 1 {
		return "x"
	}
	return []any{deep(n - 1)}
}
