package client

import (
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// maxTold bounds how many places a node may tell of: more than a mesh has, and
// little to keep.
const maxTold = 256

// place is a URL at which a client may connect.
type place struct {
	url    *url.URL
	given  bool // by the program; else a node has told of it
	ladder *ladder

	node string // id of the node that is, or was last, found there; "" if unknown. Guarded by roster.mu
}

// nodeRef is a node of the list in a welcome, or in a message of the verb nodes.
type nodeRef struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	URLs []string `json:"urls"`
}

// roster is the places that a client knows, and in which order it tries them:
//
//	at first    those given, in their order
//	after that  in turns, each place once a turn, in random order, so that the
//	            clients of a node that is lost spread over the others; where a
//	            node was just lost comes last
//
// The first try at each place since a connection that lasted is a hop: it needs
// no wait.
type roster struct {
	follow bool // take places that nodes tell of
	cfg    *config
	mem    *memory

	mu     sync.Mutex
	places []*place
	turn   []*place // what is left of it
	tried  []*place // since a connection that lasted
}

func newRoster(cfg *config, given []*url.URL) *roster {
	r := &roster{follow: cfg.follow, cfg: cfg, mem: new(memory)}
	for _, u := range given {
		if r.find(u) == nil {
			r.add(u).given = true
		}
	}
	r.turn = slices.Clone(r.places)
	return r
}

func (r *roster) add(u *url.URL) *place {
	p := &place{url: u, ladder: newLadder(u, r.cfg, r.mem)}
	r.places = append(r.places, p)
	return p
}

// find returns the place with a URL, or nil. It leaves aside who connects there.
func (r *roster) find(u *url.URL) *place {
	i := slices.IndexFunc(r.places, func(p *place) bool {
		return p.url.Scheme == u.Scheme && hostPort(p.url) == hostPort(u) && p.url.Path == u.Path && p.url.RawQuery == u.RawQuery
	})
	if i < 0 {
		return nil
	}
	return r.places[i]
}

// next returns where to try now, and whether that is a hop.
func (r *roster) next() (p *place, hop bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if len(r.turn) == 0 {
			r.turn = slices.Clone(r.places)
			shuffle(r.turn)
		}
		p, r.turn = r.turn[0], r.turn[1:]
		if !slices.Contains(r.places, p) {
			continue // a node has told that it is gone
		}
		hop = !slices.Contains(r.tried, p)
		if hop {
			r.tried = append(r.tried, p)
		}
		return p, hop
	}
}

// met says which node was found at a place.
func (r *roster) met(p *place, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.node = node
}

// left begins a turn after a connection: the others first. good says that it
// has lasted, or ended as it should, so that all others are worth a hop.
func (r *roster) left(p *place, good bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	others, same := r.split(p)
	shuffle(others)
	if good {
		r.tried = slices.Clone(same)
	}
	slices.SortStableFunc(others, func(a, b *place) int { return r.times(a) - r.times(b) })
	r.turn = append(others, same...)
}

// times is 0 for a place that is worth a hop, else 1; r.mu is held.
func (r *roster) times(p *place) int {
	if slices.Contains(r.tried, p) {
		return 1
	}
	return 0
}

// others reports whether there are other nodes than the one at p.
func (r *roster) others(p *place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	others, _ := r.split(p)
	return len(others) > 0
}

// split tells the places of p's node from all others; r.mu is held.
func (r *roster) split(p *place) (others, same []*place) {
	for _, q := range r.places {
		if q == p || q.node != "" && q.node == p.node {
			same = append(same, q)
		} else {
			others = append(others, q)
		}
	}
	return others, same
}

// learn takes the list of a node that the client is connected to at p.
func (r *roster) learn(p *place, list []nodeRef) {
	if !r.follow {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.places
	r.places = slices.DeleteFunc(slices.Clone(old), func(q *place) bool { return !q.given })
	given := len(r.places)
	for _, n := range list {
		for _, raw := range n.URLs {
			u, err := parseURL(raw)
			if err != nil || !mayFollow(p.url, u) || len(r.places)-given >= maxTold {
				continue
			}
			q := r.find(u)
			if q == nil {
				if q = (&roster{places: old}).find(u); q == nil { // else it keeps what is known of it
					q = r.add(u)
				} else {
					r.places = append(r.places, q)
				}
			}
			q.node = n.ID
		}
	}
	for _, q := range r.places {
		if !slices.Contains(old, q) {
			r.turn = slices.Insert(r.turn, rand.IntN(len(r.turn)+1), q) //nolint:gosec // spread is no secret
		}
	}
}

func hostPort(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return host + ":" + port
}

// mayFollow says whether a client that is connected at one URL goes to another
// that it was only told of: not from TLS to a line that others can read, and
// not to its own machine because a node elsewhere listens on loopback.
func mayFollow(from, to *url.URL) bool {
	return (from.Scheme != "https" || to.Scheme == "https") && (!loopback(to) || loopback(from)) && to.User == nil
}

func loopback(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func shuffle(list []*place) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}
