package edge

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/internal/wheel"
	"github.com/ropewalk/ropewalk/message"
)

// ErrClosed is returned by [Conn.Send] on a connection that is closed or being
// closed.
var ErrClosed = errors.New("edge: the connection is closed")

// What Send returns when the list of pending frames is full. They are made
// once, since a flood of sends is no time for allocations.
//
//nolint:gochecknoglobals // constants in all but name
var (
	errSlow = message.NewError(message.CodeSlowConsumer,
		"the receiver does not take its messages",
		"Read faster, or send less; the connection was closed and may be made again.")
	errFull = message.NewError(message.CodeOverloaded,
		"too many messages wait to be sent on this connection",
		"Try again later, or let more connections serve this path.")
)

// state of a connection; see the package comment. It only grows.
type state uint32

const (
	stateHandshake state = iota
	stateOpen
	stateClosing
	stateDead
)

// link is what differs between the ways in which connections come. The owner
// of a connection is the goroutine that reads it.
type link interface {
	// flush writes what is pending. It is called by whoever emptied the dirty
	// list, and must not block.
	flush(c *Conn, w *scratch)
	// nudge has the owner call settle soon. It may be called from anywhere.
	nudge(c *Conn)
	// wait is called with c.mu held when the socket took less than it was
	// given: flush is to be called again when it takes more.
	wait(c *Conn)
	// halfClose tells the other end that nothing more will come.
	halfClose(c *Conn)
	// leave is called by the owner when the connection is dead: no more events.
	leave(c *Conn)
	// release closes the socket. Nobody uses it any more.
	release(c *Conn)
}

// Conn is one connection. All methods may be called from any goroutine, from
// [Handler] methods too, and none of them blocks.
type Conn struct {
	srv  *Server
	lis  *listener
	link link
	id   string
	addr netip.AddrPort
	data any

	framing   Framing
	deflate   bool
	unmetered bool          // it does not count against Limits.PerIP; guarded by Server.connMu
	peering   *peering      // nil for a client; settled before it opens
	transport atomic.Uint32 // a transport; changes once at most, from poll to stream

	state atomic.Uint32 // written under mu, read anywhere

	// Socket of the poller driver.
	fd    int32
	gen   uint32
	again bool // on the poller's list of connections with more to read
	hup   bool // the other end has stopped sending: read until the end

	// Read state, the owner's alone.
	opened    bool    // the Handler knows it
	notified  bool    // the Handler knows that it is closed
	deaf      bool    // what comes is not understood any more
	in        *buffer // the start of a frame or request that is not complete
	inShared  bool    // it was copied to where the rest is being read to
	whole     *buffer // the fragments of a message so far
	wholeOp   opcode
	wholePack bool
	rate      bucket

	// seen tells the keep-alive timer what has come since its last turn.
	seen  atomic.Uint32
	timer wheel.Timer

	mu       sync.Mutex
	policy   Policy
	listed   bool // on the dirty list
	writing  bool // somebody is writing; he looks again when he is done
	blocked  bool // the socket is full
	kill     bool // the owner is to let it die
	gotClose bool // the other end has sent its close frame
	misses   uint8
	stuck    bool   // was blocked at the last turn of the timer, and nothing left since
	idle     uint32 // turns of the timer without a message
	inflight int    // frames at the head of pending that are being written
	off      int    // bytes of the first pending frame that have been written
	pending  []*Frame
	bytes    int           // payloads in pending
	relief   chan struct{} // somebody waits until the list is shorter
	end      *CloseError

	dirtyNext *Conn // guarded by being on the dirty list

	// List of all connections, guarded by Server.connMu.
	next, prev *Conn
}

// transport is a compact name.
type transport uint8

const (
	viaWebSocket transport = iota
	viaStream
	viaPoll
	transports
)

func (t transport) String() string {
	return [transports]string{TransportWebSocket, TransportStream, TransportPoll}[t]
}

// ID is the connection's id: 13 lower-case letters and digits, at random.
func (c *Conn) ID() string { return c.id }

// Framing is how messages are laid out in frames on this connection.
func (c *Conn) Framing() Framing { return c.framing }

// Listener is the name of the listener that the connection came by.
func (c *Conn) Listener() string { return c.lis.cfg.Name }

// RemoteAddr is HOST:PORT of the other end, as the listener sees it.
func (c *Conn) RemoteAddr() string { return c.addr.String() }

// Transport is "websocket", "stream" or "poll".
// A connection over HTTP is "poll" until it is streamed.
func (c *Conn) Transport() string { return c.via().String() }

func (c *Conn) via() transport { return transport(c.transport.Load()) } //nolint:gosec // it was one

// Data returns what SetData was given.
func (c *Conn) Data() any { return c.data }

// SetData keeps something beside the connection. It may only be called from
// [Handler.Open], before others learn of the connection.
func (c *Conn) SetData(v any) { c.data = v }

// SetPolicy says what happens when the list of pending frames is full.
func (c *Conn) SetPolicy(p Policy) {
	c.mu.Lock()
	c.policy = p
	c.mu.Unlock()
}

// Pending is how many frames wait to be sent, and how many bytes they have.
func (c *Conn) Pending() (frames, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending), c.bytes
}

// Send puts f on the list of pending frames and returns. It keeps a reference
// of its own, so the caller may Release f at once, and f may be sent to others.
//
// Errors: [ErrClosed]; *message.Error with CodeSlowConsumer (the list was full
// and the connection is being closed) or CodeOverloaded (it was full and f was
// not sent), as the [Policy] says.
func (c *Conn) Send(f *Frame) error { return c.send(f, false) }

// Offer is Send for what can wait, such as the parts of a long answer: it fails
// with CodeOverloaded as soon as half of the list is taken, or f does not fit,
// whatever the [Policy], so that there is always room for final answers. [Conn.Relief] tells
// when to try again.
func (c *Conn) Offer(f *Frame) error { return c.send(f, true) }

func (c *Conn) send(f *Frame, canWait bool) error {
	c.mu.Lock()
	switch {
	case state(c.state.Load()) != stateOpen:
		c.mu.Unlock()
		return ErrClosed
	case canWait:
		// Whoever has a quarter or less pending can take one of any size: it would
		// get no relief to wait for.
		if c.crowded(2) || c.crowded(4) && c.full(len(f.Payload)) {
			c.mu.Unlock()
			return errFull
		}
	case c.full(len(f.Payload)):
		return c.overflow()
	}
	f.Retain()
	push := c.enqueue(f)
	c.mu.Unlock()
	if push {
		c.srv.dirty(c)
	}
	return nil
}

// crowded reports whether one part-th of the list is taken.
func (c *Conn) crowded(part int) bool {
	l := c.limits()
	return len(c.pending) > 0 && (len(c.pending) >= l.PendingFrames/part || c.bytes >= l.PendingBytes/part)
}

// nothingToWaitFor is what those get who need not wait.
var nothingToWaitFor = func() chan struct{} { //nolint:gochecknoglobals // immutable
	c := make(chan struct{})
	close(c)
	return c
}()

// Relief returns a channel that is closed when less than a quarter of the list
// of pending frames is taken, and when the connection ends.
func (c *Conn) Relief() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state(c.state.Load()) != stateOpen || !c.crowded(4) {
		return nothingToWaitFor
	}
	if c.relief == nil {
		c.relief = make(chan struct{})
	}
	return c.relief
}

// relieve wakes those who wait, if there is a reason. It is called with mu held.
func (c *Conn) relieve() {
	if c.relief != nil && (!c.crowded(4) || state(c.state.Load()) != stateOpen) {
		close(c.relief)
		c.relief = nil
	}
}

func (c *Conn) full(more int) bool {
	l := c.limits()
	return len(c.pending) >= l.PendingFrames || len(c.pending) > 0 && c.bytes+more > l.PendingBytes
}

// overflow is called with mu held, and unlocks it.
func (c *Conn) overflow() error {
	if c.policy == PolicyReject {
		c.mu.Unlock()
		c.srv.metrics.hit(limitRejected)
		return errFull
	}
	c.drop(max(c.inflight, min(c.off, 1)))
	c.startClosing(&CloseError{Code: CloseSlowConsumer, Reason: "slow consumer"},
		newClose(CloseSlowConsumer, "slow consumer: messages were not taken in time"))
	c.srv.metrics.hit(limitSlowConsumer)
	return errSlow
}

// enqueue is called with mu held. It takes over the caller's reference, and
// reports whether the caller has to put c on the dirty list after unlocking.
func (c *Conn) enqueue(f *Frame) (push bool) {
	c.pending = append(c.pending, f)
	c.bytes += len(f.Payload)
	if c.listed || c.blocked || c.writing {
		return false
	}
	c.listed = true
	return true
}

// drop releases all pending frames but the first keep. It is called with mu
// held.
func (c *Conn) drop(keep int) {
	for i := keep; i < len(c.pending); i++ {
		c.bytes -= len(c.pending[i].Payload)
		c.pending[i].Release()
		c.pending[i] = nil
	}
	c.pending = c.pending[:min(keep, len(c.pending))]
	c.relieve()
}

// control sends a pong or ping. It is dropped when the list is full and the
// policy is not to close.
func (c *Conn) control(f *Frame) {
	c.mu.Lock()
	switch {
	case state(c.state.Load()) != stateOpen:
	case c.full(len(f.Payload)):
		_ = c.overflow()
		f.Release()
		return
	default:
		push := c.enqueue(f)
		c.mu.Unlock()
		if push {
			c.srv.dirty(c)
		}
		return
	}
	c.mu.Unlock()
	f.Release()
}

// Close sends what is pending, then a close frame with code and reason, and
// ends the connection when the other end has answered or [Limits.Close] is
// over. [Handler.Closed] is called soon, without waiting for that. The reason
// is cut at 123 bytes. Only the first Close counts.
func (c *Conn) Close(code CloseCode, reason string) {
	err := &CloseError{Code: code, Reason: reason}
	c.mu.Lock()
	early := state(c.state.Load()) == stateHandshake
	if early { // the other end would not understand a frame yet
		c.doomLocked(err)
	}
	c.mu.Unlock()
	if early {
		c.link.nudge(c)
		return
	}
	c.closeWith(err, newClose(code, reason))
}

// closeWith begins to close; last is the last frame to be sent.
func (c *Conn) closeWith(err *CloseError, last *Frame) {
	c.mu.Lock()
	if state(c.state.Load()) >= stateClosing {
		c.mu.Unlock()
		last.Release()
		return
	}
	c.startClosing(err, last)
}

// startClosing is called with mu held, and unlocks it.
func (c *Conn) startClosing(err *CloseError, last *Frame) {
	c.state.Store(uint32(stateClosing))
	c.relieve()
	c.end = err
	push := c.enqueue(last)
	c.srv.wheel.Reset(&c.timer, c.limits().Close)
	c.mu.Unlock()
	if push {
		c.srv.dirty(c)
	}
	c.link.nudge(c)
}

// doom has the owner let the connection die, without any more writing.
func (c *Conn) doom(err *CloseError) {
	c.mu.Lock()
	c.doomLocked(err)
	c.mu.Unlock()
	c.link.nudge(c)
}

func (c *Conn) doomLocked(err *CloseError) {
	c.kill = true
	if c.end == nil {
		c.end = err
	}
}

// settle does what others have asked of the owner, who alone calls it: tell
// the Handler of a close, and let the connection die.
func (c *Conn) settle() {
	c.mu.Lock()
	s, kill := state(c.state.Load()), c.kill
	c.mu.Unlock()
	switch {
	case s == stateDead:
	case kill:
		c.die(nil)
	case s == stateClosing:
		c.tellClosed()
	}
}

func (c *Conn) tellClosed() {
	if !c.opened || c.notified {
		return
	}
	c.notified = true
	c.srv.metrics.closed(c)
	c.srv.tellClosed(c)
}

// die ends the connection. Only the owner calls it. A nil err means that the
// reason is known already.
func (c *Conn) die(err *CloseError) {
	c.mu.Lock()
	if state(c.state.Load()) == stateDead {
		c.mu.Unlock()
		return
	}
	c.link.leave(c)
	c.state.Store(uint32(stateDead))
	if c.end == nil {
		c.end = err
	}
	if c.end == nil {
		c.end = &CloseError{Code: CloseAbnormal}
	}
	c.drop(c.inflight)
	busy := c.writing
	c.mu.Unlock()
	c.srv.wheel.Stop(&c.timer)
	c.in.free()
	c.whole.free()
	c.in, c.whole = nil, nil
	c.tellClosed()
	c.srv.forget(c)
	if !busy {
		c.link.release(c)
	}
}

// lost is die for a socket that broke or came to its end.
func (c *Conn) lost(cause error) {
	c.die(&CloseError{Code: CloseAbnormal, Reason: "the connection broke", Cause: cause})
}
