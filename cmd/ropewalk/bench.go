package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// benchCmd measures a node from outside. bench/ in the source has the tool for
// exact comparisons; this one is for a quick look at one's own.
type benchCmd struct {
	Call    benchCallCmd    `cmd:"" help:"Calls a second, and how long they take."`
	Connect benchConnectCmd `cmd:"" help:"Connections a second, and how long they take."`
	Topic   benchTopicCmd   `cmd:"" help:"Events to many watchers: deliveries a second, and how long they take."`
}

// samples collects what happened to many attempts.
type samples struct {
	mu     sync.Mutex
	times  histogram
	errors map[message.Code]uint64
	first  error // that was not good
	good   atomic.Uint64
	bad    atomic.Uint64
}

func newSamples() *samples { return &samples{errors: make(map[message.Code]uint64)} }

// add takes the time or the error of one attempt.
func (s *samples) add(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.bad.Add(1)
		s.errors[message.CodeOf(err)]++
		if s.first == nil {
			s.first = err
		}
		return
	}
	s.good.Add(1)
	s.times.add(took)
}

// result is what is printed at the end. Times are in milliseconds.
type result struct {
	What    string                  `json:"what"`
	Good    uint64                  `json:"good"`
	Errors  map[message.Code]uint64 `json:"errors"`
	Seconds float64                 `json:"seconds"`
	Rate    float64                 `json:"perSecond"`
	Mean    float64                 `json:"meanMs"`
	P50     float64                 `json:"p50Ms"`
	P90     float64                 `json:"p90Ms"`
	P99     float64                 `json:"p99Ms"`
	P999    float64                 `json:"p999Ms"`
	Max     float64                 `json:"maxMs"`
}

func (s *samples) result(what string, took time.Duration) result {
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	h := &s.times
	return result{
		What: what, Good: s.good.Load(), Errors: s.errors, Seconds: took.Seconds(),
		Rate: float64(s.good.Load()) / max(took.Seconds(), 1e-9),
		Mean: ms(h.mean()), P50: ms(h.quantile(0.5)), P90: ms(h.quantile(0.9)), P99: ms(h.quantile(0.99)),
		P999: ms(h.quantile(0.999)), Max: ms(h.max),
	}
}

// print writes the result; attempts that failed make it an error.
func (s *samples) print(w *world, what string, took time.Duration) error {
	r := s.result(what, took)
	var err error
	if w.json {
		err = w.line(r)
	} else {
		err = w.printf(`%-12s %d in %.2fs, %.0f a second
%-12s mean %.3f ms, p50 %.3f, p90 %.3f, p99 %.3f, p99.9 %.3f, longest %.3f
`, r.What, r.Good, r.Seconds, r.Rate, "each", r.Mean, r.P50, r.P90, r.P99, r.P999, r.Max)
		for code, n := range r.Errors {
			err = w.printf("%-12s %d of %s\n", "errors", n, code)
		}
	}
	if err != nil {
		return unwritable(err)
	}
	if s.first != nil && r.Good == 0 {
		return s.first
	}
	if s.first != nil {
		e := *message.AsError(s.first)
		e.Message = fmt.Sprintf("%d failed, the first with: %s", s.bad.Load(), e.Message)
		return &e
	}
	return nil
}

// progress prints a line a second on standard error until the returned function
// is called.
func (s *samples) progress(w *world, what string) (stop func()) {
	if w.json {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var last uint64
		for {
			select {
			case <-tick.C:
				n := s.good.Load()
				fmt.Fprintf(w.err, "%d %s, %d in the last second\n", n, what, n-last)
				last = n
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// closeAll closes clients at the same time.
func closeAll(clients []*client.Client) {
	var wg sync.WaitGroup
	for _, c := range clients {
		if c != nil {
			wg.Go(func() { _ = c.Close() })
		}
	}
	wg.Wait()
}

// dialAll makes n connections, one after the other. When one fails the others are
// closed.
func dialAll(ctx context.Context, t *link, n int) ([]*client.Client, error) {
	clients := make([]*client.Client, 0, n)
	for range n {
		c, err := t.dial(ctx)
		if err != nil {
			closeAll(clients)
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}
