package route_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

func strategy(t testing.TB, name string) route.Strategy {
	t.Helper()
	s, ok := route.NewStrategies().Get(name)
	if !ok {
		t.Fatalf("no strategy %s", name)
	}
	return s
}

// Not parallel: the suite counts allocations.
func TestBuiltinStrategies(t *testing.T) {
	for name, f := range map[string]ropewalktest.StrategyFeatures{
		route.ByFirst:       {},
		route.ByRoundRobin:  {Spreads: true},
		route.ByRandom:      {Spreads: true},
		route.ByLeastBusy:   {Spreads: true},
		route.BySticky:      {Spreads: true, Sticks: true},
		route.ByPreferLocal: {Spreads: true},
		route.ByPreferZone:  {Spreads: true},
		route.ByInstance:    {Refuses: true, KeyIsID: true},
	} {
		t.Run(name, func(t *testing.T) {
			ropewalktest.TestStrategy(t, func() route.Strategy { return strategy(t, name) }, f)
		})
	}
}

func TestFirstTakesTheOldest(t *testing.T) {
	t.Parallel()
	cands := servers(3)
	if e := strategy(t, route.ByFirst).Choose(cands, "x"); e != cands[0] {
		t.Errorf("chose %s", e.ID())
	}
}

// Each list of servers has its own turn, also when two are used alternately.
// Two lists may share a counter, once in 256 times.
func TestRoundRobinTakesTurns(t *testing.T) {
	t.Parallel()
	const pairs = 8
	regular := 0
	for range pairs {
		if takesTurns(strategy(t, route.ByRoundRobin), servers(2), servers(2)) {
			regular++
		}
	}
	if regular < pairs-3 {
		t.Errorf("only %d of %d pairs of lists were served in turn", regular, pairs)
	}
}

func takesTurns(s route.Strategy, lists ...[]route.Endpoint) bool {
	last := make([]route.Endpoint, len(lists))
	for range 20 {
		for l := range lists {
			e := s.Choose(lists[l], "")
			if e == last[l] {
				return false
			}
			last[l] = e
		}
	}
	return true
}

func TestLeastBusyAvoidsTheBusiest(t *testing.T) {
	t.Parallel()
	cands := []route.Endpoint{&server{id: "busy", busy: 9}, &server{id: "idle"}, &server{id: "some", busy: 3}}
	s, counts := strategy(t, route.ByLeastBusy), map[string]int{}
	for range 3000 {
		counts[s.Choose(cands, "").ID()]++
	}
	if counts["busy"] != 0 || counts["idle"] < 1700 || counts["some"] < 700 {
		t.Errorf("chosen %v", counts)
	}
}

func TestPreferLocal(t *testing.T) {
	t.Parallel()
	far, near := &server{id: "far"}, &server{id: "near", busy: 99, local: true}
	s := strategy(t, route.ByPreferLocal)
	cands := []route.Endpoint{far, &server{id: "far2"}, near}
	for range 50 {
		if e := s.Choose(cands, ""); e != near {
			t.Fatalf("chose %s", e.ID())
		}
		if e := s.Choose(cands[:2], ""); e == nil {
			t.Fatal("chose none, although there are others")
		}
	}
	// Among local ones the least busy of any two.
	counts := map[string]int{}
	cands = append(cands, &server{id: "idle", local: true}, &server{id: "busiest", busy: 100, local: true})
	for range 300 {
		counts[s.Choose(cands, "").ID()]++
	}
	if counts["busiest"] != 0 || counts["idle"] == 0 || counts["near"] == 0 || len(counts) != 2 {
		t.Errorf("chosen %v", counts)
	}
}

// Keys must not move when a node is updated: the hash is part of the contract.
func TestStickyIsFixedForEver(t *testing.T) {
	t.Parallel()
	s, cands := strategy(t, route.BySticky), servers(5)
	var got []string
	for i := range 10 {
		got = append(got, s.Choose(cands, fmt.Sprintf("customer-%d", i)).ID())
	}
	const want = "s3 s1 s0 s2 s1 s3 s3 s4 s4 s0"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

// own is a plug-in.
type own struct{ name string }

func (o own) Name() string { return o.name }
func (own) Choose(cands []route.Endpoint, key string) route.Endpoint {
	if len(cands) == 0 || key == "none" {
		return nil
	}
	return cands[len(cands)-1]
}

func TestStrategies(t *testing.T) {
	t.Parallel()
	all := route.NewStrategies()
	for _, bad := range []string{"", "Last", "a b", "ä"} {
		wantError(t, all.Register(own{bad}), message.CodeInvalidInput, "")
	}
	for _, taken := range []string{route.ByFirst, route.ByAll, route.ByMajority} {
		wantError(t, all.Register(own{taken}), message.CodeConflict, "")
	}
	wantError(t, all.SetDefault("newest"), message.CodeBadMessage, "round-robin")
	if err := all.Register(own{"newest"}); err != nil {
		t.Fatal(err)
	}
	if names := all.Names(); strings.Join(names, " ") !=
		"all first instance least-busy majority newest prefer-local prefer-zone random round-robin sticky" {
		t.Errorf("names %v", names)
	}
}

func TestStrategiesChoose(t *testing.T) {
	t.Parallel()
	all := route.NewStrategies()
	if err := all.Register(own{"newest"}); err != nil {
		t.Fatal(err)
	}
	table, _ := tableOf(t, "a=s:/x", "b=s:/x", "c=s:/x", "a=s:/y", "b=s:/y", "c=s:/y")
	x, _ := table.Lookup(addr(t, "s:/x"))
	y, _ := table.Lookup(addr(t, "s:/y"))
	choose := func(sel route.Selection, m route.Match) string {
		t.Helper()
		e, err := all.Choose(sel, m, "caller")
		if err != nil {
			t.Fatal(err)
		}
		return e.ID()
	}
	if err := all.SetRoute("s:/x", "newest"); err != nil {
		t.Fatal(err)
	}
	if err := all.SetDefault(route.ByFirst); err != nil {
		t.Fatal(err)
	}
	if got := choose(route.Selection{}, x) + choose(route.Selection{}, y) + choose(route.Selection{By: "newest"}, y); got != "cac" {
		t.Errorf("by route, default and call: %s, want cac", got)
	}
	if err := all.SetRoute("s:/x", ""); err != nil {
		t.Fatal(err)
	}
	if got := choose(route.Selection{}, x) + choose(route.Selection{By: "instance", Instance: "b"}, x); got != "ab" {
		t.Errorf("after the route's was taken back, and by instance: %s, want ab", got)
	}
	_, err := all.Choose(route.Selection{By: "instance", Instance: "z"}, x, "")
	wantError(t, err, message.CodeServiceDown, "another strategy")
	_, err = all.Choose(route.Selection{By: "newest", Key: "none"}, x, "")
	wantError(t, err, message.CodeServiceDown, "later")
	_, err = all.Choose(route.Selection{By: "fastest"}, x, "")
	wantError(t, err, message.CodeBadMessage, "newest")
	wantError(t, all.Check(route.Selection{By: "fastest"}), message.CodeBadMessage, "newest")
	for _, by := range []string{"", "newest", "all", "majority", "sticky"} {
		if err := all.Check(route.Selection{By: by}); err != nil {
			t.Errorf("Check(%q): %v", by, err)
		}
	}
	// Without a key, sticky sticks to the caller.
	sel := route.Selection{By: route.BySticky}
	if a, _ := all.Choose(sel, x, "me"); a != strategy(t, route.BySticky).Choose(x.Endpoints, "me") {
		t.Error("sticky without a key does not stick to the caller")
	}
}

func TestStrategiesWhileInUse(t *testing.T) {
	t.Parallel()
	all := route.NewStrategies()
	table, _ := tableOf(t, "a=s:/x", "b=s:/x")
	m, _ := table.Lookup(addr(t, "s:/x"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 300 {
			_ = all.Register(own{fmt.Sprintf("own-%d", i)})
			_ = all.SetRoute("s:/x", fmt.Sprintf("own-%d", i))
			_ = all.SetDefault([]string{route.ByFirst, route.ByRandom}[i%2])
		}
	})
	wg.Go(func() {
		for range 3000 {
			if e, err := all.Choose(route.Selection{}, m, ""); err != nil || e == nil {
				t.Errorf("Choose: %v", err)
			}
		}
	})
	wg.Wait()
}

func TestChooseDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	all := route.NewStrategies()
	table, _ := tableOf(t, "a=s:/x", "b=s:/x")
	m, _ := table.Lookup(addr(t, "s:/x"))
	for _, raw := range []string{"", `"sticky"`, `"round-robin"`} {
		str := []byte(raw)
		if n := testing.AllocsPerRun(1000, func() {
			sel, err := route.ParseSelection(str)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := all.Choose(sel, m, "caller"); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations, want 0", raw, n)
		}
	}
}

func TestParseSelection(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]route.Selection{
		"":                                    {},
		"null":                                {},
		`"sticky"`:                            {By: "sticky"},
		`"my.own"`:                            {By: "my.own"},
		`"st\u0069cky"`:                       {By: "sticky"},
		`{}`:                                  {},
		`{"by":"sticky","key":"k","later":1}`: {By: "sticky", Key: "k"},
		`{"by":"instance","instance":"7f"}`:   {By: "instance", Instance: "7f"},
		`{"by":"all","quorum":2,"first":3,"parts":true}`: {By: "all", Quorum: 2, First: 3, Parts: true},
		`{"by":"majority","quorum":null}`:                {By: "majority"},
		`{"idempotent":true}`:                            {Idempotent: true},
		`{"idempotent":false,"by":null}`:                 {},
		`{"scope":"zone","version":"^1.2"}`:              {Scope: route.ScopeZone, Version: "^1.2"},
		`{"by":"all","scope":"node","version":">=1 <2"}`: {By: "all", Scope: route.ScopeNode, Version: ">=1 <2"},
	} {
		sel, err := route.ParseSelection([]byte(raw))
		if err != nil || sel != want {
			t.Errorf("%s: %+v, %v; want %+v", raw, sel, err, want)
		}
		again, err := route.ParseSelection(sel.AppendJSON(nil))
		if err != nil || again != sel {
			t.Errorf("%s: written and read again %+v, %v", raw, again, err)
		}
	}
	if !(route.Selection{By: "all"}).Gathers() || !(route.Selection{By: "majority"}).Gathers() || (route.Selection{}).Gathers() {
		t.Error("Gathers is wrong")
	}
	long := strings.Repeat("x", route.MaxKeyBytes+1)
	for _, raw := range []string{
		"7", "true", "nul", `"`, `"x`, "[]", "{", `{"by":7}`, `{"by":"all","quorum":-1}`, `{"by":"all","first":-1}`,
		`{"by":"all","quorum":1.5}`, `{"by":"all","quorum":1e99}`, `{"by":"all","parts":1}`, `{"quorum":1}`, `{"by":"first","parts":true}`,
		`{"by":"all","quorum":3,"first":2}`, `"instance"`, `{"by":"instance"}`, `{"by":"first","instance":"x"}`,
		`{"key":"` + long + `"}`, `{"scope":"moon"}`, `{"scope":1}`, `{"version":2}`, `{"idempotent":"yes"}`,
		`{"version":"` + long + `"}`,
	} {
		_, err := route.ParseSelection([]byte(raw))
		wantError(t, err, message.CodeBadMessage, " ")
	}
}

func FuzzParseSelection(f *testing.F) {
	for _, s := range []string{"", `"sticky"`, `{"by":"all","quorum":2,"first":3,"parts":true}`, `{"by":"sticky","key":"ü\u0000"}`, `"\ud800"`,
		`{"idempotent":true}`, `{"scope":"zone","version":"^1.2 || 3.x","idempotent":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		sel, err := route.ParseSelection(raw)
		if err != nil {
			return
		}
		again, err := route.ParseSelection(sel.AppendJSON(nil))
		if err != nil || again != sel {
			t.Fatalf("%q: %+v became %+v, %v", raw, sel, again, err)
		}
	})
}
