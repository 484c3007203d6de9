package line

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/mesh"
)

const (
	// pendingBytes bounds what waits to be written: twice what a mesh has under
	// way to one node, so that it is full only when something is wrong.
	pendingBytes = 8 << 20
	// pendingFrames is far more than that much makes up.
	pendingFrames = 1 << 20
	// greetTime is how long a greeting may take.
	greetTime = 5 * time.Second
	// warnEach is the least time between two warnings about strangers.
	warnEach = time.Minute
)

// Config is what [Lines] need to know.
type Config struct {
	// ID is the id of this node: 32 hex digits.
	ID string
	// Key is what all nodes of the mesh know and nobody else; see mesh.Keyed.
	Key string
	// Addr tells where other nodes can make lines to this one, as HOST:PORT; "" if
	// they cannot.
	Addr func() string
	// Local tells whether the whole mesh is on this machine: then lines are made
	// between loopback addresses only, and else never.
	Local func() bool
	// Logger. Default: slog.Default().
	Logger *slog.Logger
}

// Lines makes lines over an [edge.Server]. Make one with [New], give its Peering
// to the configuration of the server, and the server to Use. All methods may be
// called from any goroutine.
type Lines struct {
	cfg    Config
	self   id
	key    []byte
	log    *slog.Logger
	server atomic.Pointer[edge.Server]
	mesh   atomic.Pointer[mesh.Mesh]
	warned atomic.Int64 // when it was warned of strangers last, in Unix nanoseconds
}

// New makes Lines. Errors are in the configuration.
func New(cfg Config) (*Lines, error) {
	self, err := parseID(cfg.ID)
	if err != nil {
		return nil, fmt.Errorf("lines of the node %.64q: %w", cfg.ID, err)
	}
	if cfg.Key == "" || cfg.Addr == nil || cfg.Local == nil {
		return nil, errors.New("lines need a key, and to know where they are")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Lines{cfg: cfg, self: self, key: []byte(cfg.Key), log: cfg.Logger}, nil
}

// Peering is what the server has to be made with.
func (l *Lines) Peering() *edge.Peering {
	return &edge.Peering{
		Protocol: Protocol, Name: "mesh", Handler: (*handler)(l), Flush: l.flush,
		Frame: mesh.MaxMessage, PendingFrames: pendingFrames, PendingBytes: pendingBytes,
	}
}

// Use sets the server by which lines are made.
func (l *Lines) Use(s *edge.Server) { l.server.Store(s) }

// Open implements mesh.Lines.
func (l *Lines) Open(m *mesh.Mesh) { l.mesh.Store(m) }

// Addr implements mesh.Lines.
func (l *Lines) Addr() string { return l.cfg.Addr() }

func (l *Lines) flush() {
	if m := l.mesh.Load(); m != nil {
		m.Flush()
	}
}

// Together implements mesh.Lines.
func (l *Lines) Together(f func()) {
	if s := l.server.Load(); s != nil {
		s.Together(f)
		return
	}
	f()
}

// Repeat implements mesh.Lines.
func (l *Lines) Repeat(wait time.Duration, f func() time.Duration) <-chan struct{} {
	if s := l.server.Load(); s != nil {
		return s.Repeat(wait, f)
	}
	return nil
}

// Busy implements mesh.Lines.
func (l *Lines) Busy() bool {
	s := l.server.Load()
	return s != nil && s.Busy()
}

// Dial implements mesh.Lines.
func (l *Lines) Dial(ctx context.Context, c *mesh.Card) error {
	s := l.server.Load()
	if s == nil {
		return errors.New("this node has no server for lines yet")
	}
	to, err := parseID(c.ID)
	if err != nil {
		return err
	}
	if !l.mayDial(c.LineAddr) {
		return fmt.Errorf("%q is not an address for a line from here", c.LineAddr)
	}
	t := &talk{lines: l, side: dials, done: make(chan error, 1)}
	t.said = greeting{dialer: l.self, accepter: to, dialed: newNonce(), word: c.LineWord}
	if err := s.Dial(ctx, c.LineAddr, t); err != nil {
		return err
	}
	select {
	case err = <-t.done:
		return err
	case <-ctx.Done():
		t.abandon(ctx.Err())
		return ctx.Err()
	}
}

// mayDial tells whether a line may go to an address. A loopback address is that of
// another machine, unless the whole mesh is on this one; and then nothing leaves
// it.
func (l *Lines) mayDial(addr string) bool { return isLoopback(addr) == l.cfg.Local() }

// isLoopback tells whether HOST:PORT is on this machine for sure.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// refuse counts that somebody was refused, and tells of it now and then.
func (l *Lines) refuse(remote string, err error) {
	if m := l.mesh.Load(); m != nil {
		m.LineRefused()
	}
	now := time.Now().UnixNano()
	last := l.warned.Load()
	if now-last < int64(warnEach) || !l.warned.CompareAndSwap(last, now) {
		l.log.Debug("a direct line was refused", "remote", remote, "err", err)
		return
	}
	l.log.Warn("a direct line between nodes was refused; all nodes of a mesh need the same secret", "remote", remote, "err", err)
}

var _ mesh.Lines = (*Lines)(nil)
