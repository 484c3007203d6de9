package content

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// result is what computing a content gave. It never changes.
type result struct {
	content Content
	fault   *message.Error // in place of a content
	body    []byte         // what is sent
}

func resultOf(c Content) *result { return &result{content: c, body: c.Body} }

func faultOf(e *message.Error) *result {
	return &result{fault: e, body: message.AppendError(nil, e)}
}

// equal tells whether watchers see no difference. Either may be nil.
func (a *result) equal(b *result) bool {
	switch {
	case a == b:
		return true
	case a == nil || b == nil:
		return false
	}
	return (a.fault != nil) == (b.fault != nil) && a.content.ContentType == b.content.ContentType && bytes.Equal(a.body, b.body)
}

// watch is one open subscribe.
type watch struct {
	r   *runner
	req *Request
	res route.Responder

	// Of whoever visits its cell, or itself while it has none.
	sent *result

	// Guarded by r.mu.
	prev, next *watch // in r.open
	cell       *cell
	at         int    // in cell.watches
	run        uint64 // of its cell: the first whose result it may have
	over       bool   // the subscribe has ended
	opens      int    // in a row without a content
}

// source implements task: to open waits for nobody.
func (w *watch) source() string { return "" }

// visit opens the resource. The watch has no cell.
func (w *watch) visit(ctx context.Context) {
	r := w.r
	if w.isOver() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	o, err := r.openResource(ctx, w.req)
	if err != nil {
		w.refused(ctx, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.over {
		return
	}
	c := r.cellOf(o, true)
	c.join(w)
}

// hopeless are codes of requests that will never be opened.
var hopeless = []message.Code{
	message.CodeForbidden, message.CodeUnauthenticated, message.CodeNotFound, message.CodeInvalidInput, message.CodeBadAddress,
	message.CodeTooLarge, message.CodeUnimplemented,
}

// refused ends the subscribe if its request can never be opened; else it has the
// error in place of a content, and it is tried again.
func (w *watch) refused(ctx context.Context, err error) {
	r := w.r
	if r.lane.Context().Err() != nil {
		return // close tells
	}
	e := r.explain(ctx, w.req.Path, err)
	if slices.Contains(hopeless, e.Code) {
		_ = w.res.Fail(e)
		return
	}
	w.send(faultOf(e))
	r.mu.Lock()
	defer r.mu.Unlock()
	w.later(e.RetryAfter)
}

// later opens it again after a while. r.mu is held.
func (w *watch) later(atLeast time.Duration) {
	r := w.r
	w.opens++
	time.AfterFunc(backOff(w.opens-1, atLeast), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !w.over && w.cell == nil {
			r.enqueue(&r.watches, w)
		}
	})
}

// send sends a result unless it says what was sent last.
func (w *watch) send(s *result) {
	if !s.equal(w.sent) {
		_ = w.res.Part(route.Body{Bytes: s.body, ContentType: s.content.ContentType, Fault: s.fault != nil}) // else it is over, and Finished told
	}
	w.sent = s
}

func (w *watch) isOver() bool {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.over
}

// Finished implements [route.Finisher]: the subscribe has ended.
func (w *watch) Finished(route.Outcome) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.over {
		return
	}
	w.over = true
	w.r.open.remove(w)
	if c := w.cell; c != nil {
		c.leave(w)
	}
}

// watchList is a doubly linked list through the watches themselves.
type watchList struct {
	first *watch
	n     int
}

func (l *watchList) push(w *watch) {
	if w.next = l.first; w.next != nil {
		w.next.prev = w
	}
	l.first = w
	l.n++
}

func (l *watchList) remove(w *watch) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.n--
}

var _ route.Finisher = (*watch)(nil)
