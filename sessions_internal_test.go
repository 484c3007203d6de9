package ropewalk

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// nowhere is a connection that takes everything and goes nowhere.
type nowhere struct{ told atomic.Int32 }

func (*nowhere) ID() string         { return "c1" }
func (*nowhere) Listener() string   { return "main" }
func (*nowhere) RemoteAddr() string { return "127.0.0.1:1" }
func (*nowhere) Transport() string  { return "websocket" }
func (*nowhere) RefuseWhenFull()    {}
func (*nowhere) Close(int, string)  {}

func (*nowhere) Relief() <-chan struct{} { return nil }

func (n *nowhere) Deliver(m *message.Message) error {
	if m.Verb == message.VerbSession {
		n.told.Add(1)
	}
	return nil
}

// slow is a store that is out of reach until it is told otherwise.
type slow struct {
	*keeper.Memory

	asked atomic.Int32
	wait  atomic.Pointer[chan struct{}]
}

func (s *slow) Get(ctx context.Context, id string) (*keeper.Record, error) {
	s.asked.Add(1)
	if w := s.wait.Load(); w != nil {
		select {
		case <-*w:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Memory.Get(ctx, id)
}

// keeping returns a node that keeps sessions in a form, and a connection of it.
func keeping(t *testing.T, form string, change ...func(*Config)) (*Node, *exchange.Peer, *nowhere) {
	t.Helper()
	cfg := Config{Logger: slog.New(slog.DiscardHandler)}
	cfg.Sessions.Form, cfg.Sessions.Idle = form, duration.Duration(time.Hour)
	cfg.Sessions.Tokens.Secret = strings.Repeat("a secret of the tests", 2)
	for _, f := range change {
		f(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	l := new(nowhere)
	return n, n.x.Attach(l, 1<<20), l
}

func logIn(t *testing.T, n *Node, p *exchange.Peer, subject string) {
	t.Helper()
	p.LockSession()
	defer p.UnlockSession()
	if err := n.sessions.Change(t.Context(), p, session.Patch{Subject: &subject}); err != nil {
		t.Fatal(err)
	}
}

// Messages of a session whose store hangs do not make a goroutine each.
func TestUsesWaitForOneAnother(t *testing.T) { //nolint:paralleltest // it counts goroutines
	store := &slow{Memory: keeper.NewMemory(0, 0)}
	n, p, _ := keeping(t, keeper.FormServer, func(c *Config) { c.SessionStore = store })
	logIn(t, n, p, "anna")
	gate := make(chan struct{})
	store.wait.Store(&gate)
	before, asked := runtime.NumGoroutine(), store.asked.Load()
	late := time.Now().Add(30 * time.Minute)
	for range 1000 {
		n.sessions.Used(p, p.Session(), late)
	}
	if more := runtime.NumGoroutine() - before; more > 2 {
		t.Errorf("%d goroutines more", more)
	}
	close(gate)
	p.LockSession() // the use is written down, or was not due yet
	p.UnlockSession()
	if more := store.asked.Load() - asked; more > 2 {
		t.Errorf("the store was asked %d times", more)
	}
}

// Whatever happens at the same time: at the end who is logged out is nobody, and
// nobody is looked after who has no session.
func TestSessionsChangeInOrder(t *testing.T) {
	t.Parallel()
	for _, form := range []string{keeper.FormToken, keeper.FormServer} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			n, p, _ := keeping(t, form)
			ctx := t.Context()
			for range 200 {
				logIn(t, n, p, "anna")
				s := p.Session()
				var at sync.WaitGroup
				for _, f := range []func(){
					func() { n.sessions.Used(p, s, time.Now().Add(30*time.Minute)) },
					func() { _, _ = n.sessions.Refresh(ctx, p) },
					func() {
						p.LockSession()
						defer p.UnlockSession()
						_ = n.sessions.Change(ctx, p, session.Patch{Set: session.Claims{"lang": "de"}})
					},
					func() { _ = n.sessions.Leave(ctx, p, false) },
					func() { _ = n.RevokeSessions(ctx, keeper.Revocation{Session: s.ID}) },
				} {
					at.Go(f)
				}
				at.Wait()
				if err := n.sessions.Leave(ctx, p, false); err != nil {
					t.Fatal(err)
				}
				p.LockSession() // a use may still be under way
				p.UnlockSession()
				n.sessions.mu.Lock()
				live := len(n.sessions.live)
				n.sessions.mu.Unlock()
				if !p.Session().Anonymous() || live != 0 {
					t.Fatalf("%v is there, and %d are looked after", p.Session(), live)
				}
			}
		})
	}
}

// A session that has ended while something was made of it does not go on.
func TestEndedSessionDoesNotGoOn(t *testing.T) {
	t.Parallel()
	n, p, _ := keeping(t, keeper.FormToken)
	logIn(t, n, p, "anna")
	was := p.Session()
	next := was.Copy()
	n.sessions.out(p, was, exchange.SessionNews{Event: newsRevoked})
	if err := n.sessions.goOn(p, was, next); message.CodeOf(err) != message.CodeUnauthenticated || !p.Session().Anonymous() {
		t.Errorf("%v: %v", p.Session(), err)
	}
}

// A node that does not answer is told by one goroutine, and at last of all.
func TestUntoldRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	n, _, _ := keeping(t, keeper.FormToken)
	s := n.sessions
	s.untold["far"] = new(untold) // somebody is at it
	for range maxUntold + 1 {
		s.tellLater("far", []keeper.Revocation{{Session: session.NewID()}})
	}
	if u := s.untold["far"]; !u.all || len(u.list) != 0 {
		t.Errorf("%d wait, all: %t", len(u.list), u.all)
	}
	if _, ok := s.next("far"); !ok {
		t.Error("there is nothing to tell")
	}
	if _, ok := s.next("far"); ok || len(s.untold) != 0 {
		t.Error("it is not done with")
	}
}
