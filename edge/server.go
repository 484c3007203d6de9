package edge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/internal/wheel"
)

// Server listens, and owns all connections. Make one with [New], then call
// Listen, then Serve. Its methods may be called from any goroutine.
type Server struct {
	cfg       Config
	handler   Handler
	log       *slog.Logger
	metrics   *Metrics
	wheel     *wheel.Wheel
	lane      *lane.Lane
	listeners []*listener
	web       *web
	peering   *peering // nil without

	pollers   []*poller
	turnOf    atomic.Uint32 // which poller gets the next connection
	accepting sync.Map      // int32 descriptor → *listener
	dirtyList atomic.Pointer[Conn]
	busy      atomic.Int32 // how many are handling input and flush when they are done
	flushNow  chan struct{}
	opened    atomic.Int64
	ended     chan struct{} // closed when Serve has ended
	endOnce   sync.Once

	connMu   sync.Mutex
	first    *Conn // list of all connections
	total    int
	peers    int // of them, those that are no clients
	slots    int // total, and what was given to net/http
	perIP    map[netip.Addr]int
	shut     bool          // no new ones
	draining bool          // and those that are there are being closed
	left     chan struct{} // closed when shut and no client is left, once Shutdown asks
	empty    chan struct{} // the same when draining
	hasLeft  bool          // left is closed
	told     bool          // empty is

	lifeMu  sync.Mutex
	beat    *beat // that Repeat was called for before Serve
	serving bool
	stopped bool
}

// New returns a server that does nothing yet. Errors are in the configuration.
func New(cfg Config, h Handler) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, handler: h, log: cfg.Logger, metrics: cfg.Metrics,
		wheel:    wheel.New(0),
		lane:     lane.New(context.Background(), cfg.Logger),
		flushNow: make(chan struct{}, 1),
		ended:    make(chan struct{}),
		perIP:    make(map[netip.Addr]int),
		left:     make(chan struct{}),
		empty:    make(chan struct{}),
	}
	s.web = newWeb(s)
	for i := range cfg.Listeners {
		l, err := newListener(s, &cfg.Listeners[i])
		if err != nil {
			return nil, fmt.Errorf("edge: listener %q: %w", cfg.Listeners[i].Name, err)
		}
		s.listeners = append(s.listeners, l)
	}
	if cfg.Peering != nil {
		if s.peering, err = newPeering(s, cfg.Peering); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Listen binds all listeners. From then on connections are queued by the
// system until Serve accepts them, and [Server.Addrs] is known.
func (s *Server) Listen(ctx context.Context) error {
	for i, l := range s.listeners {
		if err := l.bind(ctx); err != nil {
			for _, bound := range s.listeners[:i] {
				bound.close()
			}
			return fmt.Errorf("edge: listener %q: %w", l.cfg.Name, err)
		}
	}
	return nil
}

// Addrs returns the addresses that are listened on, in the order of
// [Config.Listeners].
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.addr
	}
	return addrs
}

// Serve accepts and serves connections until [Server.Shutdown] has ended, which
// gives nil, or ctx has, which cuts all connections at once and gives its error.
// Everything that Serve started has ended when it returns. After a Shutdown it
// returns nil at once; a second Serve is an error.
func (s *Server) Serve(ctx context.Context) error {
	s.lifeMu.Lock()
	if s.serving || s.stopped {
		again := s.serving
		s.lifeMu.Unlock()
		if again {
			return errors.New("edge: Serve was called before")
		}
		return nil
	}
	s.serving = true
	err := s.start()
	s.lifeMu.Unlock()
	if err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.ended:
		}
	}
	s.stop()
	return err
}

// start starts the goroutines.
func (s *Server) start() error {
	s.lane.Go("edge wheel", s.wheel.Run)
	for range runtime.GOMAXPROCS(0) {
		s.lane.Go("edge flusher", s.runFlusher)
	}
	if err := s.startPollers(); err != nil {
		return err
	}
	s.startBeat()
	s.web.start()
	for i, l := range s.listeners {
		if err := l.serve(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) startPollers() error {
	for _, l := range s.listeners {
		if l.cfg.Driver != DriverPoller || len(s.pollers) > 0 {
			continue
		}
		for range s.cfg.Pollers {
			p, err := newPoller(s)
			if err != nil {
				for _, made := range s.pollers {
					made.close()
				}
				s.pollers = nil
				return err
			}
			s.pollers = append(s.pollers, p)
		}
	}
	for _, p := range s.pollers {
		s.lane.Go("edge poller", p.run)
	}
	return nil
}

// StopAccepting closes the listeners, and refuses new connections over HTTP
// connections that are there. All others stay; [Server.Shutdown] ends them.
func (s *Server) StopAccepting() {
	s.connMu.Lock()
	s.shut = true
	s.connMu.Unlock()
	for _, l := range s.listeners {
		l.close()
	}
}

// Shutdown stops accepting, gives connections the time of [Limits].Leave to go
// by themselves, sends those that are left what is pending and
// [CloseGoingAway], and waits until all are closed or ctx has ended, when it
// cuts those that are left and returns ctx's error. Serve returns afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.lifeMu.Lock()
	serving := s.serving
	s.stopped = true
	s.lifeMu.Unlock()
	s.StopAccepting()
	if !serving {
		return nil
	}
	s.letLeave(ctx)
	s.drain()
	err := s.web.shutdown(ctx)
	select {
	case <-s.empty:
	case <-s.ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.endOnce.Do(func() { close(s.ended) })
	return err
}

// letLeave waits for connections to be closed by the other end.
func (s *Server) letLeave(ctx context.Context) {
	if s.cfg.Limits.Leave <= 0 {
		return
	}
	s.connMu.Lock()
	s.tellLeft()
	s.connMu.Unlock()
	t := time.NewTimer(s.cfg.Limits.Leave)
	defer t.Stop()
	select {
	case <-s.left:
	case <-t.C:
	case <-s.ended:
	case <-ctx.Done():
	}
}

// drain closes all connections and has empty closed when the last is gone.
func (s *Server) drain() {
	s.connMu.Lock()
	s.draining = true
	s.tellEmpty()
	s.connMu.Unlock()
	for _, c := range s.snapshot() {
		if state(c.state.Load()) != stateHandshake && c.peering != nil { // whose other end may be deaf, and is told in other ways
			c.doom(&CloseError{Code: CloseGoingAway, Reason: "the node stops"})
			continue
		}
		c.Close(CloseGoingAway, "the node stops")
	}
}

// stop ends everything, and waits for it.
func (s *Server) stop() {
	s.StopAccepting()
	s.drain()
	s.web.stop()
	for _, c := range s.snapshot() {
		c.doom(&CloseError{Code: CloseGoingAway, Reason: "the node stops"})
	}
	for _, p := range s.pollers {
		p.halt()
	}
	s.lane.Close()
}

// runFlusher is a flusher's goroutine: it writes what was sent while nobody was
// handling input.
func (s *Server) runFlusher(ctx context.Context) {
	w := newScratch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.flushNow:
			for s.flush(w) {
				runtime.Gosched()
			}
		}
	}
}

func (s *Server) nextPoller() *poller {
	return s.pollers[int(s.turnOf.Add(1))%len(s.pollers)]
}

// Conns iterates over the clients that are open at the time of the call.
func (s *Server) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range s.snapshot() {
			if state(c.state.Load()) == stateOpen && c.peering == nil && !yield(c) {
				return
			}
		}
	}
}

// Count is the number of clients that are open.
func (s *Server) Count() int { return int(s.opened.Load()) }

func (s *Server) snapshot() []*Conn {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	all := make([]*Conn, 0, s.total)
	for c := s.first; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}
