// Package exchange is where the connections of a node meet: it knows who is
// connected and what they serve, hands calls and sends from one to another,
// and keeps each call until it has had its one final answer.
//
// It reads and writes no bytes. Connections reach it as [Link]s, decoded
// messages through [Peer.Receive]; other nodes as [FarLink]s and through
// [FarNode.Receive]. The servers of other nodes are in the same table of routes
// as those of this one. A call to one of them passes the stages inbound, call
// and outbound on its caller's node, and serve on the server's.
package exchange

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/internal/wheel"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Defaults of [Config].
const (
	// DefaultTimeout ends a call whose caller named no time: long enough for
	// nearly all, short enough that a forgotten call does not stay for ever.
	DefaultTimeout = 30 * time.Second
	// DefaultMaxTimeout bounds what callers may ask for.
	DefaultMaxTimeout = time.Hour
	// DefaultMaxCalls is how many calls a connection may have in flight.
	DefaultMaxCalls = 1024
	// DefaultMaxServes is how many routes a connection may serve.
	DefaultMaxServes = 1000
)

// Close codes of docs/reference/wire.md that the exchange uses.
const (
	CloseSlowConsumer = 4001
	CloseProtocol     = 4100
)

// Allow says whether a peer may do what a message asks for, by an error with
// CodeForbidden or CodeUnauthenticated and a hint, or nil. It must not block.
type Allow func(p route.Peer, verb message.Verb, a message.Address) error

// Config is what an Exchange needs to know. The zero value of each field
// means its default.
type Config struct {
	NodeID   string // 32 hex digits; required
	NodeName string

	DefaultTimeout time.Duration // of a call without one
	MaxTimeout     time.Duration // longer ones are cut to it
	MaxCalls       int           // in flight, of one connection
	MaxServes      int           // routes served by one connection
	// Allow is asked for serve, broadcast, and the paths of node: that change
	// the node or show what others say. nil forbids all of these.
	Allow Allow
	// Guard is asked for everything that connections want, in place of Allow. nil:
	// they may call and send what they like.
	Guard Guard
	// Sessions carries out what handlers want of sessions. nil: nothing.
	Sessions Sessions
	// Topics keeps who watches what. nil: nothing can be watched.
	Topics Topics
	// Unreachable is asked about an address for which nobody was found: an
	// error, if somebody may be there in a part of the mesh that is out of
	// reach, else nil. nil: there is no such part. It must not block.
	Unreachable func(a message.Address) *message.Error

	Strategies *route.Strategies // nil: the built-in ones, least-busy by default
	Stack      *route.Stack      // nil: an empty one
	Logger     *slog.Logger
	Metrics    *Metrics
}

// Exchange connects the peers of one node. All methods may be called from any
// goroutine.
type Exchange struct {
	cfg        Config
	address    []byte // "<node id>@node:/"
	log        *slog.Logger
	metrics    *Metrics
	seed       maphash.Seed
	wheel      *wheel.Wheel
	table      *route.Table
	stack      *route.Stack
	strategies *route.Strategies

	inbound    *route.Chain
	arrivals   route.Handler // of calls and sends from other nodes
	calls      *route.Chain
	serve      *route.Chain
	deliver    *route.Chain
	outgoing   *route.Chain
	drafts     sync.Pool // of *draft
	states     sync.Pool // of *callState
	lastStamp  atomic.Pointer[stamp]
	taps       atomic.Pointer[[]*Tap]
	tapsMu     sync.Mutex
	ctx        context.Context //nolint:containedctx // of all handlers that run inline
	stop       context.CancelFunc
	active     atomic.Int64 // calls that have no final answer yet
	draining   atomic.Bool
	resigned   atomic.Bool
	stopping   chan struct{} // closed by Drain
	idle       chan struct{} // signaled when active reaches 0 while draining
	peersMu    sync.RWMutex
	peers      map[string]*Peer
	own        sync.Map // names of services that connections cannot serve
	foreigners sync.Map // names of services that another node has had as its own
	far        farNodes
	nodes      nodes
	wheelDone  chan struct{}
	lane       *lane.Lane // of those who wait for callers that are slow to take parts
}

// New returns an Exchange that runs until [Exchange.Close].
func New(cfg Config) *Exchange {
	cfg = cfg.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	x := &Exchange{
		cfg:        cfg,
		address:    []byte(cfg.NodeID + "@node:/"),
		log:        cfg.Logger,
		metrics:    cfg.Metrics,
		seed:       maphash.MakeSeed(),
		wheel:      wheel.New(0),
		table:      route.NewTable(),
		stack:      cfg.Stack,
		strategies: cfg.Strategies,
		ctx:        ctx,
		stop:       stop,
		stopping:   make(chan struct{}),
		idle:       make(chan struct{}, 1),
		peers:      make(map[string]*Peer),
		wheelDone:  make(chan struct{}),
		lane:       lane.New(ctx, cfg.Logger),
	}
	x.metrics.watch(x)
	x.drafts.New = func() any { return new(draft) }
	x.states.New = func() any { return new(callState) }
	x.inbound = x.stack.Chain(route.StageInbound, route.HandlerFunc(x.dispatch))
	x.arrivals = route.HandlerFunc(x.arrive)
	x.calls = x.stack.Chain(route.StageCall, route.HandlerFunc(x.choose))
	x.serve = x.stack.Chain(route.StageServe, route.HandlerFunc(hand))
	x.deliver = x.stack.Chain(route.StageDeliver, route.HandlerFunc(hand))
	x.outgoing = x.stack.Chain(route.StageOutbound, route.HandlerFunc(put))
	go func() {
		defer close(x.wheelDone)
		x.wheel.Run(ctx)
	}()
	return x
}

func (c Config) withDefaults() Config {
	if c.DefaultTimeout <= 0 {
		c.DefaultTimeout = DefaultTimeout
	}
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = DefaultMaxTimeout
	}
	if c.MaxCalls <= 0 {
		c.MaxCalls = DefaultMaxCalls
	}
	if c.MaxServes <= 0 {
		c.MaxServes = DefaultMaxServes
	}
	if c.Strategies == nil {
		c.Strategies = route.NewStrategies()
	}
	if c.Stack == nil {
		c.Stack = route.NewStack()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c
}

// tell contains panics: they would keep others from being told, and may happen
// on the goroutine of all deadlines.
func (x *Exchange) tell(f route.Finisher, out route.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			x.logPanic("finisher panicked", p)
		}
	}()
	f.Finished(out)
}

func (x *Exchange) logPanic(what string, p any) {
	x.log.Error(what, //nolint:sloglint // the callers' are constants
		"err", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// Table says who serves what.
func (x *Exchange) Table() *route.Table { return x.table }

// Stack holds the middleware that every message passes.
func (x *Exchange) Stack() *route.Stack { return x.stack }

// Drain refuses new calls and waits until those in flight have had their
// answer, or ctx ends. It tells every peer to start nothing new here.
func (x *Exchange) Drain(ctx context.Context) error {
	if x.draining.CompareAndSwap(false, true) {
		close(x.stopping)
		for _, p := range x.Peers() {
			p.tellDrain()
		}
	}
	for x.active.Load() > 0 {
		select {
		case <-x.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	x.signalIdle() // to another Drain
	return nil
}

// Draining is closed when the node begins to drain. Calls that would last for
// as long as somebody watches end then.
func (x *Exchange) Draining() <-chan struct{} { return x.stopping }

func (x *Exchange) signalIdle() {
	select {
	case x.idle <- struct{}{}:
	default:
	}
}

// Close ends the contexts of inline handlers and waits for the exchange's own
// goroutines. Calls that are still in flight get no further answer, so
// [Exchange.Drain] comes first.
func (x *Exchange) Close() {
	x.stop()
	x.lane.Close()
	<-x.wheelDone
}

// oneMore counts a call in, unless the node is draining.
func (x *Exchange) oneMore() bool {
	x.active.Add(1)
	if x.draining.Load() {
		x.oneDone()
		return false
	}
	return true
}

func (x *Exchange) oneDone() {
	if x.active.Add(-1) == 0 && x.draining.Load() {
		x.signalIdle()
	}
}

// Attach makes a connection known and welcomes it. The owner of the connection
// passes its messages to the Peer and calls Gone when it has ended.
func (x *Exchange) Attach(l Link, maxFrame int) *Peer {
	p := &Peer{x: x, link: l, address: []byte(l.ID() + "@client:/"), since: time.Now(), maxFrame: maxFrame}
	if p.ip = l.RemoteAddr(); p.ip != "" {
		if host, _, err := net.SplitHostPort(p.ip); err == nil {
			p.ip = host
		}
	}
	p.asks.x, p.asks.to = x, p
	m := x.borrow()
	m.Verb = message.VerbWelcome
	m.To, m.From = p.address, x.address
	list := x.nodes.list.Load()
	m.Body = x.welcome(p, maxFrame, list)
	_ = l.Deliver(&m.Message)
	x.giveBack(m)
	// Only now can others send to it: the welcome is what it gets first.
	x.peersMu.Lock()
	x.peers[l.ID()] = p
	x.peersMu.Unlock()
	if x.draining.Load() { // Drain may not have seen it
		p.tellDrain()
	}
	x.catchUp(p, list) // nor SetNodes
	return p
}

func (x *Exchange) remove(p *Peer) {
	x.peersMu.Lock()
	defer x.peersMu.Unlock()
	if x.peers[p.ID()] == p {
		delete(x.peers, p.ID())
	}
}

// Peer returns the peer with this client id, or nil.
func (x *Exchange) Peer(id string) *Peer {
	x.peersMu.RLock()
	defer x.peersMu.RUnlock()
	return x.peers[id]
}

// Peers returns all peers, in no order.
func (x *Exchange) Peers() []*Peer {
	x.peersMu.RLock()
	defer x.peersMu.RUnlock()
	return slices.Collect(maps.Values(x.peers))
}

// Connected is the number of peers.
func (x *Exchange) Connected() int {
	x.peersMu.RLock()
	defer x.peersMu.RUnlock()
	return len(x.peers)
}

// draft is a message on its way out, with room for an id or an error. Messages
// reach links through an interface and so would be allocated each time.
type draft struct {
	message.Message
	room [512]byte
}

// take fills d with an answer.
func (d *draft) take(a answer) {
	d.Verb, d.Seq, d.Body = a.verb, a.seq, a.body
	if a.contentType != "" {
		d.ContentType = []byte(a.contentType)
	}
	d.Session, d.Fault = a.patch, a.fault
	if s := a.stamp; s != nil {
		d.Topic, d.Epoch, d.Offset, d.Publisher = []byte(s.Topic), []byte(s.Epoch), s.Offset, s.Publisher
		if s.To != "" {
			d.To = []byte(s.To)
		}
	}
	if a.err != nil {
		d.Body = message.AppendError(d.room[:0], a.err)
	}
}

func (x *Exchange) borrow() *draft {
	return x.drafts.Get().(*draft) //nolint:forcetypeassert // only giveBack and New put
}

func (x *Exchange) giveBack(d *draft) {
	d.Reset()
	x.drafts.Put(d)
}

// InFlight is the number of calls and sends without a final answer.
func (x *Exchange) InFlight() int { return int(x.active.Load()) }

// StrategyOf returns the strategy that a call to a route gets when it names
// none.
func (x *Exchange) StrategyOf(pattern string) string {
	s, err := x.strategies.For(route.Selection{}, pattern)
	if err != nil {
		return ""
	}
	return s.Name()
}

// stamp is the text of one millisecond. Many messages share one.
type stamp struct {
	ms   int64
	text []byte
}

// stamp returns the timestamp of a message that is read now. Nobody may write
// to it.
func (x *Exchange) stamp(now time.Time) []byte {
	ms := now.UnixMilli()
	if last := x.lastStamp.Load(); last != nil && last.ms == ms {
		return last.text
	}
	text := message.AppendTimestamp(make([]byte, 0, 24), now)
	x.lastStamp.Store(&stamp{ms, text})
	return text
}
