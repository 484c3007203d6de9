package mesh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Defaults of [Config].
const (
	// DefaultDeadAfter is how long nothing may be heard of a node before it
	// counts as lost: three intervals, with a little to spare, and with the
	// time to notice it still within three seconds.
	DefaultDeadAfter = 2600 * time.Millisecond
	// DefaultForget is how long a lost node is remembered, to tell that what it
	// served is out of reach.
	DefaultForget = 10 * time.Minute
	// DefaultMaxFrame is the largest message between nodes, in bytes: the
	// largest reply to a gather in a process.
	DefaultMaxFrame = 64 << 20
	// DefaultMaxRoutes is how many routes of one node are taken.
	DefaultMaxRoutes = 100_000
	// maxMembers bounds what a node keeps of others.
	maxMembers = 1000
)

// Handler is told what happens on the links to other nodes. For one link its
// methods are called one at a time, in the order Joined, any of Served,
// Unserved and Message, Left. They must not block. Messages and what they point
// to are valid until the method returns.
type Handler interface {
	// Joined begins a link: from now on messages can be sent there.
	Joined(n *Node)
	// Served tells that the node has a server for a route, or that what it says
	// about it has changed.
	Served(n *Node, s route.Seat) error
	// Unserved takes that back. Info is empty.
	Unserved(n *Node, s route.Seat)
	// Message is one message from the node; or, when note.Returned is set, one
	// for the node that comes back without having been sent.
	Message(n *Node, note Note, m *message.Message)
	// Left ends the link: nothing more comes, and nothing can be sent. Why has
	// the code node_lost.
	Left(n *Node, why *message.Error)
}

// Config is what a [Mesh] needs to know. The zero value of a field means its
// default, but for the first four, which are required.
type Config struct {
	ID        string // of this node: 32 hex digits
	Backplane Backplane
	Table     *route.Table // what this node serves is announced
	Handler   Handler

	Name    string            // of this node
	Version string            // of the program
	Labels  map[string]string // "zone" is used for routing
	URLs    func() []string   // where clients connect
	Clients func() int        // how many there are

	Discovery  Discovery     // nil: Broadcast
	Lines      Lines         // nil: everything goes over the backplane
	Interval   time.Duration // between cards
	DeadAfter  time.Duration // of silence; at least two intervals
	Forget     time.Duration // of lost nodes
	MaxPending int           // bytes that wait for one node
	MaxFrame   int           // bytes of one message
	MaxRoutes  int           // of one other node

	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: the metrics are not registered
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(d *int, v int) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Interval, DefaultInterval)
	def(&c.DeadAfter, DefaultDeadAfter)
	c.DeadAfter = max(c.DeadAfter, 2*c.Interval)
	def(&c.Forget, DefaultForget)
	num(&c.MaxPending, DefaultMaxPending)
	num(&c.MaxFrame, DefaultMaxFrame)
	num(&c.MaxRoutes, DefaultMaxRoutes)
	if c.Name == "" {
		c.Name = c.ID
	}
	if c.URLs == nil {
		c.URLs = func() []string { return nil }
	}
	if c.Clients == nil {
		c.Clients = func() int { return 0 }
	}
	if c.Discovery == nil {
		c.Discovery = Broadcast()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Mesh is this node's view of the mesh. All methods may be called from any
// goroutine.
type Mesh struct {
	cfg       Config
	id        nodeID
	started   time.Time
	plane     Backplane
	discovery Discovery
	log       *slog.Logger
	metrics   *metrics
	lane      *lane.Lane
	flusher   flusher
	sending   []*packet // of who flushes, used again
	cards     cards
	lineAddr  string // where others can make lines to this node
	lineWord  string // see Card.LineWord

	connected atomic.Bool
	draining  atomic.Bool
	restored  atomic.Int64 // when it could work again after it could not
	stalled   atomic.Int64 // when this process ran again after it did not for longer than usual
	spreadAt  atomic.Int64 // when the card went over the lines last
	routes    atomic.Int64
	renew     chan struct{} // has the announcer look again
	lookAgain *time.Timer   // when to look who is silent

	ranMu sync.Mutex // held before all others
	ran   time.Time  // when this process was last seen to run

	regMu     sync.Mutex // held before Mesh.mu and Node.mu
	announced map[seatKey]route.Seat

	mu        sync.Mutex // held before Node.mu, after Node.inMu
	members   map[nodeID]*member
	lastEpoch uint64
	version   uint64
	changed   chan struct{} // closed at the next change of Nodes; nil if nobody asked
	renewed   chan struct{} // closed at the next change of Card
	pinged    time.Time     // when ping last did something
	pingNext  nodeID
	spoken    []byte              // the card that was published last
	quiet     int                 // intervals since then
	refused   map[nodeID]struct{} // nodes of another protocol that were warned of
	closed    bool
}

// Start joins the mesh. It returns when the backplane is up; other nodes become
// known afterwards. When ctx ends before that it gives up.
func Start(ctx context.Context, cfg Config) (*Mesh, error) {
	cfg = cfg.withDefaults()
	id, err := parseID(cfg.ID)
	if err != nil {
		return nil, err
	}
	if cfg.Backplane == nil || cfg.Table == nil || cfg.Handler == nil {
		return nil, errors.New("mesh: the backplane, the table and the handler are required")
	}
	m := &Mesh{
		cfg: cfg, id: id, started: time.Now(), ran: time.Now(), plane: cfg.Backplane, discovery: cfg.Discovery, log: cfg.Logger,
		lane:      lane.New(context.Background(), cfg.Logger),
		renew:     make(chan struct{}, 1),
		lookAgain: time.NewTimer(watchLeast),
		announced: make(map[seatKey]route.Seat),
		members:   make(map[nodeID]*member),
		flusher:   newFlusher(),
		refused:   make(map[nodeID]struct{}),
		renewed:   make(chan struct{}),
	}
	if cfg.Lines != nil {
		m.lineWord = rand.Text()
	}
	m.metrics = newMetrics(cfg.Registry, m)
	m.connected.Store(true)
	m.announce() // before anybody is there to hear it
	card := m.Card()
	if err := card.check(); err != nil {
		m.metrics.unregister()
		return nil, fmt.Errorf("mesh: %w", err)
	}
	if err := m.plane.Open(ctx, cfg.ID, m); err != nil {
		m.metrics.unregister()
		return nil, err
	}
	if cfg.Lines != nil {
		m.lineAddr = cfg.Lines.Addr() // some know it only now
		cfg.Lines.Open(m)
	}
	m.lane.Go("mesh.flush", m.runFlusher)
	m.lane.Go("mesh.announce", m.runAnnouncer)
	m.lane.Go("mesh.watch", m.runWatch)
	m.lane.Go("mesh.discovery", func(ctx context.Context) { m.discovery.Run(ctx, directory{m}) })
	return m, nil
}

// Close leaves the mesh: what was queued is sent, as long as ctx allows, the
// others are told, and every link ends. It is called once.
func (m *Mesh) Close(ctx context.Context) error {
	m.announce() // what is not served any more: the announcer may not have got to it
	m.settle(ctx)
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, n := range m.links(false) {
		m.lose(n, "this node stops", lostStop)
	}
	_ = m.plane.Publish(short(kindLeave, m.id, nil))
	err := m.plane.Close(ctx)
	m.lane.Close()
	m.metrics.unregister()
	return err
}

// settle waits until the other nodes have acknowledged what was sent.
func (m *Mesh) settle(ctx context.Context) {
	const step, most = 10 * time.Millisecond, 2 * time.Second
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	end := time.Now().Add(most)
	for slices.ContainsFunc(m.links(false), (*Node).pending) && time.Now().Before(end) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (n *Node) pending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.bytes > 0
}

// Connected implements Receiver.
func (m *Mesh) Connected(yes bool) {
	if yes {
		m.restored.Store(m.since(time.Now()))
	}
	if m.connected.Swap(yes) == yes {
		return
	}
	if !yes {
		m.log.Warn("the backplane is out of reach; calls to other nodes wait until they are counted as lost")
		return
	}
	m.log.Info("the backplane is back")
	for _, n := range m.links(false) {
		n.mu.Lock()
		n.nakked = true // what was under way is probably lost
		n.schedule()
		n.mu.Unlock()
	}
}

// Drain says that this node takes no new calls from others, or takes them
// again. The routes of its own services, but for node:, are taken back from
// them; those of its connections leave with these, when they go elsewhere.
func (m *Mesh) Drain(on bool) {
	if m.draining.Swap(on) == on {
		return
	}
	select {
	case m.renew <- struct{}{}:
	default:
	}
	m.cardChanged()
}

// Draining tells what was said to Drain.
func (m *Mesh) Draining() bool { return m.draining.Load() }

// Discovery is the name of how nodes find each other.
func (m *Mesh) Discovery() string { return m.discovery.Name() }

// cardChanged has discovery spread the card at once.
func (m *Mesh) cardChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.renewed)
	m.renewed = make(chan struct{})
	m.touch()
}

// touch tells that Nodes has changed. m.mu is held.
func (m *Mesh) touch() {
	m.version++
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// Changes returns a number that grows whenever a node joins, leaves or changes
// what it says, and a channel that is closed at the next change.
func (m *Mesh) Changes() (uint64, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.version, m.changed
}

// Card is what this node says about itself now.
func (m *Mesh) Card() Card {
	c := Card{
		Protocol: Protocol, ID: m.cfg.ID, Name: m.cfg.Name, Version: m.cfg.Version, State: Alive, Started: m.started,
		Labels: maps.Clone(m.cfg.Labels), URLs: m.cfg.URLs(), Addr: m.plane.Addr(), Clients: m.cfg.Clients(),
		Routes: int(m.routes.Load()), Hears: m.hears(), LineAddr: m.lineAddr, LineWord: m.lineWord,
	}
	if m.cfg.MaxFrame != DefaultMaxFrame {
		c.Frame = m.cfg.MaxFrame
	}
	if m.draining.Load() {
		c.State = Draining
	}
	return c
}

// node returns the link to a node, or nil.
func (m *Mesh) node(id nodeID) *Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mem := m.members[id]; mem != nil {
		return mem.link
	}
	return nil
}

// links returns all links, or those that get announcements already.
func (m *Mesh) links(introduced bool) []*Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*Node, 0, len(m.members))
	for _, mem := range m.members {
		if mem.link != nil && (mem.link.introduced || !introduced) {
			list = append(list, mem.link)
		}
	}
	return list
}

func (m *Mesh) logPanic(p any) {
	m.log.Error("handling a message of another node panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
}
