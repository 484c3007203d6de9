package route

import "github.com/ropewalk/ropewalk/message"

// Lookup finds who serves an address. Of several patterns that match its path
// the most specific that has servers wins. An instance in the address leaves
// only the server with that id, and counts other servers' patterns as if they
// were not there. The name * means any service: each service is looked up, and
// the servers of all are in the match; that costs time in proportion to the
// number of services and allocates, everything else does neither. Wildcards in
// the path are for [Table.Expand]; here they are ordinary text.
//
// Sub id, method and query of the address do not matter. The error is a
// *message.Error: [message.CodeNoService] if nobody ever served the address,
// [message.CodeServiceDown] if somebody did and is gone, and
// [message.CodeOverloaded] if so many wildcard patterns compete that the
// look-up was given up.
func (t *Table) Lookup(a message.Address) (Match, error) {
	s := search{instance: a.Instance, visits: maxVisits}
	path := trimSlash(a.Path)
	if path != "" && path[0] != '/' {
		return Match{}, t.fail(&a, &s)
	}
	if a.Name == wildOne {
		return t.lookupAny(&a, &s, path)
	}
	service := t.root.kids.get(a.Name)
	if service == nil || !s.walk(service, path) {
		return Match{}, t.fail(&a, &s)
	}
	return s.match(path), nil
}

func (t *Table) lookupAny(a *message.Address, s *search, path string) (Match, error) {
	var all []*roster
	s.visits = maxSweep
	t.root.kids.each(func(service *node) bool {
		if s.walk(service, path) {
			all = append(all, s.found)
		}
		return s.visits > 0
	})
	if len(all) == 0 || s.visits <= 0 {
		return Match{}, t.fail(a, s)
	}
	r := merge(all)
	if a.Instance != "" {
		i := r.findID(a.Instance)
		return r.match(i, i+1, path), nil
	}
	return r.match(0, len(r.ends), path), nil
}

// search is one look-up on its way through the tree.
type search struct {
	instance string
	visits   int // left

	found *roster
	at    int   // of the instance in found
	down  bool  // a pattern matched that nobody serves any more
	other bool  // a pattern matched that only other instances serve
	left  int64 // when the last server of a pattern that matched left
}

// walk looks for the rest of a path below n, the most specific pattern first.
func (s *search) walk(n *node, rest string) bool {
	if s.visits--; s.visits < 0 {
		return false
	}
	if rest == "" {
		return s.take(n.leaf.Load())
	}
	seg, next := cutSegment(rest)
	if seg == "" {
		return false // no pattern matches an empty segment
	}
	if k := n.kids.get(seg); k != nil && s.walk(k, next) {
		return true
	}
	if k := n.one.Load(); k != nil && s.walk(k, next) {
		return true
	}
	x := n.rest.Load()
	return x != nil && !hasEmptySegment(next) && s.take(x)
}

// take accepts an entry if somebody who may be asked serves it.
func (s *search) take(x *entry) bool {
	if x == nil {
		return false
	}
	r := x.roster.Load()
	switch {
	case len(r.ends) == 0:
		s.down, s.left = true, max(s.left, x.left.Load())
		return false
	case s.instance != "":
		if s.at = r.findID(s.instance); s.at < 0 {
			s.other = true
			return false
		}
	}
	s.found = r
	return true
}

func (s *search) match(path string) Match {
	if s.instance != "" {
		return s.found.match(s.at, s.at+1, path)
	}
	return s.found.match(0, len(s.found.ends), path)
}
