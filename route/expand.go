package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/ropewalk/ropewalk/message"
)

// MaxTargets is how many targets the expansion of one address may have.
const MaxTargets = 1000

// Target is one server and one path of it that an address with wildcards, or a
// gather, goes to.
type Target struct {
	Endpoint Endpoint
	Name     string // the service
	Path     string // without wildcards
	Route    string // "name:/pattern"
	Params   Params

	order   uint64 // the smaller, the longer it has served
	info    Info
	version *semver.Version // nil if it is none
}

// Info returns what the server said about the route.
func (t *Target) Info() Info { return t.info }

// Match returns the target in the form of a look-up, for [Request.Matched].
func (t *Target) Match() Match {
	return Match{
		Name: t.Name, Route: t.Route, Endpoints: []Endpoint{t.Endpoint}, Params: t.Params,
		roster: &roster{ends: []Endpoint{t.Endpoint}, seats: []seat{{
			id: t.Endpoint.ID(), name: t.Name, route: t.Route, order: t.order, info: t.info, version: t.version,
			pattern: Pattern{names: t.Params.names},
		}}},
	}
}

// Expand finds every server and path that an address stands for. In the name *
// is any service; in the path * is any one segment and ** at the end is the
// rest, one segment or more. Wildcards in an address stand for segments that
// servers have written as they are: what a server wrote as {name}, * or ** can
// be anything, and is only found by a literal segment. For each service and
// path the most specific pattern that has servers counts, as in
// [Table.Lookup]. An instance leaves only that server.
//
// Targets are in order of name, path and serving since. The error is a
// *message.Error as from Lookup; more than [MaxTargets] targets, and addresses
// that take too long to expand, are [message.CodeOverloaded], a ** that is not
// at the end is [message.CodeBadAddress].
func (t *Table) Expand(a message.Address) ([]Target, error) {
	path := trimSlash(a.Path)
	if i := strings.Index(path+"/", "/**/"); i >= 0 && i+len("/**") != len(path) {
		err := message.NewError(message.CodeBadAddress, fmt.Sprintf("the path %s has ** before its end", shorten(a.Path)),
			"Use * for a single segment, and ** only as the last.")
		err.Path = shorten(a.Path)
		return nil, err
	}
	s := sweep{instance: a.Instance, visits: maxSweep, seen: map[string]struct{}{}}
	if path == "" || path[0] == '/' {
		if a.Name == wildOne {
			t.root.kids.each(func(n *node) bool {
				s.service(n, path)
				return !s.over()
			})
		} else if n := t.root.kids.get(a.Name); n != nil {
			s.service(n, path)
		}
	}
	switch {
	case s.over():
		err := message.NewError(message.CodeOverloaded,
			fmt.Sprintf("%s stands for more than %d servers and paths", shorten(a.Name+":"+a.Path), MaxTargets),
			"Use fewer wildcards.")
		err.Retryable = false // it will stay so
		return nil, err
	case len(s.out) == 0:
		return nil, t.fail(&a, &search{visits: 1, down: s.down, other: s.other})
	}
	slices.SortFunc(s.out, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path), cmp.Compare(a.order, b.order))
	})
	return s.out, nil
}

// sweep is one expansion on its way through the tree.
type sweep struct {
	instance string
	visits   int // left

	top   *node               // of the service
	path  []byte              // the concrete path so far
	seen  map[string]struct{} // paths of this service that have servers
	out   []Target
	down  bool
	other bool
}

func (s *sweep) over() bool { return s.visits <= 0 || len(s.out) > MaxTargets }

func (s *sweep) service(n *node, path string) {
	clear(s.seen)
	s.top, s.path = n, s.path[:0]
	s.walk(n, path)
}

// walk visits what the rest of the address stands for below n.
func (s *sweep) walk(n *node, rest string) {
	if s.visits--; s.over() {
		return
	}
	if rest == "" {
		s.take(n.leaf.Load())
		return
	}
	seg, next := cutSegment(rest)
	switch seg {
	case "":
	case wildOne:
		s.kids(n, func(k *node) { s.walk(k, next) })
	case wildRest:
		s.kids(n, s.all)
	default:
		if k := n.kids.get(seg); k != nil {
			s.enter(seg, func() { s.walk(k, next) })
		}
		if k := n.one.Load(); k != nil {
			s.enter(seg, func() { s.walk(k, next) })
		}
		if x := n.rest.Load(); x != nil && !hasEmptySegment(next) && !hasWild(next) {
			s.enter(rest[1:], func() { s.take(x) })
		}
	}
}

// all visits n and every literal below it.
func (s *sweep) all(n *node) {
	if s.visits--; s.over() {
		return
	}
	s.take(n.leaf.Load())
	s.kids(n, s.all)
}

func (s *sweep) kids(n *node, f func(*node)) {
	n.kids.each(func(k *node) bool {
		s.enter(k.seg, func() { f(k) })
		return !s.over()
	})
}

// enter runs f with the path made longer.
func (s *sweep) enter(seg string, f func()) {
	before := len(s.path)
	s.path = append(append(s.path, '/'), seg...)
	f()
	s.path = s.path[:before]
}

// take adds who serves the present path, if it has not done so, and if x shows
// that somebody does.
func (s *sweep) take(x *entry) {
	look := search{instance: s.instance, visits: s.visits}
	if !look.take(x) {
		s.down, s.other = s.down || look.down, s.other || look.other
		return
	}
	if _, done := s.seen[string(s.path)]; done {
		return
	}
	path := string(s.path)
	s.seen[path] = struct{}{}
	// Another pattern than x may be more specific: it is reached by another
	// way through the tree, or not at all if a wildcard meets a wildcard.
	found := look.walk(s.top, path)
	s.visits = look.visits
	if !found {
		return // gone this very moment, or it took too long
	}
	m := look.match(path)
	for i, e := range m.Endpoints {
		seat := &m.roster.seats[m.first+i]
		s.out = append(s.out, Target{
			Endpoint: e, Name: seat.name, Path: cmp.Or(path, "/"), Route: seat.route,
			Params: Params{names: seat.pattern.names, path: path},
			order:  seat.order, info: seat.info, version: seat.version,
		})
	}
}

// hasWild reports whether a rest of an address has wildcards.
func hasWild(rest string) bool {
	for rest != "" {
		var seg string
		if seg, rest = cutSegment(rest); seg == wildOne || seg == wildRest {
			return true
		}
	}
	return false
}

// chooseTarget chooses one of several targets by a strategy: a server first,
// then the first path of it that matches. It returns false if the strategy
// wants none. The targets are as [Table.Expand] returns them.
func chooseTarget(s Strategy, targets []Target, key string) (Target, bool) {
	byAge := slices.Clone(targets)
	slices.SortStableFunc(byAge, func(a, b Target) int { return cmp.Compare(a.order, b.order) })
	seen := make(map[Endpoint]struct{}, len(byAge))
	cands := make([]Endpoint, 0, len(byAge))
	for i := range byAge {
		if _, dup := seen[byAge[i].Endpoint]; !dup {
			seen[byAge[i].Endpoint] = struct{}{}
			cands = append(cands, byAge[i].Endpoint)
		}
	}
	chosen := s.Choose(cands, key)
	if chosen == nil {
		return Target{}, false
	}
	i := slices.IndexFunc(targets, func(t Target) bool { return t.Endpoint == chosen })
	if i < 0 {
		return Target{}, false
	}
	return targets[i], true
}
