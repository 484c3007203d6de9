package route

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/Masterminds/semver/v3"
)

// entry is one route of a table: a name and a pattern that somebody serves, or
// served not long ago.
type entry struct {
	name, shape string
	node        *node
	slot        *atomic.Pointer[entry] // the field of node that points here
	roster      atomic.Pointer[roster] // never nil
	left        atomic.Int64           // when the last server left, in nanoseconds since 1970

	older, newer *entry // neighbours among the routes that are down
	down         bool
}

// roster is who serves a route, in order of serving since. It never changes:
// a change makes another.
type roster struct {
	ends  []Endpoint
	seats []seat // seats[i] is what ends[i] said

	views atomic.Pointer[[]*view] // those that were asked for
}

// seat is one server's part in a route. Servers of one route may write the
// pattern differently: {a}, {b} and * are the same.
type seat struct {
	id, name, route string
	pattern         Pattern
	info            Info
	version         *semver.Version // nil if it is none
	order           uint64          // grows with each new seat of the table
}

var nobody = &roster{}

func (r *roster) find(e Endpoint) int { return slices.Index(r.ends, e) }

func (r *roster) findID(id string) int {
	for i := range r.seats {
		if r.seats[i].id == id {
			return i
		}
	}
	return -1
}

// with returns the roster with e added at the end, or with its seat replaced.
func (r *roster) with(e Endpoint, s seat) *roster {
	if i := r.find(e); i >= 0 {
		next := &roster{ends: r.ends, seats: slices.Clone(r.seats)}
		s.order = r.seats[i].order
		next.seats[i] = s
		return next
	}
	// The array may be shared with r and older rosters, none of which looks
	// beyond its own length; only the newest is ever appended to.
	return &roster{ends: append(r.ends, e), seats: append(r.seats, s)}
}

func (r *roster) without(i int) *roster {
	if len(r.ends) == 1 {
		return nobody
	}
	return &roster{
		ends:  slices.Concat(r.ends[:i], r.ends[i+1:]),
		seats: slices.Concat(r.seats[:i], r.seats[i+1:]),
	}
}

// merge returns one roster of several, in order of serving since. A server that
// is in more than one is kept where it has served the longest.
func merge(all []*roster) *roster {
	if len(all) == 1 {
		return all[0]
	}
	type pair struct {
		e Endpoint
		s *seat
	}
	var pairs []pair
	for _, r := range all {
		for i, e := range r.ends {
			pairs = append(pairs, pair{e, &r.seats[i]})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.s.order, b.s.order) })
	out := &roster{}
	seen := make(map[Endpoint]struct{}, len(pairs))
	for _, p := range pairs {
		if _, dup := seen[p.e]; dup {
			continue
		}
		seen[p.e] = struct{}{}
		out.ends = append(out.ends, p.e)
		out.seats = append(out.seats, *p.s)
	}
	return out
}

// Match is what a look-up found: who serves an address.
//
// It is a snapshot: it stays as it is when servers come and go. It may be
// copied and used from any goroutine.
type Match struct {
	// Name is the service.
	Name string
	// Route is "name:/pattern". The number of different values is the number of
	// routes, so it may label a metric.
	Route string
	// Endpoints are the servers, in order of serving since; there is at least
	// one. Nobody may change the slice.
	Endpoints []Endpoint
	// Params are the parameters of the path.
	Params Params

	roster *roster
	first  int // where in the roster Endpoints begins
}

// For narrows a match to one of its endpoints. Servers of one route may have
// given its parameters different names, and a call to any service may find
// servers of several: Name, Route and Params are then those of e. Before, they
// are those of the first endpoint. If e is not in the match For returns it as
// it is. It does not allocate.
func (m Match) For(e Endpoint) Match {
	for i, have := range m.Endpoints {
		if have == e {
			return m.roster.match(m.first+i, m.first+i+1, m.Params.path)
		}
	}
	return m
}

// Info returns what the server e said about the route; of the first server if e
// is nil.
func (m Match) Info(e Endpoint) Info {
	for i, have := range m.Endpoints {
		if e == nil || have == e {
			return m.roster.seats[m.first+i].info
		}
	}
	return Info{}
}

// Check returns what Info has as Check for the server e; nil if e is not in
// the match.
func (m *Match) Check(e Endpoint) func(body []byte) error {
	for i, have := range m.Endpoints {
		if have == e {
			return m.roster.seats[m.first+i].info.Check
		}
	}
	return nil
}

// Idempotent reports whether the server e said that calls of the route may be
// repeated.
func (m *Match) Idempotent(e Endpoint) bool {
	for i, have := range m.Endpoints {
		if have == e {
			return m.roster.seats[m.first+i].info.Idempotent
		}
	}
	return false
}

// whole reports whether all servers of the roster are in the match.
func (m *Match) whole() bool { return len(m.Endpoints) == len(m.roster.ends) }

func (r *roster) match(from, to int, path string) Match {
	s := &r.seats[from]
	return Match{
		Name: s.name, Route: s.route, Endpoints: r.ends[from:to:to],
		Params: Params{names: s.pattern.names, path: path},
		roster: r, first: from,
	}
}

// newSeat is what e says about name and p.
func newSeat(name string, p Pattern, e Endpoint, info Info, order uint64) seat {
	return seat{
		id: e.ID(), name: name, route: strings.Join([]string{name, p.text}, ":"), pattern: p, info: info,
		version: parseVersion(info.Version), order: order,
	}
}

// downList keeps the routes that nobody serves any more, the newest last.
type downList struct {
	oldest, newest *entry
	count          int
}

func (l *downList) push(e *entry) {
	e.down, e.older, e.newer = true, l.newest, nil
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
	l.count++
}

func (l *downList) remove(e *entry) {
	if !e.down {
		return
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	e.down, e.older, e.newer = false, nil, nil
	l.count--
}
