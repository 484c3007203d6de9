package content

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// runner computes the contents of a provider.
//
// What is watched is kept as cells by the keys of their resources. Everything
// that is to be done for a cell is one visit: watching it, computing it, telling
// its watchers, dropping it. A cell has at most one visit at a time, for which a
// worker takes it from the queue; so each step of a cell is in order, and
// however often it changes meanwhile, one visit follows. Workers end when there
// is nothing to do.
type runner struct {
	name     string
	provider Provider
	o        Options
	log      *slog.Logger
	count    counters
	lane     *lane.Lane
	using    sync.WaitGroup // gets, publishes and calls

	mu      sync.Mutex
	closed  bool
	cells   map[string]*cell // that are watched
	asked   map[string]*cell // that are not, but got
	open    watchList
	watches line
	// gets are of cells that somebody waits for, by the Level of their requests: what
	// is watched does not keep them back, nor do those that wait for the next level.
	gets [levels]line
}

// levels is how many Levels are told apart: all above are the last, which is more
// than scripts may reach.
const levels = 10

func newRunner(name string, p Provider, o Options) *runner {
	log := o.Logger.With("scheme", name)
	return &runner{
		name: name, provider: p, o: o, log: log, count: o.Metrics.of(name), lane: lane.New(context.Background(), log),
		cells: make(map[string]*cell), asked: make(map[string]*cell),
	}
}

// enter counts a use of the provider in, so that it is not closed meanwhile. The
// context that it returns ends with the runner, too.
func (r *runner) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, r.errClosed()
	}
	r.using.Add(1)
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.lane.Context(), cancel)
	return inner, func() {
		stop()
		cancel()
		r.using.Done()
	}, nil
}

func (r *runner) errClosed() *message.Error {
	return message.NewError(message.CodeShuttingDown, r.name+": is being closed", "Try again: another node may serve it.")
}

// contain calls f, which is the provider's, and makes an error of a panic.
func (r *runner) contain(what string, f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		r.log.Error("content provider panicked", "what", what, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		err = message.NewError(message.CodeInternal, "the provider of "+r.name+": failed", "This is a bug in the provider; the log has the details.")
	}()
	return f()
}

// opened is what a provider has opened.
type opened struct {
	res       Resource
	key, path string
	level     int
}

func (r *runner) openResource(ctx context.Context, req *Request) (o opened, err error) {
	err = r.contain("open", func() error {
		res, err := r.provider.Open(ctx, req)
		if err != nil {
			return err
		}
		o = opened{res, res.Key(), req.Path, req.Level}
		return nil
	})
	return o, err
}

// cellOf returns the cell of a resource, which it makes if there is none. r.mu is
// held.
func (r *runner) cellOf(o opened, watched bool) *cell {
	of := r.kept(watched)
	c := of[o.key]
	if c == nil {
		c = &cell{r: r, watched: watched, key: o.key, path: o.path, res: o.res}
		of[o.key] = c
		r.gauge()
	}
	return c
}

func (r *runner) kept(watched bool) map[string]*cell {
	if watched {
		return r.cells
	}
	return r.asked
}

func (r *runner) gauge() { r.count.watched.Set(float64(len(r.cells))) }

// watch serves a subscribe until it ends.
func (r *runner) watch(req *Request, res route.Responder) {
	w := &watch{r: r, req: req, res: res}
	r.mu.Lock()
	if err := r.admit(w); err != nil {
		r.mu.Unlock()
		_ = res.Fail(err)
		return
	}
	r.mu.Unlock()
	res.OnFinish(w)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !w.over {
		r.enqueue(&r.watches, w)
	}
}

func (r *runner) admit(w *watch) error {
	switch {
	case r.closed:
		return r.errClosed()
	case r.open.n >= r.o.Watches:
		return message.NewError(message.CodeTooManyTopics, fmt.Sprintf("%s: has %d watches open already", r.name, r.o.Watches),
			"Raise the limit in the node's configuration, or watch less.")
	}
	r.open.push(w)
	return nil
}

// get returns the content that a request means, as it is at some time after get
// was called.
func (r *runner) get(ctx context.Context, req *Request) (Content, error) {
	for range maxReopens {
		o, err := r.openResource(ctx, req)
		if err != nil {
			return Content{}, err
		}
		got, err := r.wait(ctx, o)
		switch {
		case errors.Is(err, ErrReopen):
			continue
		case err != nil:
			return Content{}, err
		case got.fault != nil:
			return Content{}, got.fault
		}
		return got.content, nil
	}
	return Content{}, r.errRestless()
}

func (r *runner) errRestless() *message.Error {
	return message.NewError(message.CodeInternal, "the provider of "+r.name+": wants the request opened anew again and again",
		"This is a bug in the provider.")
}

// wait waits for a result that is not older than its call.
func (r *runner) wait(ctx context.Context, o opened) (*result, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, r.errClosed()
	}
	c := r.cells[o.key]
	if c == nil {
		c = r.cellOf(o, false)
	}
	if c.fresh() && c.retry.IsZero() { // what has failed for a while is tried for who asks
		got := c.last
		r.mu.Unlock()
		return got, nil
	}
	w := c.await(o.level)
	r.mu.Unlock()
	select {
	case <-w.done:
		return w.got, w.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	c.forget(w)
	r.mu.Unlock()
	if r.lane.Context().Err() != nil {
		return nil, r.errClosed()
	}
	return nil, ctx.Err()
}

// close ends everything, in the order in which it depends on each other.
func (r *runner) close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	for _, of := range []map[string]*cell{r.cells, r.asked} {
		for _, c := range of {
			c.rest()
		}
	}
	r.mu.Unlock()
	for w := r.first(); w != nil; w = r.first() {
		_ = w.res.Fail(r.errClosed())
		w.Finished(route.Outcome{}) // what is over already says so late
	}
	r.lane.Close()
	r.using.Wait()
	for _, c := range r.cells {
		c.unwatch()
	}
	r.count.watched.Set(0)
	if p, ok := r.provider.(Closer); ok && !r.o.Borrowed {
		return r.contain("close", p.Close)
	}
	return nil
}

// first returns a watch that is open, or nil.
func (r *runner) first() *watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open.first
}
