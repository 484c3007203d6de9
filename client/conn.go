package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

// transport carries frames to a node and back. One goroutine reads, one
// writes, a third may ping; close and kill may be called by anybody at any
// time and make the others return.
type transport interface {
	name() string
	// read returns the next frame, valid until the next read.
	read() ([]byte, error)
	// write writes frames in order. If it fails, only the first tried frames
	// can have left, in part or whole.
	write(frames [][]byte) (tried int, err error)
	// ping returns when the node has answered.
	ping(ctx context.Context) error
	// heard is when something last came from the node.
	heard() time.Time
	// close says goodbye with a close code. It may take seconds; kill ends it.
	close(code int, reason string)
	// kill ends the connection at once.
	kill()
}

const (
	// batchBytes is about how much is given to the transport at a time: enough
	// to share a system call, little enough that urgent messages wait shortly.
	batchBytes = 64 << 10
	// envelopeCost is what an envelope without fields may take on the wire.
	envelopeCost = 64
	// keepBuffer is the largest write buffer that is kept between batches.
	keepBuffer = 1 << 20
)

// conn is one connection from welcome to end. Mostly a client has one; while a
// node drains there may be another beside it, on which new messages go out.
type conn struct {
	tr    transport
	lane  *lane.Lane
	place *place
	node  string        // the node's id
	wake  chan struct{} // holds one token when there may be something to write
	ended chan error    // gets how it ended
	moved chan struct{} // closed when new messages had better go elsewhere
	early [][]byte      // frames that came before the connection was in use

	// Guarded by Client.mu.
	wire    *wire
	calls   map[string]*served // being answered, by the node's mid
	lasting int                // how many of calls are subscribes, which last as long as the connection
	topics  map[string]*topic  // that are watched, by the node's name for them
	moving  bool               // moved is closed
	taking  bool               // what is served is being taken back; see farewell
	parted  bool               // and was

	mu  sync.Mutex
	why error // why we ended it ourselves; the first reason counts
}

// end closes the connection from our side, for a reason.
func (cn *conn) end(why error) {
	cn.mu.Lock()
	if cn.why == nil {
		cn.why = why
	}
	cn.mu.Unlock()
	cn.tr.kill()
}

// reason is why the connection ended, given what reading it came to.
func (cn *conn) reason(err error) error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.why != nil {
		err = cn.why
	}
	if d := new(dropped); errors.As(err, &d) {
		return err
	}
	return &dropped{cause: err}
}

// attach uses a connection until it ends. It returns a *dropped.
func (c *Client) attach(ctx context.Context, cn *conn) error {
	stop := context.AfterFunc(ctx, cn.tr.kill)
	defer stop()
	cn.lane.Go("client.write", func(ctx context.Context) { c.writeLoop(ctx, cn) })
	cn.lane.Go("client.keepalive", func(ctx context.Context) { c.keepAlive(ctx, cn) })
	err := c.readLoop(cn)
	cn.tr.kill()
	cn.lane.Close() // the writer has returned its batch after this
	return c.offline(cn, cn.reason(err))
}

// online makes a connection the one in use. It fails if the client has been
// closed.
func (c *Client) online(ctx context.Context, at *place, tr transport, hello *welcome, g *greeting) (*conn, error) {
	c.roster.met(at, hello.Node.ID)
	if hello.Nodes != nil {
		c.roster.learn(at, hello.Nodes)
	}
	cn := &conn{
		tr: tr, lane: lane.New(ctx, c.log), place: at, node: hello.Node.ID, wake: make(chan struct{}, 1),
		ended: make(chan error, 1), moved: make(chan struct{}), calls: make(map[string]*served), early: g.early,
		topics: make(map[string]*topic),
	}
	c.mu.Lock()
	if c.session.shut != nil {
		c.mu.Unlock()
		tr.kill()
		return nil, message.NewError(message.CodeNotReady, "the client was closed", "")
	}
	before := c.conn
	cn.wire = c.session.connect(hello.Limits.Frame)
	conns := append(slices.Clone(*c.conns.Load()), cn)
	c.conns.Store(&conns)
	c.conn, c.id, c.last = cn, hello.ID, nil
	c.node = Node{ID: hello.Node.ID, Name: hello.Node.Name, URL: shown(at.url)}
	c.greeted(g)
	c.announceAll()
	c.watchAgain()
	c.doing = Online
	c.setState(Online)
	leave := func() {}
	if before != nil {
		c.farewell(before)
		leave = c.mayLeave(before)
	}
	c.mu.Unlock()
	c.stats.connects.Add(1)
	c.log.Info("connected", "url", shown(at.url), "client", hello.ID, "node", hello.Node.Name, "transport", tr.name())
	c.nudge()
	leave()
	return cn, nil
}

// offline takes stock after a connection has ended.
func (c *Client) offline(cn *conn, err error) error {
	d := new(dropped)
	errors.As(err, &d)
	c.mu.Lock()
	conns := slices.DeleteFunc(slices.Clone(*c.conns.Load()), func(o *conn) bool { return o == cn })
	c.conns.Store(&conns)
	if c.conn == cn {
		c.conn = nil
	}
	c.unwatched(cn)
	lost := c.session.drop(cn.wire, d.public())
	if c.state == Draining && c.conn == nil && c.doing != Online {
		c.setState(c.doing)
	}
	c.mu.Unlock()
	finishAll(lost)
	c.abandonServed(cn, message.NewError(message.CodeConnectionLost, "the connection to the node was lost during the call", ""))
	c.nudge()
	return err
}

// nudge wakes the writers.
func (c *Client) nudge() {
	for _, cn := range *c.conns.Load() {
		select {
		case cn.wake <- struct{}{}:
		default:
		}
	}
}

// writeLoop is the one writer of a connection: it takes what waits, encodes
// it, and hands it to the transport in one piece.
func (c *Client) writeLoop(ctx context.Context, cn *conn) {
	var w writer
	w.json = c.cfg.json
	for {
		c.mu.Lock()
		w.batch = c.session.take(cn.wire, w.batch[:0], batchBytes)
		w.limit = c.session.limits.frame
		c.mu.Unlock()
		if len(w.batch) == 0 {
			select {
			case <-cn.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		tooLarge := w.encode()
		tried, err := cn.tr.write(w.frames)
		var rest []*outgoing
		if err != nil {
			rest = w.batch[min(tried, len(w.batch)):]
		}
		c.mu.Lock()
		c.session.written(cn.wire, rest)
		leave := c.mayLeave(cn)
		others := len(c.session.wires) > 1
		c.mu.Unlock()
		leave()
		if others {
			c.nudge() // another may have waited for this batch
		}
		c.refuseLarge(tooLarge)
		clear(w.batch)
		if err != nil {
			cn.end(err)
			return
		}
	}
}

// writer encodes batches. Its slices are used again and again.
type writer struct {
	json   bool
	limit  int
	batch  []*outgoing // what is written; those too large are taken out
	buf    []byte
	ends   []int
	frames [][]byte
}

// encode writes the batch's frames and returns the messages that do not fit.
// Their size is checked when they are admitted; only a node that has changed
// its limit since makes them show up here.
func (w *writer) encode() (tooLarge []*outgoing) {
	if cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	w.buf, w.ends, w.frames = w.buf[:0], w.ends[:0], w.frames[:0]
	kept := w.batch[:0]
	now := time.Now()
	for _, o := range w.batch {
		if !o.deadline.IsZero() {
			o.msg.Timeout = max(o.deadline.Sub(now), time.Millisecond)
		}
		at := len(w.buf)
		w.buf = appendFrame(w.buf, &o.msg, w.json)
		if w.limit > 0 && len(w.buf)-at > w.limit {
			w.buf = w.buf[:at]
			tooLarge = append(tooLarge, o)
			continue
		}
		w.ends = append(w.ends, len(w.buf))
		kept = append(kept, o)
	}
	w.batch = kept
	at := 0
	for _, end := range w.ends {
		w.frames = append(w.frames, w.buf[at:end:end])
		at = end
	}
	return tooLarge
}

func appendFrame(dst []byte, m *message.Message, asJSON bool) []byte {
	if asJSON {
		return message.AppendJSON(dst, m)
	}
	return message.AppendSplit(dst, m)
}

func (c *Client) refuseLarge(list []*outgoing) {
	for _, o := range list {
		err := errTooLarge(o.cost, c.frameLimit())
		if o.flight == nil {
			c.log.Warn("a message was not sent because the node's limit for frames became smaller", "to", string(o.msg.To), "err", err)
			continue
		}
		c.abandon(o.flight, err)
	}
}

func (c *Client) frameLimit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.limits.frame
}

// keepAlive pings a node that has been silent, and ends the connection if that
// is not answered: TCP alone may take a quarter of an hour to find out.
func (c *Client) keepAlive(ctx context.Context, cn *conn) {
	for {
		quiet := time.Since(cn.tr.heard())
		if quiet < c.cfg.silence {
			if !pause(ctx, c.cfg.silence-quiet) {
				return
			}
			continue
		}
		pingCtx, cancel := context.WithTimeout(ctx, min(c.cfg.silence, pongTimeout))
		err := cn.tr.ping(pingCtx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			cn.end(&dropped{reason: "no answer to a ping", cause: err})
			return
		}
	}
}
