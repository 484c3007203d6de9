package client_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// caller calls without a pause until it is told to stop, and counts.
type caller struct {
	good, lost atomic.Int64
	address    string // default: echo:/
	wg         sync.WaitGroup
	stop       chan struct{}
	end        func() // returns when nobody calls any more
}

// start begins to call. Of errors only those in mayFail are counted; all others
// are errors of the test.
func (k *caller) start(t *testing.T, c *client.Client, mayFail ...message.Code) {
	t.Helper()
	k.stop = make(chan struct{})
	k.end = sync.OnceFunc(func() {
		close(k.stop)
		k.wg.Wait()
	})
	t.Cleanup(k.end)
	if k.address == "" {
		k.address = "echo:/"
	}
	for w := range 4 {
		k.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-k.stop:
					return
				default:
				}
				body := fmt.Sprint(w, ".", i)
				got, err := call.Do[string](t.Context(), c, k.address, body)
				switch {
				case err == nil && got == body:
					k.good.Add(1)
				case err != nil && len(mayFail) > 0 && message.CodeOf(err) == mayFail[0]:
					k.lost.Add(1)
				default:
					t.Errorf("%s: %s, %v", body, got, err)
				}
			}
		})
	}
}

// more waits for answers.
func (k *caller) more(t *testing.T) {
	t.Helper()
	had := k.good.Load()
	eventually(t, "more answers", func() bool { return k.good.Load() > had+50 })
}

// TestRollingRestart stops two nodes in turn under load, and starts each again:
// no call fails, by any transport.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patient := func(c *ropewalk.Config) { c.Limits.Leave = ropewalk.Duration(patience / 2) } // this machine may be slow
			one, addr1 := startNode(t, "127.0.0.1:0", patient)
			two, addr2 := startNode(t, "127.0.0.1:0", patient)
			c := join(t, addr1, append([]client.Option{client.WithURLs("ws://" + addr2)}, opts...)...)
			var k caller
			k.start(t, c)
			for range 2 {
				k.more(t)
				stopNode(t, one)
				k.more(t)
				if got := c.Node().ID; got != two.ID() {
					t.Errorf("connected to %s", c.Node().URL)
				}
				one, _ = startNode(t, addr1, patient)
				stopNode(t, two)
				k.more(t)
				if got := c.Node().ID; got != one.ID() {
					t.Errorf("connected to %s", c.Node().URL)
				}
				two, _ = startNode(t, addr2, patient)
			}
			k.end()
		})
	}
}

// TestANodeIsKilled cuts the line to a node, which is not there any more: what
// was under way is lost, and all else goes on at the other, with the services.
func TestANodeIsKilled(t *testing.T) {
	t.Parallel()
	_, addr1 := startNode(t, "127.0.0.1:0")
	two, addr2 := startNode(t, "127.0.0.1:0")
	line := newRelay(t, addr1)
	backoff := client.WithBackoff(time.Hour, time.Hour) // hops only
	c := join(t, line.addr(), client.WithURLs("ws://"+addr2), backoff)
	server := join(t, line.addr(), client.WithURLs("ws://"+addr2), backoff)
	svc := service.New("here")
	svc.HandleFunc("/", func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Reply(route.JSON([]byte("1"))) })
	if err := server.Serve(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	var k caller
	k.start(t, c, message.CodeConnectionLost)
	k.more(t)
	_ = line.ln.Close()
	line.cut()
	k.more(t)
	k.end()
	if lost := k.lost.Load(); lost > 4 { // one for each goroutine
		t.Errorf("%d calls were lost", lost)
	}
	until(t, server, client.Online)
	for _, at := range []*client.Client{c, server} {
		if got := at.Node().ID; got != two.ID() {
			t.Errorf("connected to %s", at.Node().URL)
		}
	}
	eventually(t, "the service at the other node", func() bool {
		_, err := c.Call(t.Context(), "here:/", nil)
		return err == nil
	})
}
