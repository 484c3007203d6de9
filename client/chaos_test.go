package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// tally counts what was executed.
type tally struct {
	mu    sync.Mutex
	times map[string]int
}

func (c *tally) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times[what]++
}

// TestConnectionsThatKeepBreaking has calls and sends go on while the line of
// caller and server is cut again and again. Each call gets one outcome, and its
// own; what is not idempotent is executed once at most; sends keep their order.
func TestConnectionsThatKeepBreaking(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]client.Option{"websocket": nil, "stream": {client.WithTransports("stream")}, "poll": {client.WithTransports("poll")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			breakLines(t, name != "poll", opts)
		})
	}
}

// breakLines does it by one transport; noticed says whether a line that is cut
// ends the connection, which one by polls survives.
func breakLines(t *testing.T, noticed bool, opts []client.Option) {
	t.Helper()
	_, addr := startNode(t, "127.0.0.1:0")
	line := newRelay(t, addr)
	asker, server, listener := join(t, line.addr(), opts...), join(t, line.addr(), opts...), join(t, addr)

	done := tally{times: map[string]int{}}
	svc := service.New("count")
	svc.HandleFunc("/", func(_ context.Context, req *route.Request, res route.Responder) {
		done.count(string(req.Message.Body))
		_ = res.Reply(route.Body{Bytes: req.Message.Body})
	})
	if err := server.Serve(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	heard := make(chan int, 10_000)
	listener.OnSend(func(_ context.Context, req *route.Request) {
		var n int
		_ = call.Decode(req.Message.Body, "", &n)
		heard <- n
	})

	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	defer end()
	var answered sync.Map
	for w := range 8 {
		wg.Go(func() { keepCalling(t, asker, w, &answered, stop) })
	}
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_ = asker.Send(t.Context(), listener.ID()+"@client:/", i)
			}
		}
	})
	const cuts = 8
	for i := range uint64(cuts) {
		eventually(t, "both online", func() bool { return asker.State() == client.Online && server.State() == client.Online })
		before := answers(&answered)
		eventually(t, "some answers", func() bool { return answers(&answered) > before+20 })
		line.cut()
		eventually(t, "the cut to be felt", func() bool { return !noticed || asker.Stats().Connects > i+1 })
	}
	end()

	done.mu.Lock() // the server may still be at it
	defer done.mu.Unlock()
	for what, n := range done.times {
		if n > 1 && what[1] == 'o' { // "o…": once
			t.Errorf("%s was executed %d times", what, n)
		}
	}
	// What was written before a cut may be read by the node after what came by the
	// next line: once a cut, and nothing twice.
	last, back, seen := 0, 0, map[int]bool{}
	for range len(heard) {
		n := <-heard
		if n <= last {
			back++
		}
		if seen[n] || back > cuts {
			t.Fatalf("message %d came after %d, or again", n, last)
		}
		last, seen[n] = n, true
	}
	if last == 0 {
		t.Fatal("no message arrived")
	}
}

func answers(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// keepCalling calls and checks each outcome.
func keepCalling(t *testing.T, c *client.Client, w int, answered *sync.Map, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id, opts := fmt.Sprintf("o%d.%d", w, i), []call.Option(nil)
		if rand.IntN(2) == 0 {
			id, opts = fmt.Sprintf("i%d.%d", w, i), []call.Option{call.WithIdempotent()}
		}
		got, err := call.Do[string](t.Context(), c, "count:/", id, opts...)
		switch code := message.CodeOf(err); code {
		case "":
			if got != id {
				t.Errorf("the answer to %s is %s", id, got)
			}
			answered.Store(id, true)
		case message.CodeConnectionLost:
			if len(opts) > 0 {
				t.Errorf("%s is idempotent, and yet: %v", id, err)
			}
		case message.CodeServiceLost, message.CodeServiceDown, message.CodeNoService: // the server's line was cut
		default:
			t.Errorf("%s: %v", id, err)
		}
	}
}
