package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

const (
	// maxCells bounds what is run for one path at a time: each has a goroutine.
	maxCells = 100_000
	// minAgain and maxAgain bound the time after which a function that failed is
	// run again: soon for a short fault, rarely for a long one.
	minAgain = time.Second
	maxAgain = 30 * time.Second
)

// cells are those of one handler, by what is watched.
type cells struct {
	mu     sync.Mutex
	list   map[string]*cell
	ending map[string]*cell // the last ones whose function has not returned
}

func (c *cells) init() { c.list, c.ending = make(map[string]*cell), make(map[string]*cell) }

// cell is what is run for one address and parameters, for all who watch it.
//
//	enter, by the first ──► runs ──► set, fan-out … ──► idle, after a nil
//	                         ▲ │ error: fault
//	                         └─┘ after a while
//	the last leaves ──► ending ──► forgotten, when the function has returned
//
// What is given to readers goes in one order: fan is held meanwhile. A reader may
// be found to be over just then, so leaving needs only mu.
type cell struct {
	run    func(ctx context.Context, give func(route.Body) error) error
	runner *Runner
	events bool
	log    *slog.Logger
	route  string
	owner  *cells
	about  string

	fan sync.Mutex // taken before mu

	mu      sync.Mutex // taken before owner.mu
	readers []*reader
	last    *route.Body // of a state topic: what there is, perhaps a fault
	over    bool        // nobody reads any more
	cancel  context.CancelFunc
	ended   chan struct{} // closed when run has returned for the last time
}

// reader is somebody who watches, or who waits for the first content.
type reader struct {
	cell *cell
	res  route.Responder
	once bool
}

// enter has a reader read a cell: the one that there is, or fresh.
func (c *cells) enter(about string, fresh *cell, r *reader) {
	for {
		c.mu.Lock()
		have := c.list[about]
		if have == nil && len(c.list) >= maxCells {
			c.mu.Unlock()
			_ = r.res.Fail(message.NewError(message.CodeOverloaded, "too many different topics of this path are watched", ""))
			return
		}
		if have != nil {
			c.mu.Unlock()
			if have.admit(r) {
				return
			}
			continue // it has just ended, and taken itself off
		}
		before := c.ending[about]
		ctx, cancel := context.WithCancel(fresh.runner.lane.Context())
		fresh.owner, fresh.about, fresh.ended, fresh.cancel = c, about, make(chan struct{}), cancel
		fresh.readers, r.cell = []*reader{r}, fresh
		c.list[about] = fresh
		c.mu.Unlock()
		r.res.OnFinish(r)
		if !fresh.runner.lane.Go("service watch", func(context.Context) { fresh.work(ctx, before) }) {
			fresh.stop()
			fresh.finished()
		}
		return
	}
}

// admit adds a reader and gives it what there is. It reports whether the cell is
// still there.
func (c *cell) admit(r *reader) bool {
	r.cell = c
	c.fan.Lock()
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		c.fan.Unlock()
		return false
	}
	c.readers = append(c.readers, r)
	last := c.last
	c.mu.Unlock()
	if last != nil {
		r.give(last)
	}
	c.fan.Unlock()
	r.res.OnFinish(r)
	return true
}

// give hands a content or event to a reader. One that is over takes nothing.
func (r *reader) give(b *route.Body) {
	switch {
	case !r.once:
		_ = r.res.Part(*b)
	case b.Fault:
		_ = r.res.Fail(message.DecodeError(b.Bytes))
	default:
		_ = r.res.Reply(*b)
	}
}

// Finished implements route.Finisher: the reader is over.
func (r *reader) Finished(route.Outcome) {
	c := r.cell
	c.mu.Lock()
	if i := slices.Index(c.readers, r); i >= 0 {
		c.readers = slices.Delete(c.readers, i, i+1)
	}
	if len(c.readers) > 0 || c.over {
		c.mu.Unlock()
		return
	}
	c.over = true
	c.owner.remove(c)
	c.mu.Unlock()
	c.cancel()
}

// remove takes a cell off whose function may not have returned.
func (c *cells) remove(gone *cell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list[gone.about] == gone {
		delete(c.list, gone.about)
		c.ending[gone.about] = gone
	}
}

// finished takes note that a cell's function is not run any more.
func (c *cell) finished() {
	c.owner.mu.Lock()
	if c.owner.ending[c.about] == c {
		delete(c.owner.ending, c.about)
	}
	c.owner.mu.Unlock()
	close(c.ended)
}

// set gives all readers a content or event.
func (c *cell) set(ctx context.Context, b route.Body) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	own := route.Body{Bytes: bytes.Clone(b.Bytes), ContentType: b.ContentType, Fault: b.Fault}
	if c.events && b.Stamp != nil {
		own.Stamp = &route.Stamp{To: b.Stamp.To}
	}
	if own.Bytes == nil {
		own.Bytes = []byte("null") // no body is no content, and no event
	}
	c.fan.Lock()
	defer c.fan.Unlock()
	c.mu.Lock()
	if l := c.last; l != nil && l.Fault == own.Fault && l.ContentType == own.ContentType && bytes.Equal(l.Bytes, own.Bytes) {
		c.mu.Unlock()
		return nil
	}
	if !c.events || own.Fault {
		c.last = &own
	} else {
		c.last = nil
	}
	readers := slices.Clone(c.readers)
	c.mu.Unlock()
	for _, r := range readers {
		r.give(&own)
	}
	return nil
}

// work runs the function until it is done, or nobody reads any more.
func (c *cell) work(ctx context.Context, before *cell) {
	defer c.finished()
	if before != nil {
		select {
		case <-before.ended:
		case <-ctx.Done():
			c.stop()
			<-before.ended
		}
	}
	for try := 0; ctx.Err() == nil; try++ {
		began := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil && (c.events || c.good()) {
			<-ctx.Done() // nothing will change, and who comes gets what there is
			break
		}
		if err == nil {
			err = message.NewError(message.CodeInternal, "the service has set no content", "This is a bug in the service: it returned before it had one.")
		}
		_ = c.set(ctx, route.Body{Bytes: message.AppendError(nil, message.AsError(err)), Fault: true})
		if time.Since(began) > maxAgain {
			try = 0
		}
		pause(ctx, again(try))
	}
	c.stop()
}

// good reports whether there is a content.
func (c *cell) good() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last != nil && !c.last.Fault
}

// once runs the function one time.
func (c *cell) once(ctx context.Context) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		text := "the handler ended its goroutine"
		if p := recover(); p != nil {
			text = fmt.Sprint("panic: ", p)
		}
		c.logError(ctx, text, slog.String("stack", string(debug.Stack())))
		err = errFailed()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is set after the return is not
	err = c.run(ctx, func(b route.Body) error { return c.set(ctx, b) })
	returned = true
	if e := message.AsError(err); err != nil && e.Code == message.CodeInternal && e.Cause != nil {
		c.logError(ctx, e.Cause.Error())
	}
	return err
}

func (c *cell) logError(ctx context.Context, cause string, more ...slog.Attr) {
	attrs := append([]slog.Attr{slog.String("route", c.route), slog.String("err", cause)}, more...)
	c.log.LogAttrs(context.WithoutCancel(ctx), slog.LevelError, "handler failed", attrs...)
}

// stop ends a cell that has readers because the service stops.
func (c *cell) stop() {
	c.mu.Lock()
	c.over = true
	c.owner.remove(c)
	readers := c.readers
	c.readers = nil
	c.mu.Unlock()
	c.cancel()
	for _, r := range readers {
		_ = r.res.Fail(errShuttingDown())
	}
}

// again is exponential, with jitter.
func again(try int) time.Duration {
	limit := maxAgain
	if try < 8 {
		limit = min(minAgain<<try, maxAgain)
	}
	return limit/2 + rand.N(limit/2) //nolint:gosec // jitter is no secret
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

var _ route.Finisher = (*reader)(nil)
