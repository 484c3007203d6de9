package line_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/line"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is more than anything here takes on a busy machine.
const patience = 30 * time.Second

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// muted is a backplane that can be made to lose everything.
type muted struct {
	mesh.Backplane
	on atomic.Bool
}

func (m *muted) Send(node string, data []byte) error {
	if m.on.Load() {
		return nil
	}
	return m.Backplane.Send(node, data)
}

func (m *muted) Publish(data []byte) error {
	if m.on.Load() {
		return nil
	}
	return m.Backplane.Publish(data)
}

// spot is a node with a listener and a mesh. It implements mesh.Handler and
// edge.Handler.
type spot struct {
	id      string
	cfg     line.Config
	driver  edge.Driver
	limits  edge.Limits
	server  *edge.Server
	lines   *line.Lines
	mesh    *mesh.Mesh
	plane   muted
	logs    lockedBuffer
	reg     *prometheus.Registry
	proxied bool // others reach it by a proxy
	proxy   *proxy
	take    func(body []byte)

	mu   sync.Mutex
	link *mesh.Node
	left int
	got  []string
}

func (s *spot) Joined(n *mesh.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = n
}
func (*spot) Served(*mesh.Node, route.Seat) error { return nil }
func (*spot) Unserved(*mesh.Node, route.Seat)     {}
func (s *spot) Message(_ *mesh.Node, _ mesh.Note, m *message.Message) {
	if s.take != nil {
		s.take(m.Body)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(m.Body))
}

func (s *spot) Left(*mesh.Node, *message.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left++
}

func (*spot) Open(*edge.Conn)          {}
func (*spot) Frame(*edge.Conn, []byte) {}
func (*spot) Closed(*edge.Conn, error) {}

func (s *spot) peer() *mesh.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

func (s *spot) received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

func (s *spot) send(t testing.TB, body string) {
	t.Helper()
	n := s.peer()
	err := n.Deliver(mesh.Note{Server: "s"}, &message.Message{Verb: message.VerbCall, To: []byte("x:/"), Mid: []byte("1"), Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
}

// direct tells whether the node has a line to another one.
func (s *spot) direct() bool {
	for _, n := range s.mesh.Nodes() {
		if n.Line == "direct" {
			return true
		}
	}
	return false
}

const goodKey = "what all nodes of the mesh know"

// start starts a node; the names of nodes are the digits of which their ids are.
func start(t testing.TB, net *ropewalktest.Network, name string, change ...func(*spot)) *spot {
	t.Helper()
	s := &spot{id: strings.Repeat(name, 32), reg: prometheus.NewRegistry()}
	s.cfg = line.Config{ID: s.id, Key: goodKey, Local: func() bool { return true }}
	s.cfg.Logger = slog.New(slog.NewTextHandler(&s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.cfg.Addr = func() string {
		if s.proxy != nil {
			return s.proxy.addr()
		}
		return s.addr()
	}
	for _, f := range change {
		f(s)
	}
	var err error
	if s.lines, err = line.New(s.cfg); err != nil {
		t.Fatal(err)
	}
	if s.server, err = edge.New(edge.Config{
		Listeners: []edge.ListenerConfig{{Addr: "127.0.0.1:0", Driver: s.driver}}, Limits: s.limits,
		NodeID: s.id, Peering: s.lines.Peering(), Logger: s.cfg.Logger,
	}, s); err != nil {
		t.Fatal(err)
	}
	if err := s.server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.proxied {
		s.proxy = newProxy(t, s.addr())
	}
	s.lines.Use(s.server)
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(context.Background()) }()
	eventually(t, "it serves", func() bool { // nobody listens at port 1
		return !strings.Contains(s.server.Dial(t.Context(), "127.0.0.1:1", nil).Error(), "does not serve yet")
	})
	if net != nil {
		s.plane.Backplane = net.Node()
		s.mesh, err = mesh.Start(t.Context(), mesh.Config{
			ID: s.id, Name: name, Backplane: &s.plane, Table: route.NewTable(), Handler: s, Lines: s.lines, Logger: s.cfg.Logger, Registry: s.reg,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if s.mesh != nil {
			if err := s.mesh.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := s.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return s
}

func (s *spot) addr() string { return s.server.Addrs()[0].String() }

// pair starts two nodes and waits for a line between them.
func pair(t testing.TB, change ...func(*spot)) (a, b *spot) {
	t.Helper()
	net := ropewalktest.NewNetwork(1)
	a, b = start(t, net, "a", change...), start(t, net, "b", change...)
	eventually(t, "a line", func() bool { return a.direct() && b.direct() })
	return a, b
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// raw is a connection of somebody who need not be a node.
type raw struct {
	net.Conn
	r *bufio.Reader
}

// knock connects to a node with the sub-protocol of lines.
func knock(t *testing.T, addr string, header ...string) (*raw, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	extra := ""
	for _, h := range header {
		extra += h + "\r\n"
	}
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "+line.Protocol+"\r\n"+extra+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{Conn: c, r: bufio.NewReader(c)}
	res, err := http.ReadResponse(r.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, res
}

// say sends a frame.
func (r *raw) say(t *testing.T, payload []byte) {
	t.Helper()
	if _, err := r.Write(frame(payload)); err != nil {
		t.Logf("say: %v", err) // it may have been closed already; what it is closed with matters
	}
}

func frame(payload []byte) []byte {
	b := []byte{0x82}
	if len(payload) < 126 {
		b = append(b, byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(len(payload)))
		if len(payload) < 1<<16 {
			b = binary.BigEndian.AppendUint16([]byte{0x82, 126}, uint16(len(payload)))
		}
	}
	return append(b, payload...)
}

// hear returns the next frame; of a close frame "close CODE".
func (r *raw) hear(t *testing.T) string {
	t.Helper()
	var h [2]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return "end"
	}
	n := int(h[1])
	if n == 126 {
		var l [2]byte
		_, _ = io.ReadFull(r.r, l[:])
		n = int(binary.BigEndian.Uint16(l[:]))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return "end"
	}
	if h[0] == 0x88 {
		return fmt.Sprint("close ", binary.BigEndian.Uint16(b))
	}
	return string(b)
}
