package policy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// same tells whether two decisions say the same.
func same(a, b policy.Decision) bool {
	return a.Allowed == b.Allowed && a.By() == b.By() && a.Preset == b.Preset && a.Why == b.Why
}

func TestGuard(t *testing.T) {
	t.Parallel()
	g := policy.NewGuard(nil)
	s := claims(session.Claims{"role": "editor"})
	serve := ask(t, policy.Serve, "a:/x")
	for range 3 {
		if d := g.Check(s, serve); d.Allowed || !d.Preset || g.Version() != 1 {
			t.Errorf("%+v, version %d", d, g.Version())
		}
	}
	p := compiled(t, "", rule("editors", "serve", "a:/**", "claims.role == 'editor'"))
	if v := g.Swap(p); v != 2 || g.Version() != 2 || g.Policy() != p {
		t.Errorf("version %d", v)
	}
	for range 3 {
		if d := g.Check(s, serve); !d.Allowed || d.Rule != "editors" {
			t.Errorf("%+v", d)
		}
		if d := g.Check(nil, serve); d.Allowed {
			t.Errorf("%+v", d)
		}
	}
	changed, err := session.Patch{Set: session.Claims{"role": "reader"}}.Apply(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := g.Check(changed, serve); d.Allowed {
		t.Errorf("%+v", d)
	}
	g.Swap(nil)
	if d := g.Check(s, serve); d.Allowed {
		t.Errorf("%+v", d)
	}
}

// TestRemembersApart asks for what differs in one thing from what was asked
// before.
func TestRemembersApart(t *testing.T) {
	t.Parallel()
	g := policy.NewGuard(compiled(t, "closed", rule("r", "call", "a:/x",
		"address.method == 'get' && address.instance == 'i' && listener == 'main' && ip == '10.1.2.3'")))
	s := claims(nil)
	good := ask(t, policy.Call, "i@a:[get]/x")
	good.Listener, good.IP = "main", "10.1.2.3"
	bad := []policy.Ask{
		ask(t, policy.Send, "i@a:[get]/x"), ask(t, policy.Call, "i@b:[get]/x"), ask(t, policy.Call, "i@a:[get]/y"),
		ask(t, policy.Call, "i@a:[put]/x"), ask(t, policy.Call, "j@a:[get]/x"), ask(t, policy.Call, "a:/x"), good, good,
	}
	for i := range 6 {
		bad[i].Listener, bad[i].IP = "main", "10.1.2.3"
	}
	bad[6].Listener, bad[7].IP = "other", "10.1.2.4"
	for _, who := range []*session.Session{s, session.Anonymous()} {
		for range 3 {
			if d := g.Check(who, good); !d.Allowed {
				t.Errorf("%+v", d)
			}
			for _, b := range bad {
				if d := g.Check(who, b); d.Allowed {
					t.Errorf("%+v: %+v", b, d)
				}
			}
		}
	}
}

// TestRemembersOnlySoMuch asks for far more than is kept, in texts whose bytes
// are used again afterwards.
func TestRemembersOnlySoMuch(t *testing.T) {
	t.Parallel()
	g := policy.NewGuard(compiled(t, "closed", rule("r", "call", "a:/even/**", "")))
	s := claims(nil)
	for round := range 2 {
		for i := range 5000 {
			word := "odd"
			if i%2 == 0 {
				word = "even"
			}
			path := fmt.Sprintf("a:/%s/%d", word, i)
			if i%7 == 0 {
				path += strings.Repeat("x", 500)
			}
			if d := g.Check(s, ask(t, policy.Call, path)); d.Allowed != (i%2 == 0) {
				t.Fatalf("round %d: %s: %+v", round, path, d)
			}
			if d := g.Check(nil, ask(t, policy.Call, path)); d.Allowed != (i%2 == 0) {
				t.Fatalf("round %d: %s: %+v", round, path, d)
			}
		}
	}
}

// TestSwapRace replaces the policy while others ask.
func TestSwapRace(t *testing.T) {
	t.Parallel()
	yes, no := compiled(t, "closed", rule("yes", "call", "a:/**", "")), compiled(t, "closed", rule("no", "send", "a:/**", ""))
	g := policy.NewGuard(yes)
	s := claims(nil)
	asks := make([]policy.Ask, 50)
	for i := range asks {
		asks[i] = ask(t, policy.Call, fmt.Sprintf("a:/x/%d", i))
	}
	var wg sync.WaitGroup
	for who := range 4 {
		wg.Go(func() {
			whom := s
			if who%2 == 0 {
				whom = nil
			}
			for i := range 4000 {
				if d := g.Check(whom, asks[i%len(asks)]); d.Allowed != (d.Rule == "yes") {
					t.Errorf("%+v", d)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 400 {
			g.Swap([]*policy.Policy{yes, no}[i%2])
		}
	})
	wg.Wait()
	g.Swap(no)
	for _, a := range asks {
		if g.Check(s, a).Allowed || g.Check(nil, a).Allowed {
			t.Error("an answer of an old policy")
		}
	}
}

func TestCheckAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under -race")
	}
	g, s, a := busy(t)
	for _, who := range []*session.Session{s, nil} {
		g.Check(who, a)
		if n := testing.AllocsPerRun(100, func() { g.Check(who, a) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// busy is a guard with many rules, somebody, and something to ask.
func busy(t testing.TB) (*policy.Guard, *session.Session, policy.Ask) {
	var rules []policy.Rule
	for i := range 100 {
		rules = append(rules, rule("", "serve", fmt.Sprintf("s%d:/{claims.tenant}/**", i), "'editor' in claims.roles && ip.within('10.0.0.0/8')"))
	}
	s := claims(session.Claims{"tenant": "acme", "roles": []any{"reader", "editor"}})
	a := ask(t, policy.Serve, "s99:/acme/orders/{id}/lines")
	a.Listener, a.IP = "main", "10.1.2.3"
	return policy.NewGuard(compiled(t, "", rules...)), s, a
}

func BenchmarkCheck(b *testing.B) {
	g, s, a := busy(b)
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g.Check(s, a)
		}
	})
	b.Run("kept for nobody", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				g.Check(nil, a)
			}
		})
	})
	b.Run("decided", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g.Policy().Decide(s, a)
		}
	})
}

// Who is refused again and again is told the same, and the rules are looked
// through once.
func TestRefusalsThatAreKeptAreCheap(t *testing.T) { //nolint:paralleltest // it counts allocations
	var rules []policy.Rule
	for i := range 1000 {
		rules = append(rules, policy.Rule{Verbs: []string{"call"}, Addresses: []string{"svc:/**"}, When: fmt.Sprintf("claims.x == %d", i)})
	}
	p, err := policy.Compile(policy.Config{Preset: "closed", Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	g := policy.NewGuard(p)
	ask := policy.Ask{Verb: policy.Call, Address: message.Address{Name: "svc", Path: "/x"}}
	want := p.Decide(nil, ask).Error(nil, ask)
	allocs := testing.AllocsPerRun(10, func() {
		got := g.Check(nil, ask).Error(nil, ask)
		if got.Error() != want.Error() || got.Hint != want.Hint || got.Code != want.Code {
			t.Errorf("%v (%s), want %v (%s)", got, got.Hint, want, want.Hint)
		}
	})
	if allocs > 50 && !race.Enabled {
		t.Errorf("%v allocations for a refusal that is known", allocs)
	}
}
