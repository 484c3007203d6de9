package route_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Masterminds/semver/v3"
	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// versioned is a table in which each server, named by its place, serves s:/x in
// a version.
func versioned(t testing.TB, versions ...string) (*route.Table, route.Match) {
	t.Helper()
	table := route.NewTable()
	for i, v := range versions {
		e := &server{id: fmt.Sprintf("%d=%s", i, v), local: true}
		if err := table.Serve("s", route.MustPattern("/x"), e, route.Info{Version: v}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := table.Lookup(message.Address{Name: "s", Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	return table, m
}

// wantText checks an error and its text.
func wantText(t testing.TB, err error, code message.Code, text string) {
	t.Helper()
	if message.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want %s with %q", err, code, text)
	}
}

// chosen lists whom many calls reach, sorted.
func chosen(t *testing.T, known *route.Strategies, sel route.Selection, m route.Match) string {
	t.Helper()
	got := map[string]bool{}
	for range 100 {
		e, err := known.Choose(sel, m, "")
		if err != nil {
			return string(message.CodeOf(err))
		}
		got[e.ID()] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(got)), " ")
}

func TestVersions(t *testing.T) {
	t.Parallel()
	known := route.NewStrategies()
	table, m := versioned(t, "1.2.0", "1.9.3", "2.0.0-rc.1", "v2.1", "", "spring", "1")
	all := "0=1.2.0 1=1.9.3 2=2.0.0-rc.1 3=v2.1 4= 5=spring 6=1"
	for text, want := range map[string]string{
		"":                 all,
		"^1.2":             "0=1.2.0 1=1.9.3",
		"1.x":              "0=1.2.0 1=1.9.3 6=1",
		">=1.2 <2":         "0=1.2.0 1=1.9.3",
		">=1.2, <2":        "0=1.2.0 1=1.9.3",
		"1.2 - 1.8":        "0=1.2.0",
		"~1.2.0 || ^2":     "0=1.2.0 3=v2.1",
		"^2.0.0-0":         "2=2.0.0-rc.1 3=v2.1",
		"2.0.0-rc.1":       "2=2.0.0-rc.1",
		"1.2.0":            "0=1.2.0",
		"*":                "0=1.2.0 1=1.9.3 3=v2.1 6=1",
		"^3":               "service_down",
		"spring":           "bad_message",
		"^":                "bad_message",
		"1.2.3.4":          "bad_message",
		"1 2 3 and a half": "bad_message",
	} {
		sel := route.Selection{By: route.ByRandom, Version: text}
		if got := chosen(t, known, sel, m); got != want {
			t.Errorf("%q chose %s, want %s", text, got, want)
		}
		targets, _ := table.Expand(addr(t, "s:/x"))
		targets, err := known.Within(sel, targets)
		var ids []string
		for i := range targets {
			ids = append(ids, targets[i].Endpoint.ID())
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want && string(message.CodeOf(err)) != want {
			t.Errorf("%q gathers from %s, want %s", text, got, want)
		}
		if err := known.Check(sel); (err != nil) != (want == "bad_message") {
			t.Errorf("Check of %q: %v", text, err)
		}
	}
	for _, sel := range []route.Selection{{Version: "spring"}, {By: route.ByAll, Version: "spring"}} {
		err := known.Check(sel)
		wantError(t, err, message.CodeBadMessage, "^1.2")
		if message.AsError(err).Path != "str" {
			t.Errorf("path %q", message.AsError(err).Path)
		}
	}
}

func TestNobodyInRange(t *testing.T) {
	t.Parallel()
	known := route.NewStrategies()
	table, m := versioned(t, "1.2.0", "1.10.0", "1.2.0", "", "spring", "")
	_, err := known.Choose(route.Selection{Version: "^2"}, m, "")
	wantText(t, err, message.CodeServiceDown,
		`nobody serves s:/x in a version of the range "^2"; there is 1.10.0, 1.2.0, one without a version, "spring", which is no semantic version`)
	targets, _ := table.Expand(addr(t, "s:/*"))
	_, err = known.ChooseTarget(route.Selection{Version: "^2"}, targets, "")
	wantText(t, err, message.CodeServiceDown, "1.10.0, 1.2.0")
	one, _ := table.Lookup(addr(t, "1=1.10.0@s:/x"))
	if e, err := known.Choose(route.Selection{Version: "^1.3"}, one, ""); err != nil || e.ID() != "1=1.10.0" {
		t.Errorf("one instance in the range: %v", err)
	}
	_, err = known.Choose(route.Selection{Version: "~1.2"}, one, "")
	wantText(t, err, message.CodeServiceDown, "there is 1.10.0")

	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("1.%d.0", i))
	}
	_, m = versioned(t, many...)
	_, err = known.Choose(route.Selection{Version: "^2"}, m, "")
	wantText(t, err, message.CodeServiceDown, "1.19.0, 1.18.0, 1.17.0, 1.16.0, 1.15.0, 1.14.0, 1.13.0, 1.12.0, 12 more")
}

// Each range has its own turn, as long as there are not too many of them.
func TestRoundRobinInRange(t *testing.T) {
	t.Parallel()
	regular := 0
	for range 8 { // two lists may share a counter
		known := route.NewStrategies()
		_, m := versioned(t, "1.0.0", "2.0.0", "1.1.0", "2.1.0")
		turn := func(text string) string {
			e, err := known.Choose(route.Selection{By: route.ByRoundRobin, Version: text}, m, "")
			if err != nil {
				t.Fatal(err)
			}
			return e.ID()
		}
		ok := true
		one, two := turn("^1"), turn("^2")
		for range 10 {
			next, other := turn("^1"), turn("^2")
			ok = ok && next != one && other != two
			one, two = next, other
		}
		if ok {
			regular++
		}
	}
	if regular < 5 {
		t.Errorf("only %d of 8 were served in turn", regular)
	}
}

// More ranges than are kept are served all the same.
func TestManyRanges(t *testing.T) {
	t.Parallel()
	known := route.NewStrategies()
	_, m := versioned(t, "1.0.0", "1.5.0")
	for range 3 {
		for i := range 50 {
			sel := route.Selection{By: route.ByFirst, Version: fmt.Sprintf(">=0.%d <1.1", i)}
			if e, err := known.Choose(sel, m, ""); err != nil || e.ID() != "0=1.0.0" {
				t.Fatalf("%s: %v", sel.Version, err)
			}
		}
	}
}

// Whatever is served and asked for, the servers that get calls are those whose
// version is in the range and that are within the scope.
func TestSelectionModel(t *testing.T) {
	t.Parallel()
	versions := []string{"", "x", "0.9.0", "1.0.0", "1.2.3", "1.2.4-beta", "2.0.0", "2.0.0-rc.1"}
	ranges := []string{"", "^1", "1.2.x", ">=1 <2", "^2.0.0-0", "*", "^9", "<1"}
	zones := []string{"here", "eu", "us", ""}
	rapid.Check(t, func(t *rapid.T) {
		home := rapid.SampledFrom([]string{"eu", "us", ""}).Draw(t, "home")
		known, table := at(home), route.NewTable()
		type one struct {
			version, zone string
			e             route.Endpoint
		}
		var all []one
		for i := range rapid.IntRange(1, 6).Draw(t, "servers") {
			o := one{version: rapid.SampledFrom(versions).Draw(t, "version"), zone: rapid.SampledFrom(zones).Draw(t, "zone")}
			o.e = in(fmt.Sprint(i), o.zone, 0)
			all = append(all, o)
			if err := table.Serve("s", route.MustPattern("/x"), o.e, route.Info{Version: o.version}); err != nil {
				t.Fatal(err)
			}
		}
		m, err := table.Lookup(message.Address{Name: "s", Path: "/x"})
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			sel := route.Selection{
				By:      rapid.SampledFrom([]string{route.ByRandom, route.ByRoundRobin, route.BySticky, ""}).Draw(t, "by"),
				Version: rapid.SampledFrom(ranges).Draw(t, "range"),
				Scope:   rapid.SampledFrom([]string{"", "mesh", "node", "zone"}).Draw(t, "scope"),
			}
			want := map[route.Endpoint]bool{}
			for _, o := range all {
				near := o.zone == "here" || sel.Scope != "node" && (sel.Scope != "zone" || o.zone == home)
				if near && (sel.Version == "" || inRange(sel.Version, o.version)) {
					want[o.e] = true
				}
			}
			for i := range 10 {
				e, err := known.Choose(sel, m, fmt.Sprint("caller", i))
				switch {
				case len(want) == 0 && message.CodeOf(err) != message.CodeServiceDown:
					t.Fatalf("%+v: nobody fits, but %v", sel, err)
				case len(want) > 0 && (err != nil || !want[e]):
					t.Fatalf("%+v of %+v: chose %v, %v", sel, all, e, err)
				}
			}
		}
	})
}

func inRange(text, version string) bool {
	c, err := semver.NewConstraint(text)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(version)
	return err == nil && c.Check(v)
}

func TestSelectionsDoNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	known := at("eu")
	if err := known.SetWeights("s", map[string]float64{"^1": 90, "^2": 10}); err != nil {
		t.Fatal(err)
	}
	_, m := versioned(t, "1.0.0", "2.0.0", "1.1.0", "2.1.0", "")
	for _, sel := range []route.Selection{
		{},
		{By: route.BySticky, Key: "k"},
		{Version: "^1"},
		{By: route.ByRoundRobin, Version: "^2"},
		{Scope: route.ScopeNode},
		{Scope: route.ScopeZone, Version: "^1"},
		{By: route.ByPreferZone},
	} {
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := known.Choose(sel, m, "caller"); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%+v: %v allocations, want 0", sel, n)
		}
	}
	req := &route.Request{}
	req.Message.Strategy = []byte(`{"version":"^1"}`)
	if n := testing.AllocsPerRun(1000, func() { _, _ = req.Selection() }); n > 0.1 { // the first time
		t.Errorf("a request: %v allocations, want 0", n)
	}
	str := []byte(`{"idempotent":true}`)
	if n := testing.AllocsPerRun(1000, func() { _, _ = route.ParseSelection(str) }); n != 0 {
		t.Errorf("%s: %v allocations, want 0", str, n)
	}
}

// A request reads its field once, and again when somebody has changed it.
func TestRequestSelection(t *testing.T) {
	t.Parallel()
	req := &route.Request{}
	for _, raw := range []string{"", `{"version":"^1"}`, `{"version":"^2"}`, `"sticky"`, ""} {
		req.Message.Strategy = []byte(raw)
		want, _ := route.ParseSelection([]byte(raw))
		for range 2 {
			if sel, err := req.Selection(); err != nil || sel != want {
				t.Errorf("%s is %+v, %v", raw, sel, err)
			}
		}
	}
	req.Message.Strategy = []byte("7")
	if _, err := req.Selection(); err == nil {
		t.Error("7 was taken")
	}
}

// Views are made while servers come and go, and weights change.
func TestSelectionsWhileInUse(t *testing.T) {
	t.Parallel()
	known := at("eu")
	table, _ := versioned(t, "1.0.0", "2.0.0")
	var wg sync.WaitGroup
	wg.Go(func() {
		e := &server{id: "comes and goes", local: true}
		for i := range 300 {
			_ = table.Serve("s", route.MustPattern("/x"), e, route.Info{Version: fmt.Sprintf("1.%d.0", i)})
			_ = known.SetWeights("s", map[string]float64{"^1": float64(i + 1), "^2": 50})
			known.SetHome(route.Place{Zone: fmt.Sprint(i % 3)})
			table.UnserveAll(e)
		}
	})
	for w := range 3 {
		wg.Go(func() {
			for i := range 2000 {
				m, err := table.Lookup(message.Address{Name: "s", Path: "/x"})
				if err != nil {
					t.Error(err)
					return
				}
				sel := route.Selection{Version: []string{"", "^1", "^2", "*"}[(i+w)%4]}
				e, err := known.Choose(sel, m, "")
				if err != nil || sel.Version == "^2" && e.ID() != "1=2.0.0" {
					t.Errorf("%+v: %v, %v", sel, e, err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzVersions(f *testing.F) {
	for _, s := range []string{"^1.2", ">=1.2 <2", "1.x", "2.0.0-rc.1 || ~1", "1.0 - 2.0", "*", "v1", "=1", "!=1", "=>1", "1..", "^", "99999999999999999999"} {
		f.Add(s, s)
	}
	known := route.NewStrategies()
	f.Fuzz(func(t *testing.T, text, version string) {
		table := route.NewTable()
		e := &server{id: "a", local: true}
		if err := table.Serve("s", route.MustPattern("/x"), e, route.Info{Version: version}); err != nil {
			t.Fatal(err)
		}
		m, err := table.Lookup(message.Address{Name: "s", Path: "/x"})
		if err != nil {
			t.Fatal(err)
		}
		sel := route.Selection{Version: text}
		for range 2 {
			got, err := known.Choose(sel, m, "")
			if (got == nil) == (err == nil) {
				t.Fatalf("%q of %q: %v, %v", text, version, got, err)
			}
			if (known.Check(sel) != nil) != (message.CodeOf(err) == message.CodeBadMessage) {
				t.Fatalf("%q: Check and Choose differ: %v", text, err)
			}
		}
	})
}
