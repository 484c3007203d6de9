package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
)

// Strategy chooses one of several servers. Own ones are made known by
// [Strategies.Register] and have to pass ropewalktest.TestStrategy.
type Strategy interface {
	// Name is the word for it in a message and in a configuration. It never
	// changes.
	Name() string
	// Choose returns one of cands, or nil if it wants none of them; nil if
	// there are none. cands is in order of serving since; the slice is shared
	// and must not be changed or kept. key is what the caller wants to stick
	// to: the key of its [Selection], or else its client id. Choose is called
	// for each call, from many goroutines at once, and must not block.
	Choose(cands []Endpoint, key string) Endpoint
}

// The words for strategies that are built in.
const (
	ByFirst       = "first"        // the server that has served the longest
	ByRoundRobin  = "round-robin"  // each in turn
	ByRandom      = "random"       // any
	ByLeastBusy   = "least-busy"   // of two at random the one with fewer calls in flight
	BySticky      = "sticky"       // always the same for the same key
	ByPreferLocal = "prefer-local" // a server of this node if there is one, else of this zone, else any
	ByPreferZone  = "prefer-zone"  // a server of this zone if there is one, else any
	ByInstance    = "instance"     // the server with the given id
	ByAll         = "all"          // a gather: every server
	ByMajority    = "majority"     // a gather that ends when more than half gave the same answer
)

// DefaultStrategy is used where nobody says otherwise: it balances well without
// knowing anything about the servers, and remembers nothing.
const DefaultStrategy = ByLeastBusy

// Strategies are the strategies that a node knows, and which of them is used
// where. All methods may be called from any goroutine; those that change
// something take effect for the next call.
type Strategies struct {
	home *home

	mu  sync.Mutex // held by changes
	now atomic.Pointer[choices]
}

// choices never changes: a change makes another.
type choices struct {
	known  map[string]Strategy
	routes map[string]Strategy // by "name:/pattern"
	usual  Strategy
	set    *setting
}

// NewStrategies returns the built-in strategies, with [DefaultStrategy] as the
// default.
func NewStrategies() *Strategies {
	s, known := &Strategies{home: newHome()}, map[string]Strategy{}
	for _, b := range builtins(s.home) {
		known[b.Name()] = b
	}
	s.now.Store(&choices{known: known, usual: known[DefaultStrategy], set: &setting{home: s.home.place.Load()}})
	return s
}

// Register adds an own strategy. The error is a *message.Error:
// [message.CodeConflict] if the name is taken, [message.CodeInvalidInput] if it
// is not a word of lower-case letters, digits, dots and hyphens.
func (s *Strategies) Register(own Strategy) error {
	name := own.Name()
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return message.NewError(message.CodeInvalidInput, fmt.Sprintf("%q cannot be the name of a strategy", name),
			"Use lower-case letters, digits, dots and hyphens.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now.Load()
	if _, taken := now.known[name]; taken || gathers(name) {
		return message.NewError(message.CodeConflict, "there is a strategy "+name+" already", "Give yours another name.")
	}
	next := *now
	next.known = maps.Clone(now.known)
	next.known[name] = own
	s.now.Store(&next)
	return nil
}

// Get returns the strategy with a name. all and majority are gathers and not
// among them.
func (s *Strategies) Get(name string) (Strategy, bool) {
	x, ok := s.now.Load().known[name]
	return x, ok
}

// Names lists every word that a message may use, gathers included, sorted.
func (s *Strategies) Names() []string {
	return s.now.Load().names()
}

func (c *choices) names() []string {
	names := slices.Collect(maps.Keys(c.known))
	names = append(names, ByAll, ByMajority)
	slices.Sort(names)
	return names
}

// SetDefault chooses what is used for calls that do not say. The error is that
// of an unknown word.
func (s *Strategies) SetDefault(name string) error {
	return s.change(name, func(c *choices, x Strategy) { c.usual = x })
}

// SetRoute chooses what is used for calls that do not say and match a route,
// "name:/pattern" as in [Match]. An empty name goes back to the default.
func (s *Strategies) SetRoute(route, name string) error {
	return s.change(name, func(c *choices, x Strategy) {
		c.routes = maps.Clone(c.routes)
		if name == "" {
			delete(c.routes, route)
			return
		}
		if c.routes == nil {
			c.routes = map[string]Strategy{}
		}
		c.routes[route] = x
	})
}

func (s *Strategies) change(name string, f func(*choices, Strategy)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.now.Load()
	x, ok := next.known[name]
	if !ok && name != "" {
		return next.unknown(name)
	}
	if name == "" {
		x = next.known[DefaultStrategy]
	}
	f(&next, x)
	s.now.Store(&next)
	return nil
}

// For returns the strategy for a call that is not a gather: the one the call
// names, else that of the route, else the default. The error is a
// *message.Error with [message.CodeBadMessage] that lists the known words.
func (s *Strategies) For(sel Selection, route string) (Strategy, error) {
	return s.now.Load().strategy(sel, route)
}

func (c *choices) strategy(sel Selection, route string) (Strategy, error) {
	if sel.By != "" {
		x, ok := c.known[sel.By]
		if !ok {
			return nil, c.unknown(sel.By)
		}
		return x, nil
	}
	if x, ok := c.routes[route]; ok {
		return x, nil
	}
	return c.usual, nil
}

// Check tells whether what a message asks for can be understood: the strategy
// is known, and the versions are a range. The error is as from
// [Strategies.For].
func (s *Strategies) Check(sel Selection) error {
	now := s.now.Load()
	if _, ok := now.known[sel.By]; !ok && sel.By != "" && !sel.Gathers() {
		return now.unknown(sel.By)
	}
	if sel.Version != "" {
		if _, err := parseVersions(sel.Version); err != nil {
			return inSelection(err)
		}
	}
	return nil
}

func (c *choices) unknown(name string) error {
	err := message.NewError(message.CodeBadMessage, fmt.Sprintf("there is no strategy %q", shorten(name)),
		"Use one of "+strings.Join(c.names(), ", ")+".")
	err.Path = "str"
	return err
}
