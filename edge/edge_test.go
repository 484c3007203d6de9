package edge_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// recorder is a Handler that echoes and tells tests what it was told.
type recorder struct {
	welcome string // sent by Open
	mute    bool   // no echo
	onOpen  func(*edge.Conn)
	onFrame func(*edge.Conn, []byte)

	opened chan *edge.Conn
	closed chan error

	mu   sync.Mutex
	live map[*edge.Conn]bool // true between Open and Closed
	bugs []string
}

func newRecorder() *recorder {
	return &recorder{
		opened: make(chan *edge.Conn, 1<<14),
		closed: make(chan error, 1<<14),
		live:   make(map[*edge.Conn]bool),
	}
}

func (r *recorder) Open(c *edge.Conn) {
	r.mu.Lock()
	if _, was := r.live[c]; was {
		r.bugs = append(r.bugs, "Open twice")
	}
	r.live[c] = true
	r.mu.Unlock()
	if r.onOpen != nil {
		r.onOpen(c)
	}
	if r.welcome != "" {
		_ = send(c, []byte(r.welcome))
	}
	r.opened <- c
}

func (r *recorder) Frame(c *edge.Conn, frame []byte) {
	r.mu.Lock()
	if !r.live[c] {
		r.bugs = append(r.bugs, "Frame outside of Open and Closed")
	}
	r.mu.Unlock()
	if r.onFrame != nil {
		r.onFrame(c, frame)
	}
	if !r.mute {
		_ = send(c, frame)
	}
}

func (r *recorder) Closed(c *edge.Conn, err error) {
	r.mu.Lock()
	if !r.live[c] {
		r.bugs = append(r.bugs, "Closed twice or before Open")
	}
	r.live[c] = false
	r.mu.Unlock()
	r.closed <- err
}

func (r *recorder) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, bug := range r.bugs {
		t.Error(bug)
	}
	for _, live := range r.live {
		if live {
			t.Error("a connection was opened and never closed")
		}
	}
}

func send(c *edge.Conn, payload []byte) error {
	f := edge.NewFrame()
	defer f.Release()
	f.Payload = append(f.Payload, payload...)
	return c.Send(f)
}

func (r *recorder) waitOpen(t *testing.T) *edge.Conn {
	t.Helper()
	return receive(t, r.opened, "a connection to open")
}

// waitClosed waits for the end of a connection and checks its code.
func (r *recorder) waitClosed(t *testing.T, want edge.CloseCode) *edge.CloseError {
	t.Helper()
	err := receive(t, r.closed, "a connection to close")
	var ce *edge.CloseError
	if !errors.As(err, &ce) {
		t.Fatalf("closed with %T %v, want a CloseError", err, err)
	}
	if ce.Code != want {
		t.Fatalf("closed with %v, want %d", ce, want)
	}
	return ce
}

func receive[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// quiet is a logger for tests that provoke errors.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// node is a running Server.
type node struct {
	*edge.Server
	rec  *recorder
	addr string
	url  string // ws:// or wss://
	http *http.Client
}

// start runs a server for the length of a test, and checks at its end that
// the Handler was told of everything in order.
//
//nolint:funlen // one thing after the other
func start(tb testing.TB, cfg edge.Config, rec *recorder) *node {
	tb.Helper()
	if len(cfg.Listeners) == 0 {
		cfg.Listeners = []edge.ListenerConfig{{}}
	}
	for i := range cfg.Listeners {
		cfg.Listeners[i].Addr = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	s, err := edge.New(cfg, rec)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Listen(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- s.Serve(ctx) }()
	n := &node{Server: s, rec: rec, addr: s.Addrs()[0].String()}
	n.url = "ws://" + n.addr + "/"
	if cfg.Listeners[0].CertFile != "" {
		n.url = "wss://" + n.addr + "/"
	}
	n.http = &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS()}}
	tb.Cleanup(func() {
		n.http.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil && !errors.Is(err, context.Canceled) {
			tb.Errorf("Serve: %v", err)
		}
		if t, ok := tb.(*testing.T); ok {
			rec.check(t)
		}
	})
	return n
}

// dial opens a WebSocket with an independent implementation.
func (n *node) dial(tb testing.TB, opts *websocket.DialOptions) *websocket.Conn {
	tb.Helper()
	if opts == nil {
		opts = &websocket.DialOptions{}
	}
	if opts.Subprotocols == nil {
		opts.Subprotocols = []string{edge.ProtocolSplit}
	}
	opts.HTTPClient = n.http
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, res, err := websocket.Dial(ctx, n.url, opts) //nolint:bodyclose // the library closes it
	if err != nil {
		tb.Fatalf("dial: %v (%+v)", err, res)
	}
	c.SetReadLimit(64 << 20)
	tb.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func write(tb testing.TB, c *websocket.Conn, kind websocket.MessageType, payload []byte) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Write(ctx, kind, payload); err != nil {
		tb.Fatalf("write: %v", err)
	}
}

func read(tb testing.TB, c *websocket.Conn) (websocket.MessageType, []byte) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, payload, err := c.Read(ctx)
	if err != nil {
		tb.Fatalf("read: %v", err)
	}
	return kind, payload
}
