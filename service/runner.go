package service

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Defaults of [WithConcurrency].
const (
	// DefaultConcurrency is far above what work on the CPU can use and enough
	// for handlers that wait for a database or another service.
	DefaultConcurrency = 1000
	// DefaultQueue lets a burst of as much again wait. A waiting call costs its
	// body and about 500 bytes.
	DefaultQueue = 1000
)

// Runner runs handlers of services: each call on a goroutine of its own, so
// that they may block, and not more at a time than it was told. What one client
// publishes to one address is handled one after the other, in the order in which
// it came.
//
// A handler's context ends when the call is over for whatever reason: the
// caller canceled or went away, the deadline passed, the runner closes;
// context.Cause tells which, as an *message.Error. A panic becomes
// [message.CodeInternal] for the caller, and its stack is logged. A handler
// that returns without having finished the request has it failed with
// CodeInternal: finishing it later, from another goroutine, is not allowed.
// Each call gets exactly one final answer.
//
// Make one with [NewRunner] or [Service.Runner]; its owner calls
// [Runner.Close]. All methods may be called from any goroutine.
type Runner struct {
	lane *lane.Lane
	log  *slog.Logger
	max  int                      // calls of a level that run
	wait int                      // calls of a level that wait
	of   func(*route.Request) int // the level of a call; nil: there is one

	mu       sync.Mutex
	levels   map[int]*level
	draining bool
	aborted  bool          // and nothing is begun any more
	idle     chan struct{} // made by Drain, closed when nothing runs or waits
}

// level are the calls that are counted together. Guarded by Runner.mu.
type level struct {
	running list
	waiting list
	turns   turns
	coming  int // admitted, but not yet in one of these
}

// load is how many calls there are.
func (l *level) load() int { return l.running.n + l.waiting.n + l.turns.n + l.coming }

// NewRunner makes a Runner for concurrency calls at a time and queue more that
// wait; see [WithConcurrency] for values that mean a default. Contexts of
// handlers also end with parent. A nil logger means [slog.Default].
func NewRunner(parent context.Context, log *slog.Logger, concurrency, queue int) *Runner {
	if concurrency < 1 {
		concurrency = DefaultConcurrency
	}
	if queue < 0 {
		queue = DefaultQueue
	}
	if log == nil {
		log = slog.Default()
	}
	r := &Runner{lane: lane.New(parent, log), log: log, max: concurrency, wait: queue, levels: make(map[int]*level)}
	r.lane.Go("service runner", func(ctx context.Context) {
		<-ctx.Done()
		r.abort()
	})
	return r
}

// Handler returns a handler that runs h. It does not block, as the node
// requires, and copies the body if nobody did. What h was told to do inline, see
// [WithInline], it does on the goroutine of its caller.
func (r *Runner) Handler(h route.Handler) route.Handler {
	inline, _ := h.(*inlineHandler)
	return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		if inline != nil && inline.takes(req.Message.EffectiveVerb()) {
			r.inline(ctx, inline.Handler, req, res)
			return
		}
		l, err := r.admit(req)
		if err != nil {
			_ = res.Fail(err) // it is over already: nobody is left to tell
			return
		}
		req.Keep()
		j := &job{runner: r, level: l, handler: h, parent: ctx, req: req, res: res, turn: turnOf(req)}
		res.OnFinish(j)
		r.enqueue(j)
	})
}

// InFlight is the number of calls that run or wait.
func (r *Runner) InFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load()
}

// load is how many calls there are of all levels; r.mu is held.
func (r *Runner) load() (n int) {
	for _, l := range r.levels {
		n += l.load()
	}
	return n
}

// admit counts a call in, before the work of keeping its body is done.
func (r *Runner) admit(req *route.Request) (*level, error) {
	n := 0
	if r.of != nil {
		n = r.of(req)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, errShuttingDown()
	}
	l := r.levels[n]
	if l == nil {
		l = new(level)
		r.levels[n] = l
	}
	if l.load() >= r.max+r.wait {
		return nil, message.NewError(message.CodeOverloaded, "the service has too many calls waiting",
			"Try again later, call less often, or start another server of this service.")
	}
	l.coming++
	return l, nil
}

func (r *Runner) enqueue(j *job) {
	l := j.level
	r.mu.Lock()
	l.coming--
	if r.aborted { // since it was admitted
		r.checkIdle()
		r.mu.Unlock()
		_ = j.Fail(errShuttingDown())
		return
	}
	mine := l.turns.take(j)
	if !mine || l.running.n >= r.max {
		if mine {
			l.waiting.push(j)
		}
		r.mu.Unlock()
		if j.isOver() { // canceled before it was in the queue, so Finished did not find it there
			r.forget(j)
		}
		return
	}
	l.running.push(j)
	r.mu.Unlock()
	r.start(j)
}

func (r *Runner) start(j *job) {
	if r.lane.Do(func(context.Context) { r.work(j) }) {
		return
	}
	for ; j != nil; j = r.next(j) {
		_ = j.Fail(errShuttingDown())
	}
}

// work runs j and then what waits, until nothing does.
func (r *Runner) work(j *job) {
	defer func() { // only after runtime.Goexit in a handler, as t.FailNow does
		if j != nil {
			if j = r.next(j); j != nil {
				r.start(j)
			}
		}
	}()
	for j != nil {
		j.run()
		j = r.next(j)
	}
}

// next takes j off and returns what is to run in its place.
func (r *Runner) next(j *job) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := j.level
	l.running.remove(j)
	l.pass(j)
	next := l.waiting.first
	if next != nil {
		l.waiting.remove(next)
		l.running.push(next)
	}
	r.checkIdle()
	return next
}

// pass gives the turn of a call to the one behind it.
func (l *level) pass(j *job) {
	if next := l.turns.pass(j); next != nil {
		l.waiting.push(next)
	}
}

// forget takes a call that is over out of the queue, so that it does not keep
// a place from others.
func (r *Runner) forget(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := j.level
	if j.in == &l.waiting {
		l.waiting.remove(j)
		l.pass(j)
	}
	l.turns.leave(j)
	r.checkIdle()
}

func (r *Runner) checkIdle() {
	if r.idle != nil && r.load() == 0 {
		close(r.idle)
		r.idle = nil
	}
}

// Drain refuses new calls with [message.CodeShuttingDown] and waits until those
// that run or wait are finished, or ctx ends, whose error it then returns. It
// cancels nothing.
func (r *Runner) Drain(ctx context.Context) error {
	r.mu.Lock()
	r.draining = true
	if r.load() == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close refuses new calls, fails those that wait with
// [message.CodeShuttingDown], ends the context of those that run, and waits for
// their handlers to return. It may be called more than once, but not from a
// handler.
func (r *Runner) Close() {
	r.abort()
	r.lane.Close()
}

// abort ends everything without waiting.
func (r *Runner) abort() {
	r.mu.Lock()
	r.draining, r.aborted = true, true
	var waiting, running []*job
	for _, l := range r.levels {
		waiting = append(waiting, l.turns.clear()...)
		waiting = append(waiting, l.waiting.clear()...)
		for j := l.running.first; j != nil; j = j.next {
			running = append(running, j)
		}
	}
	r.checkIdle()
	r.mu.Unlock()
	for _, j := range waiting {
		_ = j.Fail(errShuttingDown())
	}
	for _, j := range running {
		j.end(errStopped())
	}
}

// errStopped ends calls whose handlers have begun: unlike the others they may
// have been executed.
func errStopped() *message.Error {
	e := message.NewError(message.CodeShuttingDown, "the service stopped during the call",
		"The call may have been executed; repeat it only if that does no harm.")
	e.Retryable = false
	return e
}

func errShuttingDown() *message.Error {
	return message.NewError(message.CodeShuttingDown, "the service is stopping",
		"Try again: another server of this service may take the call.")
}

// list is a doubly linked list through the jobs themselves, so that a call can
// leave the middle of the queue at once.
type list struct {
	first, last *job
	n           int
}

func (l *list) push(j *job) {
	j.in, j.prev, j.next = l, l.last, nil
	if l.last == nil {
		l.first = j
	} else {
		l.last.next = j
	}
	l.last = j
	l.n++
}

// clear takes all out.
func (l *list) clear() (all []*job) {
	for j := l.first; j != nil; j = l.first {
		l.remove(j)
		all = append(all, j)
	}
	return all
}

// remove does nothing if j is not in this list.
func (l *list) remove(j *job) {
	if j.in != l {
		return
	}
	if j.prev == nil {
		l.first = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		l.last = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.in, j.prev, j.next = nil, nil, nil
	l.n--
}
