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
	ByPreferLocal = "prefer-local" // a server of this node if there is one, else least-busy
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
	mu  sync.Mutex // held by changes
	now atomic.Pointer[choices]
}

// choices never changes: a change makes another.
type choices struct {
	known  map[string]Strategy
	routes map[string]Strategy // by "name:/pattern"
	usual  Strategy
}

// NewStrategies returns the built-in strategies, with [DefaultStrategy] as the
// default.
func NewStrategies() *Strategies {
	known := map[string]Strategy{}
	for _, b := range builtins() {
		known[b.Name()] = b
	}
	s := &Strategies{}
	s.now.Store(&choices{known: known, usual: known[DefaultStrategy]})
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
	names := slices.Collect(maps.Keys(s.now.Load().known))
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
		return s.unknown(name)
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
	now := s.now.Load()
	if sel.By != "" {
		x, ok := now.known[sel.By]
		if !ok {
			return nil, s.unknown(sel.By)
		}
		return x, nil
	}
	if x, ok := now.routes[route]; ok {
		return x, nil
	}
	return now.usual, nil
}

// Choose chooses the server for a call that is not a gather. caller is the
// client id of who calls, to which sticky sticks if the call gives no key. The
// error is a *message.Error: as from [Strategies.For], or
// [message.CodeServiceDown] if the strategy wants none of the servers. It does
// not allocate.
func (s *Strategies) Choose(sel Selection, m Match, caller string) (Endpoint, error) {
	x, err := s.For(sel, m.Route)
	if err != nil {
		return nil, err
	}
	if e := x.Choose(m.Endpoints, sel.KeyOr(caller)); e != nil {
		return e, nil
	}
	if sel.Instance != "" {
		return nil, message.NewError(message.CodeServiceDown,
			fmt.Sprintf("the server %s does not serve %s, or is gone", shorten(sel.Instance), m.Route),
			"Others serve it: use another strategy to reach any of them.")
	}
	return nil, message.NewError(message.CodeServiceDown,
		fmt.Sprintf("the strategy %s wants none of the %d servers of %s", x.Name(), len(m.Endpoints), m.Route),
		"Repeat the call later, or with another strategy.")
}

// Check tells whether the strategy that a message asks for is known. The error
// is as from [Strategies.For].
func (s *Strategies) Check(sel Selection) error {
	if _, ok := s.now.Load().known[sel.By]; !ok && sel.By != "" && !sel.Gathers() {
		return s.unknown(sel.By)
	}
	return nil
}

func (s *Strategies) unknown(name string) error {
	err := message.NewError(message.CodeBadMessage, fmt.Sprintf("there is no strategy %q", shorten(name)),
		"Use one of "+strings.Join(s.Names(), ", ")+".")
	err.Path = "str"
	return err
}
