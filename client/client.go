// Package client connects a Go program to a Ropewalk node: it calls services,
// sends and gets messages, and serves paths itself, all over one connection
// that comes back by itself.
//
//	c, err := client.Dial(ctx, "ws://localhost:7420")
//	defer c.Close()
//	n, err := call.Do[float64](ctx, c, "math:/decimal/mul", map[string]float64{"a": 2, "b": 5})
//
// What happens when the connection is lost: messages that were not sent yet
// wait for the next one and keep their order and ids; calls that were sent
// fail with CodeConnectionLost, unless they are [call.WithIdempotent], which
// are sent again with the same id; what the client serves is announced anew,
// and calls that it was answering are canceled. docs/reference/wire.md is the
// protocol and has the table of close codes that say whether to come back.
package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Client is one connection to a node, lost and made again as often as need be.
// Make one with [Dial]; call [Client.Close] when it is not needed any more.
//
// All methods may be called from any goroutine. Functions that are given to a
// Client, and handlers of services, may call all of its methods but Close and
// Drain, which wait for them.
type Client struct {
	cfg  config
	url  *url.URL
	log  *slog.Logger
	lane *lane.Lane // all goroutines but those of handlers

	wake  chan struct{} // holds one token when there is something to write
	begun chan error    // how the first attempt to connect ended

	stats counters

	closeOnce sync.Once
	closeErr  error

	// Guarded by mu. No function of a user is called under it.
	mu      sync.Mutex
	session session
	state   State
	watch   watchers
	id      string
	via     string // transport in use
	last    error  // why the last attempt or connection ended
	conn    *conn  // nil while there is none

	inbox   inbox
	serving serving
}

// counters are the parts of Stats that are counted on the way.
type counters struct {
	connects, late, malformed, dropped, refused atomic.Uint64
}

// Stats is how a client has been doing since it was made.
type Stats struct {
	Connects  uint64 // connections that were welcomed
	Late      uint64 // answers to calls that were over
	Malformed uint64 // frames from the node that could not be understood
	Dropped   uint64 // sends from others that had no room to wait for OnSend
	Refused   uint64 // errors that nobody waited for: of sends without acknowledgement, and late ones
	InFlight  int    // messages that wait for an answer
	Queued    int    // messages that wait to be sent
}

// Dial connects to the node at rawURL (ws, wss, http or https) and returns
// when it has been welcomed. ctx bounds that, and nothing afterwards. It tries
// once, by all transports that may work; if that fails the error says why, with
// CodeNotReady or the node's own code. With [WithLazy] it returns at once and
// keeps trying in the background.
func Dial(ctx context.Context, rawURL string, opts ...Option) (*Client, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	cfg := defaults()
	for _, o := range opts {
		o.apply(&cfg)
	}
	return start(ctx, u, cfg)
}

func start(ctx context.Context, u *url.URL, cfg config) (*Client, error) {
	c := &Client{
		cfg:     cfg,
		url:     u,
		log:     cfg.log,
		lane:    lane.New(context.WithoutCancel(ctx), cfg.log),
		wake:    make(chan struct{}, 1),
		begun:   make(chan error, 1),
		session: newSession(limits{messages: cfg.queue, bytes: cfg.queueBytes, frame: defaultFrame}),
	}
	c.watch.funcs = cfg.onState
	c.inbox.handle = cfg.onSend
	c.serving.init()
	if c.cfg.dial == nil {
		c.cfg.dial = newLadder(u, &c.cfg).dial
	}
	c.lane.Go("client.run", c.run)
	if cfg.lazy {
		return c, nil
	}
	select {
	case err := <-c.begun:
		if err != nil {
			c.shutdown(message.AsError(err))
			c.lane.Close()
			return nil, err
		}
		return c, nil
	case <-ctx.Done():
		err := call.Ended(ctx)
		err.Message = "connecting to " + shown(u) + " took too long"
		c.shutdown(err)
		c.lane.Close()
		return nil, err
	}
}

func parseURL(raw string) (*url.URL, error) {
	bad := func(what string) error {
		return message.NewError(message.CodeBadAddress, fmt.Sprintf("%.256q is not the URL of a node: %s", raw, what),
			"Write it as ws://localhost:7420 or wss://example.com.")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, bad("it cannot be read")
	}
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		return nil, bad("it does not begin with ws://, wss://, http:// or https://")
	}
	if u.Host == "" {
		return nil, bad("it has no host")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u.Fragment = ""
	return u, nil
}

// ID returns the client's id, under which others send to it:
// "<id>@client:/". It is "" before the first welcome, and may change with
// every connection.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// State returns what the client is doing about its connection.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Transport returns how the client is connected: "websocket", "stream",
// "poll", or "" if it is not.
func (c *Client) Transport() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.via
}

// Err returns why the last connection, or the last attempt to make one, ended;
// nil if there was none, or since then a better one.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Stats returns counts since the client was made.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	flights, queued := len(c.session.flights), len(c.session.queue.list)+len(c.session.urgent.list)
	c.mu.Unlock()
	return Stats{
		Connects:  c.stats.connects.Load(),
		Late:      c.stats.late.Load(),
		Malformed: c.stats.malformed.Load(),
		Dropped:   c.stats.dropped.Load(),
		Refused:   c.stats.refused.Load(),
		InFlight:  flights,
		Queued:    queued,
	}
}

// Close ends the client: what it serves is drained, messages that wait are
// sent if there is a connection, calls in flight fail with CodeCanceled. All of
// that takes at most the time of [WithCloseTimeout]; when it is not enough the
// rest is given up and the error has CodeDeadlineExceeded. Afterwards every
// method returns CodeNotReady. Close may be called more than once; all calls
// return the same, when the client has ended.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Client) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.closeTimeout)
	defer cancel()
	err := c.Drain(ctx)
	c.closeServing()
	if flushErr := c.flush(ctx); err == nil {
		err = flushErr
	}
	c.goodbye(ctx)
	c.shutdown(message.NewError(message.CodeNotReady, "the client is closed", "Make a new one with Dial."))
	c.lane.Cancel()
	if waitErr := c.lane.Wait(ctx); err == nil && waitErr != nil {
		err = message.NewError(message.CodeDeadlineExceeded, "a function given to the client still runs",
			"Have handlers of OnSend and OnState return soon, and when their context ends.")
	}
	return err
}

// flush waits until every message that can be written has been.
func (c *Client) flush(ctx context.Context) error {
	for {
		c.mu.Lock()
		done := c.session.flushed()
		room := c.session.waitRoom()
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return message.NewError(message.CodeDeadlineExceeded, "not every message could be sent before the client was closed",
				"Give it more time with WithCloseTimeout.")
		}
	}
}

// goodbye closes the connection in the polite way. From here on a lost
// connection is no reason to make another.
func (c *Client) goodbye(ctx context.Context) {
	c.mu.Lock()
	cn := c.conn
	ends := c.session.end(message.NewError(message.CodeCanceled, "the client was closed during the call", ""))
	c.mu.Unlock()
	finishAll(ends)
	if cn == nil {
		return
	}
	stop := context.AfterFunc(ctx, cn.tr.kill)
	defer stop()
	cn.tr.close(closeBye, "bye")
}

// shutdown refuses everything from now on, with err.
func (c *Client) shutdown(err *message.Error) {
	c.mu.Lock()
	ends := c.session.end(err)
	c.session.shut = err
	c.setState(Closed)
	cn := c.conn
	regs := slices.Clone(c.serving.regs)
	c.mu.Unlock()
	finishAll(ends)
	for _, r := range regs {
		r.resolve(err)
	}
	if cn != nil {
		cn.tr.kill()
	}
}

func finishAll(ends []ending) {
	for _, e := range ends {
		e.flight.end(nil, e.err)
	}
}

var (
	_ call.Caller = (*Client)(nil)
	_ route.Peer  = peer{}
)
