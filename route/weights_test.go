package route_test

import (
	"fmt"
	"maps"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// tally counts whom calls of many callers reach.
func tally(t testing.TB, known *route.Strategies, sel route.Selection, m route.Match, calls int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for i := range calls {
		e, err := known.Choose(sel, m, fmt.Sprint("caller-", i))
		if err != nil {
			t.Fatal(err)
		}
		got[e.ID()]++
	}
	return got
}

func TestCanary(t *testing.T) {
	t.Parallel()
	const calls = 20_000
	known := route.NewStrategies()
	_, m := versioned(t, "1.0.0", "1.1.0", "2.0.0-rc.1", "0.9.0", "")
	if err := known.SetWeights("s", map[string]float64{"^1": 95, "2.0.0-rc.1": 5}); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"", route.ByRoundRobin, route.BySticky, route.ByRandom} {
		got := tally(t, known, route.Selection{By: by}, m, calls)
		if !within(got["2=2.0.0-rc.1"], calls, .05) || got["3=0.9.0"]+got["4="] != 0 || got["0=1.0.0"] == 0 || got["1=1.1.0"] == 0 {
			t.Errorf("%q: %v", by, got)
		}
	}
	// Who asks for something of its own gets it.
	for sel, want := range map[route.Selection]string{
		{Version: "<1"}:                        "3=0.9.0",
		{By: route.ByInstance, Instance: "4="}: "4=",
	} {
		if got := tally(t, known, sel, m, 50); got[want] != 50 {
			t.Errorf("%+v: %v", sel, got)
		}
	}
	// A share without a server falls to the others.
	_, alone := versioned(t, "1.0.0", "0.9.0")
	if got := tally(t, known, route.Selection{}, alone, 500); got["0=1.0.0"] != 500 {
		t.Errorf("without the new version: %v", got)
	}
	// When nobody is in any range, all are asked.
	_, others := versioned(t, "0.9.0", "")
	if got := tally(t, known, route.Selection{}, others, 500); len(got) != 2 {
		t.Errorf("with nobody in any range: %v", got)
	}
	// Another service is not concerned.
	if err := known.SetWeights("s", nil); err != nil {
		t.Fatal(err)
	}
	if err := known.SetWeights("other", map[string]float64{"^9": 1}); err != nil {
		t.Fatal(err)
	}
	if got := tally(t, known, route.Selection{}, m, 1000); len(got) != 5 {
		t.Errorf("after the shares were taken back: %v", got)
	}
}

func TestCanaryWithinScope(t *testing.T) {
	t.Parallel()
	known, table := at("eu"), route.NewTable()
	for id, zone := range map[string]string{"1.0.0": "here", "1.1.0": "us", "2.0.0": "us"} {
		if err := table.Serve("s", route.MustPattern("/x"), in(id, zone, 0), route.Info{Version: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := known.SetWeights("s", map[string]float64{"^1": 50, "^2": 50}); err != nil {
		t.Fatal(err)
	}
	m, _ := table.Lookup(addr(t, "s:/x"))
	if got := tally(t, known, route.Selection{Scope: route.ScopeZone}, m, 100); got["1.0.0"] != 100 {
		t.Errorf("in the zone: %v", got)
	}
	if got := tally(t, known, route.Selection{}, m, 1000); !within(got["2.0.0"], 1000, .5) {
		t.Errorf("in the mesh: %v", got)
	}
}

func TestCanaryOfWildcards(t *testing.T) {
	t.Parallel()
	known := route.NewStrategies()
	if err := known.SetWeights("s", map[string]float64{"^1": 80, "^2": 20}); err != nil {
		t.Fatal(err)
	}
	table, _ := versioned(t, "1.0.0", "2.0.0", "3.0.0")
	count := func(address string) map[string]int {
		got := map[string]int{}
		for range 1000 {
			targets, err := table.Expand(addr(t, address))
			if err != nil {
				t.Fatal(err)
			}
			x, err := known.ChooseTarget(route.Selection{}, targets, "")
			if err != nil {
				t.Fatal(err)
			}
			got[x.Endpoint.ID()]++
		}
		return got
	}
	if got := count("s:/*"); !within(got["1=2.0.0"], 1000, .2) || got["2=3.0.0"] != 0 {
		t.Errorf("one service: %v", got)
	}
	serve(t, table, &server{id: "other", local: true}, "t", "/x")
	if got := count("*:/*"); len(got) != 4 {
		t.Errorf("several services: %v", got)
	}
}

// The same key stays with its version, and when a share grows only keys move
// that it takes over.
func TestCanarySticks(t *testing.T) {
	t.Parallel()
	known := route.NewStrategies()
	_, m := versioned(t, "1.0.0", "1.1.0", "2.0.0")
	sel := func(i int) route.Selection { return route.Selection{By: route.BySticky, Key: fmt.Sprint("k", i)} }
	var before []string
	for _, share := range []float64{5, 20, 60} {
		if err := known.SetWeights("s", map[string]float64{"^1": 100 - share, "2.x": share}); err != nil {
			t.Fatal(err)
		}
		var now []string
		for i := range 2000 {
			e, _ := known.Choose(sel(i), m, "")
			if again, _ := known.Choose(sel(i), m, ""); again != e {
				t.Fatalf("key %d went to %s and %s", i, e.ID(), again.ID())
			}
			now = append(now, e.ID())
		}
		for i := range before {
			if before[i] != now[i] && now[i] != "2=2.0.0" {
				t.Fatalf("at %v percent key %d moved from %s to %s", share, i, before[i], now[i])
			}
		}
		before = now
	}
}

// Shares come out as given, whatever they are and whoever serves.
func TestWeightsModel(t *testing.T) {
	t.Parallel()
	ranges := []string{"^1", "^2", "^3", "0.x"}
	rapid.Check(t, func(t *rapid.T) {
		const calls = 3000
		shares := map[string]float64{}
		for _, r := range ranges {
			if rapid.Bool().Draw(t, "weighted") {
				shares[r] = float64(rapid.IntRange(0, 100).Draw(t, "share"))
			}
		}
		table, versions := route.NewTable(), map[string]bool{}
		for i, v := range rapid.SliceOfN(rapid.SampledFrom([]string{"0.1.0", "1.0.0", "2.0.0", "3.0.0"}), 1, 6).Draw(t, "versions") {
			versions[v] = true
			e := &server{id: fmt.Sprint(v, "/", i)}
			if err := table.Serve("s", route.MustPattern("/x"), e, route.Info{Version: v}); err != nil {
				t.Fatal(err)
			}
		}
		of := map[string]string{"^1": "1.0.0", "^2": "2.0.0", "^3": "3.0.0", "0.x": "0.1.0"}
		total, given := 0.0, 0.0
		for r, n := range shares {
			if given += n; versions[of[r]] {
				total += n
			}
		}
		known := route.NewStrategies()
		err := known.SetWeights("s", shares)
		if (err != nil) != (len(shares) > 0 && given == 0) {
			t.Fatalf("SetWeights(%v): %v", shares, err)
		}
		if err != nil || total == 0 {
			return
		}
		m, _ := table.Lookup(message.Address{Name: "s", Path: "/x"})
		got := map[string]int{}
		by := rapid.SampledFrom([]string{"", route.BySticky, route.ByRoundRobin}).Draw(t, "by")
		for i := range calls {
			e, err := known.Choose(route.Selection{By: by}, m, fmt.Sprint("c", i))
			if err != nil {
				t.Fatal(err)
			}
			got[m.Info(e).Version]++
		}
		for _, r := range ranges {
			want := 0.0
			if versions[of[r]] {
				want = shares[r] / total
			}
			if !within(got[of[r]], calls, want) {
				t.Fatalf("shares %v of %v by %q: %v", shares, versions, by, got)
			}
		}
	})
}

func TestSetWeights(t *testing.T) {
	t.Parallel()
	known := route.NewStrategies()
	good := map[string]float64{"^1": 95, "^2.0.0-0": 5}
	if err := known.SetWeights("s", good); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]map[string]float64{
		"no range": {"new": 1},
		"negative": {"^1": -1, "^2": 2},
		"NaN":      {"^1": math.NaN()},
		"infinite": {"^1": math.Inf(1)},
		"nothing":  {"^1": 0},
		"too much": {"^1": math.MaxFloat64, "^2": math.MaxFloat64},
		"empty":    {"": 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, known.SetWeights("s", bad), message.CodeInvalidInput, "")
		})
	}
	got := known.Weights()
	if len(got) != 1 || !maps.Equal(got["s"], good) {
		t.Errorf("weights %v", got)
	}
	got["s"]["^1"] = 1 // is a copy
	if !maps.Equal(known.Weights()["s"], good) {
		t.Error("Weights can be changed from outside")
	}
}
