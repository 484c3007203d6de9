package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// What becomes of a condition.
const (
	refused = "it is refused"
	ended   = "its condition took too long"
	done    = "its condition does not hold"
)

// TestCostBombs has conditions meet claims as large as they may be: each is
// refused, or ends soon.
func TestCostBombs(t *testing.T) {
	t.Parallel()
	var list []any
	for range 3000 {
		list = append(list, "a")
	}
	s := session.New("anna", session.Claims{"list": list, "text": strings.Repeat("a", 3000), "deep": deep(session.MaxDepth)}, nil)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	for when, want := range map[string]string{
		"claims.list.all(a, a == 'a')":                                  ended,
		"claims.list.all(a, claims.list.all(b, a == b))":                refused,
		"claims.list.map(a, claims.text).size() == 1":                   ended,
		"claims.list.map(a, a + claims.text).size() == 1":               ended,
		"claims.list.filter(a, claims.text.contains('b')).size() == 1":  ended,
		"claims.list.exists(a, claims.text.matches('^(a+)+b$'))":        ended,
		"claims.text.matches('(a*)*b')":                                 done,
		"claims.deep == claims.deep && claims.list == 1":                done,
		"(claims.text + claims.text + claims.text).size() == 1":         done,
		"claims.list.exists(a, claims.list == [a])":                     ended,
		"[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, a < b))": done,
	} {
		p, err := policy.Compile(policy.Config{Preset: "dev", Rules: []policy.Rule{rule("a", "call", "a:/**", when), denying(rule("d", "call", "a:/**", when))}})
		if err != nil {
			if want != refused || !strings.Contains(err.Error(), "too long") {
				t.Errorf("%s: %v", when, err)
			}
			continue
		}
		start := time.Now()
		d := p.Decide(s, ask(t, policy.Call, "a:/x"))
		if took := time.Since(start); took > time.Second && !race.Enabled {
			t.Errorf("%s took %v", when, took)
		}
		for _, step := range p.Explain(s, ask(t, policy.Call, "a:/x"))[:2] {
			if step.Why != want || step.Matched != (step.Deny && want == ended) || d.Allowed != (want == done) {
				t.Errorf("%s: %+v, %+v", when, step, d)
			}
		}
	}
}

func deep(n int) any {
	if n <= 1 {
		return "x"
	}
	return []any{deep(n - 1)}
}
