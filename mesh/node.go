package mesh

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Node is the link to one other node, from when it was made to when it was
// lost. A node that comes back is a new Node.
//
// Both sides of a link have an epoch, a number that grows with each new link of
// a node, and each packet names both. So packets of an earlier life of the
// other side, or meant for one of this side, are told from those of now:
//
//	this side         the other side
//	epoch 5, peer 0 ──────────────►  there is an epoch 5; is that of now?
//	                ◄──────────────  epoch 9, peer 5
//	it is; epoch 9 is of now, too
//	epoch 5, peer 9 ──────────────►  it is
//
// A side takes nothing before a packet names its own epoch: who knows that one is
// of now, while packets that name none may have been under way for long.
//
// When one side loses the link it begins a new one with a larger epoch; the
// other side then loses its own, even if it has noticed nothing. It never was in
// touch with the new one, so that its answer, a new link of its own, is the end.
//
// All methods may be called from any goroutine.
type Node struct {
	// Data belongs to the Handler, which sets it in Joined.
	Data any

	mesh   *Mesh
	id     nodeID
	text   string // the id
	since  time.Time
	epoch  uint64
	card   atomic.Pointer[Card]
	heard  atomic.Int64 // see Mesh.since
	rtt    atomic.Int64 // nanoseconds, smoothed; 0 if unknown
	doomed atomic.Pointer[string]
	told   atomic.Bool         // it has said what it serves, or begun to
	line   atomic.Pointer[End] // nil if everything goes over the backplane

	// What is received, one packet at a time.
	inMu    sync.Mutex
	dead    bool
	peer    uint64 // its epoch; 0 until it is known; written under mu, too
	offer   uint64 // the largest one that was heard of, peer or to become it; likewise
	partial []byte // of a frame that comes in fragments
	serves  map[seatKey]route.Pattern
	in      message.Message // used again

	// What is sent.
	mu       sync.Mutex
	out      outbox
	closed   bool
	flushing bool   // packets of out are being sent, and must stay as they are
	acked    uint64 // by the other side
	nakked   bool   // what follows acked has to be sent again
	next     uint64 // the packet that comes next from the other side
	owed     int    // packets that this side has not acknowledged
	askNak   bool   // something is missing
	missed   uint64 // what was asked for last
	dirty    bool   // on the list of the flusher
	timed    bool   // the flusher comes back by itself

	// Guarded by Mesh.mu.
	met      bool          // the other side is known to have the link, too
	dialing  bool          // a line is being made
	redial   time.Duration // until the next try to make one, last time
	redialAt time.Time     // not before

	introduced bool      // gets announcements; guarded by Mesh.mu
	deaf       time.Time // since when it does not hear this node, zero if it does; guarded by Mesh.mu
	heardUs    bool      // it has said once that it does; guarded by Mesh.mu
}

// ID is the id of the node: 32 hex digits.
func (n *Node) ID() string { return n.text }

// Card is what the node last said about itself. It must not be changed.
func (n *Node) Card() *Card { return n.card.Load() }

// Deliver queues a message for the node. It never blocks, and keeps nothing of
// m. Its errors are *message.Error: CodeOverloaded when too much waits for the
// node (parts are refused earlier than the rest, errors and cancels later),
// CodeTooLarge when a frame would be larger than [Config.MaxFrame] here or there,
// CodeNodeLost when the link is lost.
func (n *Node) Deliver(note Note, m *message.Message) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return errLost(n.Card().Name)
	}
	err := n.out.frame(n.out.room(m.Verb), func(dst []byte) ([]byte, error) {
		before := len(dst)
		dst, err := appendNote(dst, note)
		if err != nil {
			return dst, err
		}
		dst = message.AppendSplit(dst, m)
		if len(dst)-before > min(n.mesh.cfg.MaxFrame, n.Card().frame()) {
			return dst, errTooLarge
		}
		return dst, nil
	})
	n.schedule()
	n.mu.Unlock()
	if err == nil {
		n.mesh.metrics.messagesOut.Inc()
	}
	return err
}

// Relief returns a channel that is closed when a part that Deliver refused is
// worth another try.
func (n *Node) Relief() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.out.bytes < n.out.limit/8 {
		return closedChan
	}
	if n.out.relief == nil {
		n.out.relief = make(chan struct{})
	}
	return n.out.relief
}

var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Lose ends the link, soon: with the node it cannot go on as it is. Membership
// begins a new one.
func (n *Node) Lose(reason string) {
	n.doomed.Store(&reason)
	n.mu.Lock()
	n.schedule()
	n.mu.Unlock()
}

// announce queues what changed in what this node serves. It is not refused when
// the outbox is full: the other side would never learn it.
func (n *Node) announce(announcement []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	_ = n.out.frame(math.MaxInt, func(dst []byte) ([]byte, error) {
		return append(append(dst, frameRoutes), announcement...), nil
	})
	n.schedule()
}

func errLost(name string) *message.Error {
	return &message.Error{
		Code: message.CodeNodeLost, Message: "the node " + name + " is gone",
		Hint: "The message was not sent and can be repeated.", Retryable: true,
	}
}

var errTooLarge = message.NewError(message.CodeTooLarge, "the message is larger than nodes send each other",
	"Send it in parts, or raise limits.frame in the configuration of the nodes.")
