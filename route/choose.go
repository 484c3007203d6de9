package route

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ropewalk/ropewalk/message"
)

// SetHome tells the strategies on which node they choose, and in which zone that
// is: what they count as near. Before, no zone is known. Nodes cannot share
// strategies.
func (s *Strategies) SetHome(p Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home.place.Store(&p)
	next := *s.now.Load()
	next.set = &setting{home: &p, weights: next.set.weights}
	s.now.Store(&next)
}

// SetWeights splits the calls of a service among ranges of its versions, such as
// {"^1": 95, "^2.0.0-0": 5}: calls that ask for no range and no instance. The
// shares are in any unit. That of a range which has no server falls to the
// others; servers in no range get calls only while no range has a server.
// Gathers ask all. Which share a call falls into is chance, or, with the
// strategy sticky, up to its key; then the strategy chooses among the servers of
// that share. Ranges should not overlap: a server in two is in both shares.
//
// No weights at all take the split back. The error is a *message.Error with
// [message.CodeInvalidInput]; then nothing has changed.
func (s *Strategies) SetWeights(service string, shares map[string]float64) error {
	var w *weights
	if len(shares) > 0 {
		var err error
		if w, err = newWeights(shares); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.now.Load()
	all := maps.Clone(next.set.weights)
	if all == nil {
		all = map[string]*weights{}
	}
	if w == nil {
		delete(all, service)
	} else {
		all[service] = w
	}
	next.set = &setting{home: next.set.home, weights: all}
	s.now.Store(&next)
	return nil
}

// Weights returns the shares that [Strategies.SetWeights] has set, by service.
func (s *Strategies) Weights() map[string]map[string]float64 {
	set := s.now.Load().set
	out := make(map[string]map[string]float64, len(set.weights))
	for service, w := range set.weights {
		out[service] = maps.Clone(w.given)
	}
	return out
}

// Choose chooses the server for a call that is not a gather: of those within its
// scope and range of versions, and in the share that the call falls into, the
// one that the strategy wants. caller is the client id of who calls, to which
// sticky sticks if the call gives no key. The error is a *message.Error: as from
// [Strategies.For] and [Strategies.Check], or [message.CodeServiceDown] if there
// is no such server or the strategy wants none of them. It does not allocate in
// the steady state.
func (s *Strategies) Choose(sel Selection, m Match, caller string) (Endpoint, error) {
	now := s.now.Load()
	x, err := now.strategy(sel, m.Route)
	if err != nil {
		return nil, err
	}
	key := sel.KeyOr(caller)
	cands, err := now.candidates(sel, &m, x.Name(), key)
	if err != nil {
		return nil, err
	}
	if e := x.Choose(cands, key); e != nil {
		return e, nil
	}
	if sel.Instance != "" {
		return nil, message.NewError(message.CodeServiceDown,
			fmt.Sprintf("the server %s does not serve %s, or is gone", shorten(sel.Instance), m.Route),
			"Others serve it: use another strategy to reach any of them.")
	}
	return nil, wantsNone(x, len(cands), m.Route)
}

func wantsNone(x Strategy, servers int, route string) error {
	return message.NewError(message.CodeServiceDown,
		fmt.Sprintf("the strategy %s wants none of the %d servers of %s", x.Name(), servers, route),
		"Repeat the call later, or with another strategy.")
}

// narrows reports whether not every server comes into question.
func (s *Selection) narrows() bool {
	return s.Version != "" || (s.Scope != "" && s.Scope != ScopeMesh)
}

// candidates returns who of a match comes into question.
func (c *choices) candidates(sel Selection, m *Match, strategy, key string) ([]Endpoint, error) {
	split := len(c.set.weights) > 0 && sel.Version == "" && sel.Instance == "" && m.whole() && c.set.weights[m.Name] != nil
	if !split && !sel.narrows() {
		return m.Endpoints, nil
	}
	scope := sel.Scope
	if scope == ScopeMesh {
		scope = ""
	}
	v, err := m.roster.view(c.set, scope, sel.Version)
	if err != nil {
		return nil, err
	}
	ends := v.ends
	switch {
	case len(ends) > 0 && !m.whole(): // one instance was asked for
		ends = nil
		if slices.Contains(v.ends, m.Endpoints[0]) {
			ends = m.Endpoints
		}
	case split && len(v.shares) > 0:
		ends = pick(v.shares, strategy, key).ends
	}
	if len(ends) == 0 {
		return nil, nobodyIn(sel, c.set, m.Route, m.versions(c.set, scope))
	}
	return ends, nil
}

// versions lists those that there are within a scope.
func (m *Match) versions(set *setting, scope string) []seatVersion {
	var out []seatVersion
	for i, e := range m.Endpoints {
		if set.within(scope, e) {
			seat := &m.roster.seats[m.first+i]
			out = append(out, seatVersion{seat.info.Version, seat.version})
		}
	}
	return out
}

// Within leaves only those targets that are within the scope and range of
// versions that a selection asks for: what a gather asks. It changes the slice.
// The error is as from [Strategies.Choose], also when none is left.
func (s *Strategies) Within(sel Selection, targets []Target) ([]Target, error) {
	return s.now.Load().within(sel, targets)
}

func (c *choices) within(sel Selection, targets []Target) ([]Target, error) {
	if !sel.narrows() || len(targets) == 0 {
		return targets, nil
	}
	var in versions
	if sel.Version != "" {
		var bad *message.Error
		if in, bad = parseVersions(sel.Version); bad != nil {
			return nil, inSelection(bad)
		}
	}
	route := targets[0].Route
	var there []seatVersion
	left := slices.DeleteFunc(targets, func(t Target) bool {
		if !c.set.within(sel.Scope, t.Endpoint) {
			return true
		}
		there = append(there, seatVersion{t.info.Version, t.version})
		return sel.Version != "" && !in.has(t.version)
	})
	if len(left) == 0 {
		return nil, nobodyIn(sel, c.set, route, there)
	}
	return left, nil
}

// ChooseTarget is [Strategies.Choose] for an address with wildcards: it chooses
// one of the targets that [Table.Expand] returned, which it changes.
func (s *Strategies) ChooseTarget(sel Selection, targets []Target, caller string) (Target, error) {
	now := s.now.Load()
	x, err := now.strategy(sel, "")
	if err != nil {
		return Target{}, err
	}
	if targets, err = now.within(sel, targets); err != nil {
		return Target{}, err
	}
	key := sel.KeyOr(caller)
	if sel.Version == "" && sel.Instance == "" {
		targets = now.share(targets, x.Name(), key)
	}
	if t, ok := chooseTarget(x, targets, key); ok {
		return t, nil
	}
	return Target{}, wantsNone(x, len(targets), targets[0].Route)
}

// share leaves the targets of the share that a call falls into. Targets of
// several services are not split.
func (c *choices) share(targets []Target, strategy, key string) []Target {
	w := c.set.weights[targets[0].Name]
	if w == nil || slices.ContainsFunc(targets, func(t Target) bool { return t.Name != targets[0].Name }) {
		return targets
	}
	r := &roster{}
	for i := range targets {
		r.ends = append(r.ends, targets[i].Endpoint)
		r.seats = append(r.seats, seat{version: targets[i].version})
	}
	shares := r.split(w, func(int) bool { return true })
	if len(shares) == 0 {
		return targets
	}
	chosen := pick(shares, strategy, key)
	return slices.DeleteFunc(targets, func(t Target) bool { return !chosen.in.has(t.version) })
}
