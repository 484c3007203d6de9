package ropewalk_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// which is a service that answers with its version.
func which(version string) *ropewalk.Service {
	s := service.New("which", service.WithVersion(version))
	s.Handle("/", ropewalk.Handle(func(context.Context, struct{}) (string, error) { return version, nil }))
	return s
}

// The configuration splits calls among versions, and calls may ask for another.
func TestVersionsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	n, _ := startNode(t, func(c *ropewalk.Config) {
		c.Calls.Versions = map[string]map[string]float64{"which": {"^1": 100, "^2": 0}}
	})
	for _, v := range []string{"2.0.0", "1.0.0", "1.1.0"} {
		if err := n.Serve(which(v)); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(sel route.Selection) map[string]int {
		t.Helper()
		got := map[string]int{}
		for range 50 {
			v, err := ropewalk.Call[string](t.Context(), n, "which:/", struct{}{}, call.WithStrategy(sel))
			if err != nil {
				t.Fatal(err)
			}
			got[v]++
		}
		return got
	}
	if got := ask(route.Selection{}); len(got) != 2 || got["2.0.0"] != 0 {
		t.Errorf("without a range: %v", got)
	}
	if got := ask(route.Selection{Version: ">1"}); got["2.0.0"] == 0 || got["1.0.0"] != 0 {
		t.Errorf("with a range: %v", got)
	}
	if got := ask(route.Selection{Version: "2.x", Scope: route.ScopeZone}); got["2.0.0"] != 50 {
		t.Errorf("within the zone: %v", got)
	}
}

func TestBadVersionsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, bad := range []map[string]float64{{"newest": 5}, {"^1": -1}} {
		_, err := ropewalk.New(ropewalk.Config{Calls: ropewalk.Calls{Versions: map[string]map[string]float64{"which": bad}}})
		if err == nil || !strings.Contains(err.Error(), `calls.versions["which"]`) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
