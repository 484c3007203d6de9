package topic

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// MaxPresent is how many watchers of a topic are listed; more are only counted.
const MaxPresent = 1000

// Presence is who watches a topic.
type Presence struct {
	// Count is how many watch, connections and others.
	Count int `json:"count"`
	// Watchers are left out if they are more than MaxPresent. Those who came first
	// are first.
	Watchers []Watcher `json:"watchers,omitempty"`
}

// Watcher is one who watches a topic.
type Watcher struct {
	// Client is the id of the connection; "" for a watch from inside the node.
	Client string `json:"client,omitempty"`
	// Subject is who that is, if it has logged in.
	Subject string `json:"subject,omitempty"`
	// Node is the id of its node.
	Node string `json:"node"`
	// Since is when it began to watch.
	Since time.Time `json:"since"`
}

// Add adds who watches at another node.
func (p *Presence) Add(o Presence) {
	whole := p.Count == len(p.Watchers) && o.Count == len(o.Watchers) && p.Count+o.Count <= MaxPresent
	p.Count += o.Count
	if !whole {
		p.Watchers = nil
		return
	}
	p.Watchers = append(p.Watchers, o.Watchers...)
	slices.SortFunc(p.Watchers, func(a, b Watcher) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Node, b.Node))
	})
}

// presence knows who watches those topics for which that is switched on. The
// lock of a topic is taken before its.
type presence struct {
	mu      sync.Mutex
	at      map[string]map[*watch]time.Time // by address, which may be a pattern
	wild    map[string]route.Pattern        // of those in at that are patterns
	looking map[string]map[chan struct{}]struct{}
}

// join takes note of a watch.
func (p *presence) join(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := w.t.to
	if p.at == nil {
		p.at, p.wild = make(map[string]map[*watch]time.Time), make(map[string]route.Pattern)
	}
	if p.at[to] == nil {
		p.at[to] = make(map[*watch]time.Time, 1)
		if a, err := message.ParseStrict(to); err == nil && a.HasWildcard() {
			if pattern, err := route.ParsePattern(a.Path); err == nil {
				p.wild[to] = pattern
			}
		}
	}
	p.at[to][w] = time.Now()
	p.tell(to)
}

// leave forgets a watch.
func (p *presence) leave(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := w.t.to
	delete(p.at[to], w)
	p.tell(to)
	if len(p.at[to]) == 0 {
		delete(p.at, to)
		delete(p.wild, to)
	}
}

// tell wakes those who look at an address. p.mu is held.
func (p *presence) tell(to string) {
	if _, wild := p.wild[to]; !wild {
		wake(p.looking[to])
		return
	}
	for address, list := range p.looking {
		if p.covers(to, address) {
			wake(list)
		}
	}
}

func wake(list map[chan struct{}]struct{}) {
	for c := range list {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// covers tells whether who watches a pattern watches an address. p.mu is held.
func (p *presence) covers(pattern, address string) bool {
	a, err := message.ParseStrict(address)
	if err != nil {
		return false
	}
	b, err := message.ParseStrict(pattern)
	if err != nil || a.Name != b.Name {
		return false
	}
	_, ok := p.wild[pattern].Match(a.Path)
	return ok
}

// Look returns a channel that has a token after who watches an address at this
// node has changed, until done is called.
func (h *Hub) Look(address string) (changed <-chan struct{}, done func()) {
	p := &h.who
	c := make(chan struct{}, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looking == nil {
		p.looking = make(map[string]map[chan struct{}]struct{})
	}
	if p.looking[address] == nil {
		p.looking[address] = make(map[chan struct{}]struct{}, 1)
	}
	p.looking[address][c] = struct{}{}
	return c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.looking[address], c)
		if len(p.looking[address]) == 0 {
			delete(p.looking, address)
		}
	}
}

// Present tells who watches an address at this node, by itself or by a pattern.
// node is the id of this one.
func (h *Hub) Present(address, node string) Presence {
	p := &h.who
	p.mu.Lock()
	defer p.mu.Unlock()
	all := Presence{Count: len(p.at[address])}
	lists := []map[*watch]time.Time{p.at[address]}
	for to := range p.wild {
		if p.covers(to, address) {
			all.Count += len(p.at[to])
			lists = append(lists, p.at[to])
		}
	}
	if all.Count > MaxPresent {
		return all
	}
	found := Presence{}
	for _, list := range lists {
		for w, since := range list {
			one := Watcher{Node: node, Since: since}
			if peer, ok := w.v.client.(*exchange.Peer); ok {
				one.Client, one.Subject = peer.ID(), peer.Session().Subject
			}
			found.Count++
			found.Watchers = append(found.Watchers, one)
		}
	}
	found.Add(Presence{}) // in order
	return found
}
