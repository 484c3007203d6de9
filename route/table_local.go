package route

import "slices"

// Seat is one server's part in a route, as nodes announce it to each other.
type Seat struct {
	Server  string // id
	Name    string
	Pattern Pattern
	Info    Info
}

// Local lists what the servers of this node serve, in no order. A server that
// serves a route more than once is in it as often. Changes that happen
// meanwhile may or may not be in the list.
func (t *Table) Local() []Seat {
	var out []Seat
	t.each(func(r *roster) {
		for i, e := range r.ends {
			if e.Local() {
				s := &r.seats[i]
				out = append(out, Seat{Server: s.id, Name: s.name, Pattern: s.pattern, Info: s.info})
			}
		}
	})
	return out
}

// Of lists what one server serves, in no order.
func (t *Table) Of(e Endpoint) []Seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Seat, 0, len(t.owned[e]))
	for x := range t.owned[e] {
		r := x.roster.Load()
		s := &r.seats[r.find(e)]
		out = append(out, Seat{Server: s.id, Name: s.name, Pattern: s.pattern, Info: s.info})
	}
	return out
}

// Under calls f with all who serve something under a name, in no order, until f
// returns false. Changes that happen meanwhile may or may not be seen.
func (t *Table) Under(name string, f func(e Endpoint, info *Info) bool) {
	n := t.root.kids.get(name)
	if n == nil {
		return
	}
	on := true
	n.each(func(r *roster) {
		for i, e := range r.ends {
			on = on && f(e, &r.seats[i].info)
		}
	})
}

// each calls f with the roster of each route that has servers.
func (t *Table) each(f func(*roster)) { t.root.each(f) }

// each calls f with the roster of each route from a node on that has servers.
func (n *node) each(f func(*roster)) {
	var walk func(*node) bool
	take := func(x *entry) {
		if x == nil {
			return
		}
		if r := x.roster.Load(); len(r.ends) > 0 {
			f(r)
		}
	}
	walk = func(n *node) bool {
		take(n.leaf.Load())
		take(n.rest.Load())
		if k := n.one.Load(); k != nil {
			walk(k)
		}
		return n.kids.each(walk)
	}
	walk(n)
}

// Without returns the match without some of its servers, and whether any are
// left. It is for requests that these servers did not take.
func (m Match) Without(servers []Endpoint) (Match, bool) {
	rest := &roster{}
	for i, e := range m.Endpoints {
		if !slices.Contains(servers, e) {
			rest.ends = append(rest.ends, e)
			rest.seats = append(rest.seats, m.roster.seats[m.first+i])
		}
	}
	if len(rest.ends) == 0 {
		return Match{}, false
	}
	return rest.match(0, len(rest.ends), m.Params.path), true
}

// Node returns the name of the node where the target's server is, "" for this
// one.
func (t *Target) Node() string {
	if p, ok := t.Endpoint.(Placed); ok {
		return p.Place().Name
	}
	return ""
}
