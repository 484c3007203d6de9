package content

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// cell is one content and all who want it.
//
//	             changed, somebody came, or a retry is due
//	  ┌───────────────────────────────┐
//	  ▼                               │
//	queued ──worker──► visited ──► at rest ──nobody left──► dropped
//	                      │  ▲
//	                      └──┘ changed meanwhile: queued again
type cell struct {
	r       *runner
	watched bool // it is in r.cells, else in r.asked
	key     string
	// path is for the log: the key may have claims in it.
	path string
	res  Resource

	// Of whoever visits it.
	armed bool   // Watch was called
	stop  func() // what that returned
	told  []*watch

	// Guarded by r.mu.
	watches  []*watch
	waiters  []*waiter
	last     *result // of the last run; nil before the first
	live     bool    // changes are noticed
	dirty    bool    // there may be a change since the last run began
	greet    bool    // there are watches that have nothing yet
	queued   bool    // a visit by a worker is wanted
	lined    bool    // it is in the queue; perhaps for a visit that somebody else did
	hurried  uint16  // the lines of gets that it is in, by bits; likewise
	levels   uint16  // those of the waiters; and perhaps of some that have gone
	visiting bool
	dropped  bool
	running  context.CancelFunc // of Get; nil: it does not run
	runs     uint64             // that were begun
	done     uint64             // the one that last is of
	ended    time.Time          // the last run
	fails    int                // runs in a row that failed and are to be tried again
	retry    time.Time          // when; zero: they are not
	timer    *time.Timer        // of the next visit
}

// waiter is a get that waits for a run.
type waiter struct {
	run  uint64 // the first that is young enough
	done chan struct{}
	got  *result
	err  error
}

// fresh tells whether last is the content as it is now. r.mu is held.
func (c *cell) fresh() bool { return c.live && !c.dirty && c.running == nil && c.last != nil }

// await enters a waiter of a level and sees to it that there will be a run for it.
// r.mu is held.
func (c *cell) await(level int) *waiter {
	w := &waiter{run: c.young(), done: make(chan struct{})}
	if len(c.waiters) == 0 {
		c.levels = 0
	}
	c.levels |= 1 << level
	c.waiters = append(c.waiters, w)
	c.schedule()
	return w
}

// young is the first run whose result is not older than now. r.mu is held.
func (c *cell) young() uint64 {
	if c.running != nil && c.live && !c.dirty {
		return c.runs
	}
	return c.runs + 1
}

// join adds a watch, for which there is a run unless the last result is as good.
// r.mu is held.
func (c *cell) join(w *watch) {
	w.cell, w.at = c, len(c.watches)
	c.watches = append(c.watches, w)
	c.greet = true
	if w.run = c.done; !c.fresh() {
		w.run = c.young()
		c.dirty = c.dirty || w.run > c.runs
	}
	c.schedule()
}

// forget takes away a waiter that waits no more. r.mu is held.
func (c *cell) forget(w *waiter) {
	c.waiters = slices.DeleteFunc(c.waiters, func(have *waiter) bool { return have == w })
	c.left()
}

// leave takes a watch away. r.mu is held.
func (c *cell) leave(w *watch) {
	last := len(c.watches) - 1
	moved := c.watches[last]
	c.watches[w.at], moved.at = moved, w.at
	c.watches[last] = nil
	c.watches = c.watches[:last]
	w.cell = nil
	c.left()
}

// left is called when somebody has gone. r.mu is held.
func (c *cell) left() {
	if c.wanted() {
		return
	}
	if c.running != nil {
		c.running()
	}
	c.schedule()
}

func (c *cell) wanted() bool { return len(c.watches)+len(c.waiters) > 0 }

// changed is called by the resource, at any time.
func (c *cell) changed() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.dropped {
		return
	}
	c.dirty = true
	c.schedule()
}

// schedule sees to the next visit. One that runs calls it at its end. r.mu is
// held.
func (c *cell) schedule() {
	switch {
	case c.visiting || c.dropped || c.r.closed:
	case len(c.waiters) > 0:
		c.queued = true
		for more := c.levels &^ c.hurried; more != 0; more &= more - 1 {
			level := bits.TrailingZeros16(more)
			c.hurried |= 1 << level
			c.r.enqueue(&c.r.gets[level], hurried{c, level})
		}
	case c.queued:
	case c.greet || !c.wanted() || c.last == nil:
		c.enqueue()
	case c.dirty:
		c.enqueueAt(c.ended.Add(c.r.o.Interval))
	case !c.retry.IsZero():
		c.enqueueAt(c.retry)
	}
}

func (c *cell) enqueue() {
	c.queued = true
	if !c.lined {
		c.lined = true
		c.r.enqueue(&c.r.watches, c)
	}
}

func (c *cell) enqueueAt(t time.Time) {
	d := time.Until(t)
	switch {
	case d <= 0:
		c.enqueue()
	case c.timer == nil:
		c.timer = time.AfterFunc(d, c.due)
	default:
		c.timer.Reset(d)
	}
}

// due is called by the timer.
func (c *cell) due() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if !c.visiting && !c.queued && !c.dropped {
		c.enqueue()
	}
}

// source implements task.
func (c *cell) source() string {
	if s, ok := c.res.(Sourced); ok {
		return s.Source()
	}
	return ""
}

// visit does what there is to do, when a worker has taken the cell from the
// queue.
func (c *cell) visit(ctx context.Context) {
	c.r.mu.Lock()
	c.lined = false
	c.visitNow(ctx)
}

// hurried is a cell in a line of gets.
type hurried struct {
	*cell

	level int
}

func (h hurried) visit(ctx context.Context) {
	h.r.mu.Lock()
	h.hurried &^= 1 << h.level
	h.visitNow(ctx)
}

// visitNow is called with r.mu held, and gives it up.
func (c *cell) visitNow(ctx context.Context) {
	if !c.queued || c.visiting || c.dropped { // it has been visited meanwhile, or is
		c.r.mu.Unlock()
		return
	}
	c.visiting = true
	c.r.mu.Unlock()
	c.proceed(ctx)
}

// proceed is a visit; c.visiting is set.
func (c *cell) proceed(ctx context.Context) {
	c.r.mu.Lock()
	c.queued = false
	c.rest()
	wanted := c.wanted()
	c.r.mu.Unlock()
	if wanted {
		c.arm()
		if run, cancel := c.begin(ctx); run != nil {
			alive := c.compute(run)
			cancel()
			if !alive {
				return // everybody goes to other cells
			}
		}
		c.tell()
	}
	c.r.mu.Lock()
	c.visiting = false
	if c.wanted() || c.r.closed {
		c.schedule()
		c.r.mu.Unlock()
		return
	}
	c.drop()
	c.r.mu.Unlock()
	c.unwatch()
}

// rest stops the timer. r.mu is held.
func (c *cell) rest() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

// drop takes the cell out of the runner. r.mu is held; unwatch has to follow.
func (c *cell) drop() {
	c.rest()
	c.dropped = true
	delete(c.r.kept(c.watched), c.key)
	c.r.gauge()
}

// arm has the resource tell of changes, before it is computed for the first
// time.
func (c *cell) arm() {
	if c.armed || !c.watched {
		return
	}
	c.armed = true
	err := c.r.contain("watch", func() (err error) {
		c.stop, err = c.res.Watch(c.changed)
		return err
	})
	if err != nil {
		c.stop = nil
		c.r.log.Warn("changes of a content are not noticed: its watchers keep what they got first", "path", c.path, "err", err)
	}
	c.r.mu.Lock()
	c.live = err == nil
	c.r.mu.Unlock()
}

// unwatch stops that.
func (c *cell) unwatch() {
	if c.stop == nil {
		return
	}
	_ = c.r.contain("stop", func() error { c.stop(); return nil }) // a panic is logged
	c.stop = nil
}

// begin returns the context of a run, if there is to be one.
func (c *cell) begin(parent context.Context) (context.Context, context.CancelFunc) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	due := !c.retry.IsZero() && !time.Now().Before(c.retry)
	if !c.dirty && !due && c.last != nil && len(c.waiters) == 0 || !c.wanted() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(parent, c.r.o.Timeout)
	c.running, c.dirty, c.retry = cancel, false, time.Time{}
	c.runs++
	return ctx, cancel
}

// compute runs Get. It returns false if the cell is no more.
func (c *cell) compute(ctx context.Context) bool {
	var got Content
	began := time.Now()
	err := c.r.contain("get", func() (err error) {
		got, err = c.res.Get(ctx)
		return err
	})
	switch {
	case errors.Is(err, ErrReopen):
		c.reopen()
		return false
	case err != nil && errors.Is(ctx.Err(), context.Canceled): // nobody wanted it any more; perhaps somebody does again
		c.r.mu.Lock()
		c.running, c.dirty = nil, true
		c.r.mu.Unlock()
		return true
	}
	s := c.r.checked(ctx, c.path, got, err)
	c.r.count.ran(time.Since(began), s.fault != nil)
	c.finish(s)
	return true
}

// finish makes s the result of the present run.
func (c *cell) finish(s *result) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.last.equal(s) {
		s = c.last
	}
	c.last, c.done, c.running, c.ended = s, c.runs, nil, time.Now()
	if f := s.fault; f != nil && (f.Retryable || !c.live) {
		c.retry = c.ended.Add(backOff(c.fails, f.RetryAfter))
		c.fails++
	} else {
		c.fails = 0
	}
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if w.run > c.runs {
			return false
		}
		w.got = s
		close(w.done)
		return true
	})
}

// tell sends the last result to all who have another. c.told keeps its room only
// between few, as a cell of many is told often and a cell of few is one of many.
func (c *cell) tell() {
	c.r.mu.Lock()
	c.greet = false
	last := c.last
	if last != nil {
		for _, w := range c.watches {
			if w.sent != last && w.run <= c.done {
				w.opens = 0
				c.told = append(c.told, w)
			}
		}
	}
	c.r.mu.Unlock()
	for _, w := range c.told {
		w.send(last)
	}
	clear(c.told)
	if c.told = c.told[:0]; cap(c.told) == 1 {
		c.told = nil
	}
}

// reopen sends all who want this cell to have their requests opened anew.
func (c *cell) reopen() {
	c.r.mu.Lock()
	c.running = nil
	for _, w := range c.waiters {
		w.err = ErrReopen
		close(w.done)
	}
	c.waiters = nil
	for _, w := range c.watches {
		w.cell = nil
		if w.opens < maxReopens {
			w.opens++
			c.r.enqueue(&c.r.watches, w)
		} else {
			w.later(0)
		}
	}
	c.watches = nil
	c.drop()
	c.r.mu.Unlock()
	c.unwatch()
}

// backOff is how long to wait after so many failures in a row: around twice as
// long each time, and not less than the error asks for.
func backOff(fails int, atLeast time.Duration) time.Duration {
	d := min(firstRetry<<min(fails, 10), lastRetry)
	return max(d*3/4+rand.N(d/2), atLeast)
}

// checked makes a result of what Get returned.
func (r *runner) checked(ctx context.Context, path string, got Content, err error) *result {
	switch {
	case err != nil:
		return faultOf(r.explain(ctx, path, err))
	case got.Body == nil:
		return faultOf(r.explain(ctx, path, errors.New("a content without a body")))
	case got.ContentType == "" && !message.ValidJSON(got.Body):
		return faultOf(message.NewError(message.CodeBadContent, "the content is not JSON", "Correct it, or serve it with a content type."))
	}
	return resultOf(got)
}

// explain makes an error of the provider one for those who watch.
func (r *runner) explain(ctx context.Context, path string, err error) *message.Error {
	e := message.AsError(err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && (e.Code == message.CodeDeadlineExceeded || e.Code == message.CodeCanceled):
		return message.NewError(message.CodeLimitExceeded, "the content was not there within "+r.o.Timeout.String(),
			"Ask for less at a time, or raise the time-out of the scheme in the node's configuration.")
	case e.Code == message.CodeInternal && e.Cause != nil:
		r.log.Error("content provider failed", "path", path, "err", err)
	}
	return e
}
