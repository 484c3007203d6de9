// Package ropewalktest helps to test what plugs into Ropewalk: a conformance
// suite for each kind of plug-in.
package ropewalktest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/route"
)

// StrategyFeatures is what a strategy promises beyond the rules for all; it is
// tested for exactly that.
type StrategyFeatures struct {
	// Refuses is set if Choose may return nil although there are candidates.
	Refuses bool
	// Spreads: calls without a key, and those with many different keys, reach
	// every server, none less than a third and none more than three times as
	// often as if all were the same.
	Spreads bool
	// Sticks: the same key gets the same server whatever the order of the
	// candidates, only the keys of a server that goes move, and only those
	// move that a new server takes over.
	Sticks bool
	// KeyIsID: the key is the id of the server to choose.
	KeyIsID bool
	// Allocates is set if Choose may allocate.
	Allocates bool
}

// TestStrategy checks that a strategy keeps what [route.Strategy] asks for and
// what its features promise. newStrategy returns a new one each time.
func TestStrategy(t *testing.T, newStrategy func() route.Strategy, f StrategyFeatures) {
	t.Helper()
	t.Run("has a fixed name", func(t *testing.T) {
		t.Parallel()
		s := newStrategy()
		if s.Name() == "" || s.Name() != newStrategy().Name() {
			t.Errorf("names %q and %q", s.Name(), newStrategy().Name())
		}
	})
	t.Run("chooses none of none", func(t *testing.T) {
		t.Parallel()
		s := newStrategy()
		if e := s.Choose(nil, "key"); e != nil {
			t.Errorf("chose %s of nothing", e.ID())
		}
		if e := s.Choose([]route.Endpoint{}, ""); e != nil {
			t.Errorf("chose %s of nothing", e.ID())
		}
	})
	t.Run("chooses one of the candidates", func(t *testing.T) {
		t.Parallel()
		choosesCandidates(t, newStrategy(), f)
	})
	t.Run("is safe for concurrent use", func(t *testing.T) {
		t.Parallel()
		s, cands := newStrategy(), fakeServers(5)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 500 {
					s.Choose(cands[i%2:], strconv.Itoa(w*i%7))
				}
			})
		}
		wg.Wait()
	})
	if f.Spreads {
		t.Run("spreads", func(t *testing.T) { t.Parallel(); spreads(t, newStrategy) })
	}
	if f.Sticks {
		t.Run("sticks", func(t *testing.T) { t.Parallel(); sticks(t, newStrategy()) })
	}
	if f.KeyIsID {
		t.Run("takes the key for an id", func(t *testing.T) { t.Parallel(); keyIsID(t, newStrategy()) })
	}
	if !f.Allocates && !race.Enabled {
		// Not parallel: allocations are counted for the whole process.
		t.Run("does not allocate", func(t *testing.T) {
			s := newStrategy()
			for _, cands := range [][]route.Endpoint{fakeServers(7), farServers(7)} {
				if n := testing.AllocsPerRun(1000, func() { s.Choose(cands, "some key") }); n != 0 {
					t.Errorf("%v allocations a choice, want 0", n)
				}
			}
		})
	}
}

func choosesCandidates(t *testing.T, s route.Strategy, f StrategyFeatures) {
	t.Helper()
	choosesAmong(t, s, f, fakeServers(12))
	choosesAmong(t, s, f, farServers(12))
}

func choosesAmong(t *testing.T, s route.Strategy, f StrategyFeatures, all []route.Endpoint) {
	t.Helper()
	for n := 1; n <= len(all); n++ {
		cands := slices.Clone(all[:n])
		for i := range 40 {
			key := []string{"", "k", fmt.Sprintf("key-%d", i), "schlüssel"}[i%4]
			e := s.Choose(cands, key)
			switch {
			case e == nil && !f.Refuses:
				t.Fatalf("chose none of %d with key %q", n, key)
			case e != nil && !slices.Contains(cands, e):
				t.Fatalf("chose %s, which is no candidate", e.ID())
			case !slices.Equal(cands, all[:n]):
				t.Fatal("changed the list of candidates")
			}
		}
	}
}

func spreads(t *testing.T, newStrategy func() route.Strategy) {
	t.Helper()
	const n, each = 6, 500
	cands := fakeServers(n)
	for _, i := range []int{0, 1} {
		s, counts := newStrategy(), map[string]int{}
		for k := range n * each {
			key := []string{"", fmt.Sprintf("key-%d", k)}[i]
			if e := s.Choose(cands, key); e != nil {
				counts[e.ID()]++
			}
		}
		if len(counts) == 1 && i == 0 {
			continue // a strategy that sticks to its key has only one without keys
		}
		for _, e := range cands {
			if c := counts[e.ID()]; c < each/3 || c > each*3 {
				t.Errorf("%s was chosen %d times of %d", e.ID(), c, n*each)
			}
		}
	}
}

func sticks(t *testing.T, s route.Strategy) {
	t.Helper()
	const keys = 400
	cands := fakeServers(8)
	before := map[string]route.Endpoint{}
	for k := range keys {
		key := fmt.Sprintf("key-%d", k)
		before[key] = s.Choose(cands, key)
	}
	other := slices.Clone(cands)
	slices.Reverse(other)
	lost, gone := cands[3], slices.Delete(slices.Clone(cands), 3, 4)
	fresh := &fakeServer{id: "fresh", local: true}
	more := append(slices.Clone(cands), route.Endpoint(fresh))
	taken := 0
	for key, was := range before {
		if now := s.Choose(other, key); now != was {
			t.Errorf("%s moved from %s to %s because the order changed", key, was.ID(), now.ID())
		}
		if now := s.Choose(gone, key); now == nil || (now != was && was != lost) {
			t.Errorf("%s moved away from %s although that is there", key, was.ID())
		}
		switch s.Choose(more, key) {
		case was:
		case fresh:
			taken++
		default:
			t.Errorf("%s moved between old servers because of a new one", key)
		}
	}
	if taken == 0 || taken > keys/2 {
		t.Errorf("a ninth server took %d of %d keys", taken, keys)
	}
}

func keyIsID(t *testing.T, s route.Strategy) {
	t.Helper()
	cands := fakeServers(5)
	for _, want := range cands {
		if e := s.Choose(cands, want.ID()); e != want {
			t.Errorf("did not choose %s", want.ID())
		}
	}
	if e := s.Choose(cands, "nobody"); e != nil {
		t.Errorf("chose %s for an id that is not there", e.ID())
	}
}

// fakeServer is a candidate.
type fakeServer struct {
	id    string
	local bool
}

func fakeServers(n int) []route.Endpoint {
	out := make([]route.Endpoint, n)
	for i := range out {
		out[i] = &fakeServer{id: fmt.Sprintf("server-%d", i), local: true}
	}
	return out
}

func (*fakeServer) Handle(context.Context, *route.Request, route.Responder) {}
func (f *fakeServer) ID() string                                            { return f.id }
func (*fakeServer) InFlight() int                                           { return 1 }
func (f *fakeServer) Local() bool                                           { return f.local }

// farServer is a candidate on another node.
type farServer struct {
	fakeServer
	place *route.Place
}

func (f *farServer) Place() *route.Place { return f.place }

// farServers returns servers of several zones, of which every fourth is here.
func farServers(n int) []route.Endpoint {
	out := fakeServers(n)
	for i := range out {
		if i%4 != 3 {
			node := fmt.Sprintf("node-%d", i)
			out[i] = &farServer{
				fakeServer{id: fmt.Sprintf("server-%d", i)},
				&route.Place{Node: node, Name: node, Zone: []string{"", "east", "west"}[i%3]},
			}
		}
	}
	return out
}

var (
	_ route.Endpoint = (*fakeServer)(nil)
	_ route.Placed   = (*farServer)(nil)
)
