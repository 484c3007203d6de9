package ropewalk

import (
	"context"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// answering is a connection that keeps the mid of the last call that it got.
type answering struct {
	nowhere

	mid []byte
}

func (*answering) ID() string { return "s1" }

func (a *answering) Deliver(m *message.Message) error {
	a.mid = append(a.mid[:0], m.Mid...)
	return nil
}

// guardedCall returns a function that has somebody who is logged in make a call
// that rules allow, to a connection that may see sessions.
func guardedCall(t testing.TB) func() {
	t.Helper()
	n, err := New(Config{Sessions: Sessions{Idle: 3600e9, Form: keeper.FormServer}, Permissions: policy.Config{Rules: []policy.Rule{
		{Verbs: []string{"call"}, Addresses: []string{"echo:/{claims.tenant}/**"}, When: "'editor' in claims.roles"},
		{Verbs: []string{"call"}, Addresses: []string{"echo:/secret/**"}, Effect: "deny"},
		{Verbs: []string{"serve", "session"}, Addresses: []string{"echo:/**"}},
	}, Preset: "closed"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	from, to := new(nowhere), new(answering)
	c, s := n.x.Attach(from, 1<<20), n.x.Attach(to, 1<<20)
	anna := "anna"
	c.LockSession()
	err = n.sessions.Change(context.Background(), c, session.Patch{
		Subject: &anna, Set: session.Claims{"tenant": "red"}, Secret: session.Claims{"roles": []any{"editor"}},
	})
	c.UnlockSession()
	if err != nil {
		t.Fatal(err)
	}
	s.Receive(&message.Message{Verb: message.VerbServe, To: []byte("echo:/**"), Mid: []byte("s")})
	var m message.Message
	address, mid := []byte("echo:/red/x"), []byte("1")
	return func() {
		m.Reset()
		m.To, m.Mid, m.Body, m.Timeout = address, mid, mid, 5*time.Second
		c.Receive(&m)
		m.Reset()
		m.Verb, m.Rmid, m.Body = message.VerbReply, to.mid, mid
		s.Receive(&m)
	}
}

// Rules and sessions cost a message nothing that has to be collected.
func TestGuardedCallAllocations(t *testing.T) { //nolint:paralleltest // it counts allocations
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	once := guardedCall(t)
	if n := testing.AllocsPerRun(1000, once); n > 1 {
		t.Errorf("%v allocations a call, want at most 1: the call", n)
	}
}

func BenchmarkGuardedCall(b *testing.B) {
	once := guardedCall(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

var _ exchange.Link = (*answering)(nil)
