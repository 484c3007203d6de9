package route_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// farServer is a server of another node.
type farServer struct {
	server
	place route.Place
}

func (f *farServer) Place() *route.Place { return &f.place }

var _ route.Placed = (*farServer)(nil)

// in returns a server in a zone; "here" is this node.
func in(id, zone string, busy int) route.Endpoint {
	if zone == "here" {
		return &server{id: id, busy: busy, local: true}
	}
	return &farServer{server{id: id, busy: busy}, route.Place{Node: "n-" + id, Zone: zone}}
}

// at returns the strategies of a node in a zone.
func at(zone string) *route.Strategies {
	s := route.NewStrategies()
	s.SetHome(route.Place{Node: "me", Zone: zone})
	return s
}

func get(t testing.TB, s *route.Strategies, name string) route.Strategy {
	t.Helper()
	x, ok := s.Get(name)
	if !ok {
		t.Fatalf("no strategy %s", name)
	}
	return x
}

// Of two servers least-busy takes the one whose calls and way together are less.
func TestLeastBusyCountsTheWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		home string
		a, b route.Endpoint
		want string // "" for either
	}{
		{"idle here and there", "eu", in("a", "here", 0), in("b", "eu", 0), "a"},
		{"as busy", "eu", in("a", "here", 1), in("b", "eu", 0), ""},
		{"busier here", "eu", in("a", "here", 2), in("b", "eu", 0), "b"},
		{"other zone, idle", "eu", in("a", "here", 3), in("b", "us", 0), "a"},
		{"other zone, same", "eu", in("a", "here", 4), in("b", "us", 0), ""},
		{"other zone, full here", "eu", in("a", "here", 5), in("b", "us", 0), "b"},
		{"zone not known there", "eu", in("a", "here", 2), in("b", "", 0), "b"},
		{"zone not known here", "", in("a", "here", 2), in("b", "us", 0), "b"},
		{"near before far", "eu", in("a", "eu", 2), in("b", "us", 0), "a"},
		{"no place", "eu", in("a", "here", 0), &server{id: "b"}, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, counts := get(t, at(c.home), route.ByLeastBusy), map[string]int{}
			for range 100 {
				counts[s.Choose([]route.Endpoint{c.a, c.b}, "").ID()]++
			}
			if c.want == "" && len(counts) != 2 || c.want != "" && counts[c.want] != 100 {
				t.Errorf("chosen %v, want %q", counts, c.want)
			}
		})
	}
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	here, near, near2 := in("here", "here", 50), in("near", "eu", 9), in("near2", "eu", 30)
	far, bare := in("far", "us", 0), in("bare", "", 0)
	for _, c := range []struct {
		by, home string
		cands    []route.Endpoint
		want     string
	}{
		{route.ByPreferLocal, "eu", []route.Endpoint{far, near, here, near2}, "here"},
		{route.ByPreferLocal, "eu", []route.Endpoint{far, near, bare}, "near"},
		{route.ByPreferLocal, "eu", []route.Endpoint{near2, near, far}, "near"},
		{route.ByPreferLocal, "eu", []route.Endpoint{far}, "far"},
		{route.ByPreferLocal, "", []route.Endpoint{far, bare}, "bare"}, // nodes without a zone are one
		{route.ByPreferZone, "eu", []route.Endpoint{far, here, near}, "near"},
		{route.ByPreferZone, "eu", []route.Endpoint{here, far}, "here"},
		{route.ByPreferZone, "eu", []route.Endpoint{far}, "far"},
		{route.ByPreferZone, "us", []route.Endpoint{near, near2, far}, "far"},
	} {
		s := get(t, at(c.home), c.by)
		for range 40 {
			if e := s.Choose(c.cands, ""); e.ID() != c.want {
				t.Errorf("%s in %q chose %s of %v, want %s", c.by, c.home, e.ID(), ids(c.cands), c.want)
				break
			}
		}
	}
}

// Load spills over: with calls that stay, servers here fill up first, and then
// all fill evenly but for the way.
func TestLoadSpillsOver(t *testing.T) {
	t.Parallel()
	s := get(t, at("eu"), route.ByLeastBusy)
	all := []*farServer{
		{server{id: "here", local: true}, route.Place{}},
		{server{id: "near"}, route.Place{Zone: "eu"}},
		{server{id: "far"}, route.Place{Zone: "us"}},
	}
	cands := []route.Endpoint{all[0], all[1], all[2]}
	for range 300 {
		for _, f := range all {
			if f == s.Choose(cands, "") {
				f.busy++
				break
			}
		}
	}
	for _, f := range all[1:] {
		if d := all[0].busy - f.busy; d < 0 || d > 20 {
			t.Errorf("here %d, %s %d", all[0].busy, f.id, f.busy)
		}
	}
}

// placed is a table with servers here, near, near2 and far; and a match of all.
func placed(t *testing.T) (*route.Strategies, *route.Table, route.Match) {
	t.Helper()
	table := route.NewTable()
	for _, e := range []route.Endpoint{in("far", "us", 0), in("here", "here", 0), in("near", "eu", 0), in("near2", "eu", 0)} {
		serve(t, table, e, "s", "/x")
	}
	m, err := table.Lookup(addr(t, "s:/x"))
	if err != nil {
		t.Fatal(err)
	}
	return at("eu"), table, m
}

func TestScope(t *testing.T) {
	t.Parallel()
	known, table, m := placed(t)
	for scope, want := range map[string]map[string]bool{
		"":              {"here": true, "near": true, "near2": true, "far": true},
		route.ScopeMesh: {"here": true, "near": true, "near2": true, "far": true},
		route.ScopeNode: {"here": true},
		route.ScopeZone: {"here": true, "near": true, "near2": true},
	} {
		got := map[string]bool{}
		for range 400 {
			e, err := known.Choose(route.Selection{By: route.ByRandom, Scope: scope}, m, "")
			if err != nil {
				t.Fatal(err)
			}
			got[e.ID()] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("scope %q chose %v", scope, got)
		}
		targets, err := table.Expand(addr(t, "s:/x"))
		if err != nil {
			t.Fatal(err)
		}
		if targets, err = known.Within(route.Selection{By: route.ByAll, Scope: scope}, targets); err != nil || len(targets) != len(want) {
			t.Errorf("scope %q gathers from %d servers, %v", scope, len(targets), err)
		}
	}
	// One instance, as an address or by the strategy.
	one, err := table.Lookup(addr(t, "far@s:/x"))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := known.Choose(route.Selection{}, one, ""); err != nil || e.ID() != "far" {
		t.Errorf("far@: %v", err)
	}
	for _, sel := range []route.Selection{{Scope: route.ScopeZone}, {Scope: route.ScopeNode}} {
		_, err = known.Choose(sel, one, "")
		wantError(t, err, message.CodeServiceDown, fmt.Sprintf("scope %q", sel.Scope))
	}
	_, err = known.Choose(route.Selection{By: route.ByInstance, Instance: "far", Scope: route.ScopeNode}, m, "")
	wantError(t, err, message.CodeServiceDown, "another strategy")
}

func TestNobodyWithinScope(t *testing.T) {
	t.Parallel()
	table := route.NewTable()
	serve(t, table, in("far", "us", 0), "s", "/x")
	m, _ := table.Lookup(addr(t, "s:/x"))
	known := at("eu")
	for scope, text := range map[string]string{route.ScopeNode: "on this node", route.ScopeZone: "in the zone of this node, eu"} {
		_, err := known.Choose(route.Selection{Scope: scope}, m, "")
		wantText(t, err, message.CodeServiceDown, text)
		targets, _ := table.Expand(addr(t, "s:/x"))
		_, err = known.Within(route.Selection{By: route.ByAll, Scope: scope}, targets)
		wantError(t, err, message.CodeServiceDown, "reaches them")
		targets, _ = table.Expand(addr(t, "s:/*"))
		_, err = known.ChooseTarget(route.Selection{Scope: scope}, targets, "")
		wantText(t, err, message.CodeServiceDown, text)
	}
}

// What is known about scopes is forgotten when the node moves.
func TestSetHome(t *testing.T) {
	t.Parallel()
	known, _, m := placed(t)
	sel := route.Selection{By: route.ByFirst, Scope: route.ScopeZone}
	for range 3 {
		for zone, want := range map[string]string{"us": "far", "eu": "here"} {
			known.SetHome(route.Place{Zone: zone})
			if e, err := known.Choose(sel, m, ""); err != nil || e.ID() != want {
				t.Errorf("in %s: %v, %v", zone, e, err)
			}
		}
	}
}

// within reports whether a share came out as it should: five standard
// deviations of chance are allowed.
func within(got, calls int, share float64) bool {
	return math.Abs(float64(got)-share*float64(calls)) <= 5*math.Sqrt(share*(1-share)*float64(calls))+1
}
