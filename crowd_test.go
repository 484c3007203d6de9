package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
)

// rawClient speaks the wire by hand, so that it can choose its ids.
type rawClient struct {
	net.Conn
	t *testing.T
}

func dialRaw(ctx context.Context, t *testing.T, url string) rawClient {
	t.Helper()
	d := ws.Dialer{Protocols: []string{"ropewalk.v1.json"}}
	c, early, _, err := d.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if early != nil { // the welcome came with the handshake
		conn := bufferedConn{c, early}
		return rawClient{conn, t}
	}
	return rawClient{c, t}
}

// send and next return errors, because they are used by other goroutines too.
func (c rawClient) send(frame string) error { return wsutil.WriteClientText(c, []byte(frame)) }

func (c rawClient) next() (m message.Message, err error) {
	frame, err := wsutil.ReadServerText(c)
	if err != nil {
		return m, err
	}
	return m, message.DecodeJSON(frame, &m)
}

type reader interface{ Read(b []byte) (int, error) }

// bufferedConn is a connection of which some bytes were read already.
type bufferedConn struct {
	net.Conn
	r reader
}

func (b bufferedConn) Read(p []byte) (int, error) { return b.r.Read(p) }

// A thousand clients that use the same ids at the same time all get their own
// answers, from a service in the node and from one on a connection.
func TestThousandClientsWithTheSameIDs(t *testing.T) {
	t.Parallel()
	const clients, calls = 1000, 10
	n, url := startNode(t)
	echo := func(name string) *ropewalk.Service {
		s := ropewalk.NewService(name)
		s.Handle("/", service.Handle(func(_ context.Context, in string) (string, error) { return in, nil }))
		return s
	}
	if err := n.Serve(echo("near")); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, url).Serve(t.Context(), echo("far")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range clients {
		c := dialRaw(t.Context(), t, url)
		all.Go(func() {
			if err := c.crowd(i, calls); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func (c rawClient) crowd(i, calls int) error {
	if m, err := c.next(); err != nil || m.Verb != message.VerbWelcome {
		return fmt.Errorf("no welcome: %v %w", m.Verb, err)
	}
	for mid := range calls {
		name := []string{"near", "far"}[mid%2]
		if err := c.send(fmt.Sprintf(`{"to":"%s:/","mid":"%d","bdy":"%d/%d"}`, name, mid, i, mid)); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for range calls {
		m, err := c.next()
		if err != nil {
			return err
		}
		if want := fmt.Sprintf(`"%d/%s"`, i, m.Rmid); m.Verb != message.VerbReply || string(m.Body) != want || seen[want] {
			return fmt.Errorf("got %s %s for %s", m.Verb, m.Body, m.Rmid)
		}
		seen[string(m.Body)] = true
	}
	return nil
}

// A call that is under way when the node stops gets its answer, new ones are
// refused, and the connection ends with a code that says to come back.
func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	n, err := ropewalk.New(ropewalk.Config{Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	began, finish := make(chan struct{}), make(chan struct{})
	s := ropewalk.NewService("slow")
	s.Handle("/", service.Handle(func(context.Context, struct{}) (string, error) {
		close(began)
		<-finish
		return "done", nil
	}))
	if err := n.Serve(s); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := "ws://" + n.Addrs()["main"].String()
	c := dialRaw(t.Context(), t, url)
	must := func(frame string) {
		t.Helper()
		if err := c.send(frame); err != nil {
			t.Fatal(err)
		}
	}
	want := func(verb message.Verb, body string) {
		t.Helper()
		if m, err := c.next(); err != nil || m.Verb != verb || !strings.Contains(string(m.Body), body) {
			t.Fatalf("got %s %s, %v; want %s with %s", m.Verb, m.Body, err, verb, body)
		}
	}
	want(message.VerbWelcome, "")
	must(`{"to":"slow:/","mid":"1"}`)
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- n.Shutdown(context.Background()) }()
	want(message.VerbDrain, "")
	must(`{"to":"slow:/","mid":"2"}`)
	want(message.VerbError, "shutting_down")
	for deadline := time.Now().Add(10 * time.Second); ; { // its poller closes the listener soon
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "ws://"), time.Second)
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("a stopping node still accepts connections")
		}
	}
	close(finish)
	want(message.VerbReply, "done")
	_, err = c.next()
	var closed wsutil.ClosedError
	if !errors.As(err, &closed) || closed.Code != ws.StatusGoingAway {
		t.Errorf("the connection ended with %v, want 1001", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
