package route

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// ServiceInfo is one route and its servers, as node:/services lists them.
type ServiceInfo struct {
	Name string `json:"name"`
	Path string `json:"path"` // the pattern
	// Topic says how the route can be watched, as its oldest server does; nil if it
	// cannot.
	Topic   *Topic       `json:"topic,omitempty"`
	Servers []ServerInfo `json:"servers"`
}

// ServerInfo is one server of a route.
type ServerInfo struct {
	ID          string    `json:"id"`
	Version     string    `json:"version,omitempty"`
	Description string    `json:"description,omitempty"`
	Local       bool      `json:"local"`
	Node        string    `json:"node,omitempty"` // name of its node; "" if the table does not know
	Zone        string    `json:"zone,omitempty"` // of that node
	InFlight    int       `json:"inFlight"`       // calls
	Since       time.Time `json:"since,omitzero"`
	Idempotent  bool      `json:"idempotent,omitempty"`
	// Metadata is what the server said about itself.
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// Services lists every route that has servers, in order of name and pattern;
// the servers of each are in order of serving since. Changes that happen
// meanwhile may or may not be in the list.
func (t *Table) Services() []ServiceInfo {
	var out []ServiceInfo
	t.each(func(r *roster) { out = append(out, r.info()) })
	slices.SortFunc(out, func(a, b ServiceInfo) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	return out
}

func (r *roster) info() ServiceInfo {
	s := ServiceInfo{Name: r.seats[0].name, Path: r.seats[0].pattern.text, Servers: make([]ServerInfo, len(r.ends))}
	if t := r.seats[0].info.Topic; t != nil {
		own := *t
		s.Topic = &own
	}
	for i, e := range r.ends {
		info := &r.seats[i].info
		s.Servers[i] = ServerInfo{
			ID: r.seats[i].id, Version: info.Version, Description: info.Description,
			Local: e.Local(), InFlight: e.InFlight(), Since: info.Since, Idempotent: info.Idempotent,
			Metadata: info.Metadata,
		}
		if p, ok := e.(Placed); ok {
			s.Servers[i].Node, s.Servers[i].Zone = p.Place().Name, p.Place().Zone
		}
	}
	return s
}

// Info returns what the oldest server of exactly this route said about it, and
// whether there is a server.
func (t *Table) Info(name string, p Pattern) (Info, bool) {
	n := t.root.kids.get(name)
	if n == nil || p.shape == "" {
		return Info{}, false
	}
	slot := n.find(p.shape)
	if slot == nil {
		return Info{}, false
	}
	x := slot.Load()
	if x == nil {
		return Info{}, false
	}
	r := x.roster.Load()
	if len(r.ends) == 0 {
		return Info{}, false
	}
	return r.seats[0].info, true
}
