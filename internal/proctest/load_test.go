//go:build linux

package proctest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
)

// worker serves work: on a connection to a node, and counts what it executes.
type worker struct {
	c     *client.Client
	began chan string   // a call of /hold is here
	ended chan error    // it is over
	gate  chan struct{} // lets those of /hold go on

	mu   sync.Mutex
	seen map[string]int // executions of /once, by body
}

// serve connects a worker to the nodes, to the first one first.
func serve(t *testing.T, at ...*node) *worker {
	t.Helper()
	w := &worker{
		c: dial(t, at), began: make(chan string, 100), ended: make(chan error, 100), gate: make(chan struct{}),
		seen: make(map[string]int),
	}
	s := ropewalk.NewService("work")
	s.Handle("/once", ropewalk.Handle(func(_ context.Context, in string) (string, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[in]++
		return in, nil
	}))
	s.Handle("/hold", ropewalk.Handle(func(ctx context.Context, in string) (string, error) {
		w.began <- in
		select {
		case <-w.gate:
			w.ended <- nil
			return in, nil
		case <-ctx.Done():
			w.ended <- context.Cause(ctx)
			return "", ctx.Err()
		}
	}))
	if err := w.c.Serve(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return w
}

// runs is how often each body was executed, over all workers.
func runs(workers ...*worker) map[string]int {
	sum := make(map[string]int)
	for _, w := range workers {
		w.mu.Lock()
		for body, n := range w.seen {
			sum[body] += n
		}
		w.mu.Unlock()
	}
	return sum
}

// load is clients that call without a pause.
type load struct {
	wg    sync.WaitGroup
	stop  chan struct{}
	once  sync.Once
	calls atomic.Int64

	mu     sync.Mutex
	failed map[string]error // by body
}

// begin has clients call an address until end, each with so many calls at once.
// Only a load that was not ended is broken off by the end of the test.
func begin(t *testing.T, clients []*client.Client, width int, address string, opts ...call.Option) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), failed: make(map[string]error)}
	for i, c := range clients {
		for j := range width {
			l.wg.Go(func() { l.run(t.Context(), c, address, fmt.Sprint(i, ".", j, "."), opts) })
		}
	}
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) run(ctx context.Context, c *client.Client, address, prefix string, opts []call.Option) {
	opts = append([]call.Option{call.WithTimeout(patience)}, opts...)
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		default:
		}
		body := prefix + fmt.Sprint(i)
		got, err := ropewalk.Call[string](ctx, c, address, body, opts...)
		if err == nil && got != body {
			err = fmt.Errorf("the answer is %q", got)
		}
		if err != nil {
			l.mu.Lock()
			l.failed[body] = err
			l.mu.Unlock()
		}
		l.calls.Add(1)
	}
}

// more waits for so many more calls to end.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	had := l.calls.Load()
	eventually(t, "more calls", func() bool { return l.calls.Load() >= had+n })
}

// end ends the load and returns what failed.
func (l *load) end() map[string]error {
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
	return l.failed
}

// none wants no call to have failed.
func (l *load) none(t *testing.T) {
	t.Helper()
	failed, told := l.end(), 0
	for body, err := range failed {
		if told++; told <= 10 {
			t.Errorf("%s: %v", body, err)
		}
	}
	t.Logf("%d of %d calls failed", len(failed), l.calls.Load())
}

// exactly wants each call to have been executed once.
func (l *load) exactly(t *testing.T, workers ...*worker) {
	t.Helper()
	done := runs(workers...)
	if int64(len(done)) != l.calls.Load() {
		t.Errorf("%d calls, and %d executed", l.calls.Load(), len(done))
	}
	most(t, done)
}

// most wants nothing to have been executed more than once.
func most(t *testing.T, done map[string]int) {
	t.Helper()
	for body, n := range done {
		if n > 1 {
			t.Errorf("%s was executed %d times", body, n)
		}
	}
}
