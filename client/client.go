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
//
// What is watched goes on, too: see [Client.Watch].
//
// Where it comes back: a node that is one of several says where the others are.
// When the connection is lost the client goes to one of them at once, and when
// its node drains it does so before it leaves, so that only calls whose answers
// are outstanding stay behind. See [WithURLs] and [WithoutFollow].
//
// Who the client is: a token says so, given by [WithToken], [WithTokenSource] or
// [Client.OpenSession], or got when a service logged it in. It goes ahead of
// everything else on each connection. See [Session].
package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Client is one connection to a node, lost and made again as often as need be,
// there or at another node.
// Make one with [Dial]; call [Client.Close] when it is not needed any more.
//
// All methods may be called from any goroutine. Functions that are given to a
// Client, and handlers of services, may call all of its methods but Close and
// Drain, which wait for them.
type Client struct {
	cfg    config
	log    *slog.Logger
	lane   *lane.Lane // all goroutines but those of handlers
	roster *roster
	begun  chan error // how the first attempt to connect ended

	decided bool // begun has been told; of the goroutine that runs run

	conns atomic.Pointer[[]*conn] // those that have not ended; changed under mu

	stats counters

	closeOnce sync.Once
	closeErr  error

	// Guarded by mu. No function of a user is called under it.
	mu      sync.Mutex
	session session
	state   State
	doing   State // what it would be if nothing drained
	watch   watchers[State]
	who     identity
	id      string
	node    Node
	last    error // why the last attempt or connection ended
	conn    *conn // the one for new messages; nil while there is none

	inbox   inbox
	serving serving
	topics  map[string]*topic // that are watched, by address and params
}

// counters are the parts of Stats that are counted on the way.
type counters struct {
	connects, late, malformed, dropped, refused atomic.Uint64
}

// Stats is how a client has been doing since it was made.
type Stats struct {
	Connects  uint64 // connections that were welcomed
	Late      uint64 // answers to calls that were over, updates of topics that are not watched any more
	Malformed uint64 // frames from the node that could not be understood
	Dropped   uint64 // sends from others that had no room to wait for OnSend
	Refused   uint64 // errors that nobody waited for: of sends without acknowledgement, and late ones
	InFlight  int    // messages that wait for an answer
	Queued    int    // messages that wait to be sent
	Topics    int    // that are watched
}

// Dial connects to the node at rawURL (ws, wss, http or https) and returns
// when it has been welcomed. ctx bounds that, and nothing afterwards. It tries
// once, by all transports that may work, and after that once at each URL of
// [WithURLs]; if all fail the error says why the last did, with CodeNotReady or
// the node's own code. With [WithLazy] it returns at once and keeps trying in
// the background.
func Dial(ctx context.Context, rawURL string, opts ...Option) (*Client, error) {
	cfg := defaults()
	for _, o := range opts {
		o.apply(&cfg)
	}
	var urls []*url.URL
	for _, raw := range append([]string{rawURL}, cfg.urls...) {
		u, err := parseURL(raw)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	return start(ctx, urls, cfg)
}

func start(ctx context.Context, urls []*url.URL, cfg config) (*Client, error) {
	c := &Client{
		cfg:     cfg,
		log:     cfg.log,
		lane:    lane.New(context.WithoutCancel(ctx), cfg.log),
		begun:   make(chan error, 1),
		topics:  make(map[string]*topic),
		session: newSession(limits{messages: cfg.queue, bytes: cfg.queueBytes, frame: defaultFrame}),
	}
	c.roster = newRoster(&c.cfg, urls)
	c.conns.Store(new([]*conn))
	c.watch.funcs = cfg.onState
	c.who.token, c.who.news.funcs = cfg.token, cfg.onSession
	c.inbox.handle = cfg.onSend
	c.serving.init()
	if c.cfg.dial == nil {
		c.cfg.dial = func(ctx context.Context, p *place) (transport, *welcome, error) { return p.ladder.dial(ctx) }
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
		err.Message = "connecting to " + shown(urls[0]) + " took too long"
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
	if err != nil && strings.Contains(raw, "://") {
		return nil, bad("it cannot be read")
	}
	if err != nil { // 127.0.0.1:7420
		u = new(url.URL)
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

// Node is where a client is connected.
type Node struct {
	ID   string // 32 hex digits
	Name string // what people call it
	URL  string // by which the client got there
}

// Node returns the node that the client is connected to or, while it is not,
// was connected to last; the zero Node before the first welcome.
func (c *Client) Node() Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
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
	if c.conn == nil {
		return ""
	}
	return c.conn.tr.name()
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
	flights, queued, topics := len(c.session.flights), c.session.queued(), len(c.topics)
	c.mu.Unlock()
	return Stats{
		Connects:  c.stats.connects.Load(),
		Late:      c.stats.late.Load(),
		Malformed: c.stats.malformed.Load(),
		Dropped:   c.stats.dropped.Load(),
		Refused:   c.stats.refused.Load(),
		InFlight:  flights,
		Queued:    queued,
		Topics:    topics,
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

// goodbye closes all connections in the polite way. From here on a lost
// connection is no reason to make another.
func (c *Client) goodbye(ctx context.Context) {
	c.mu.Lock()
	conns := *c.conns.Load()
	c.endWatches(message.NewError(message.CodeCanceled, "the client was closed", ""))
	ends := c.session.end(message.NewError(message.CodeCanceled, "the client was closed during the call", ""))
	c.mu.Unlock()
	finishAll(ends)
	var closed sync.WaitGroup
	for _, cn := range conns {
		closed.Go(func() {
			stop := context.AfterFunc(ctx, cn.tr.kill)
			defer stop()
			cn.tr.close(closeBye, "bye")
		})
	}
	closed.Wait()
}

// shutdown refuses everything from now on, with err.
func (c *Client) shutdown(err *message.Error) {
	c.mu.Lock()
	c.endWatches(err)
	ends := c.session.end(err)
	c.session.shut = err
	c.setState(Closed)
	conns := *c.conns.Load()
	regs := slices.Clone(c.serving.regs)
	c.mu.Unlock()
	finishAll(ends)
	for _, r := range regs {
		r.resolve(err)
	}
	for _, cn := range conns {
		cn.tr.kill()
	}
}

func finishAll(ends []ending) {
	for _, e := range ends {
		e.flight.end(nil, e.err)
	}
}

var (
	_ call.Caller  = (*Client)(nil)
	_ call.Watcher = (*Client)(nil)
	_ route.Peer   = peer{}
)
