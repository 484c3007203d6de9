package middleware

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// record is an answer that is kept to be given again.
type record struct {
	parts []route.Body
	reply route.Body // without a change of the session
	err   *message.Error
	size  int // bytes, about

	// change of the session that comes with the reply. One of those who get the
	// answer gets it: a second time it might undo what came after.
	change atomic.Pointer[session.Patch]
}

// recordCost is what a record, or a part of it, costs besides its bodies.
const recordCost = 256

func keptBody(b route.Body) route.Body {
	return route.Body{Bytes: bytes.Clone(b.Bytes), ContentType: b.ContentType}
}

// give answers a call with the record.
func (r *record) give(res route.Responder) {
	for _, p := range r.parts {
		if res.Part(p) != nil {
			return
		}
	}
	r.finish(res)
}

func (r *record) finish(res route.Responder) {
	if r.err != nil {
		_ = res.Fail(r.err)
		return
	}
	b := r.reply
	b.Session = r.change.Swap(nil)
	if res.Reply(b) != nil && b.Session != nil {
		r.change.CompareAndSwap(nil, b.Session)
	}
}

// share says what those get who have joined a flight.
type share uint8

const (
	shareAll   share = iota // the answer
	shareNone               // nothing: each goes on alone
	shareAgain              // nothing: each begins again
	shareLost               // an error: the answer was too large to be recorded
)

// lander is told how a flight goes. None of its methods may block.
type lander interface {
	// hold asks for room for n more bytes of parts in the record, which has so many
	// by then. Without it there is no record. It does not call the flight.
	hold(has, n int) bool
	// parted is told of the first part.
	parted(f *flight)
	// landed is told of the end, before anybody has the answer.
	landed(f *flight) share
	// deserted is told that nobody waits any more. It returns whether the
	// flight goes on all the same.
	deserted() (goOn bool)
	// again begins again with a call that had joined.
	again(r *rider)
}

// flight is one execution of a call whose answer more than one caller may get.
// It is the Responder of what is inside, and does not end with the call that
// began it. Parts go to that one as they come; who joins later gets them with
// the final answer.
//
//	begin ──► Part … ──► Reply or Fail, or the deadline ──► landed ──► all riders answered
type flight struct {
	to    lander
	log   *slog.Logger
	route string
	began time.Time

	mu        sync.Mutex
	over      *message.Error // nil while open; what late answers get, after
	first     *rider
	joined    []*rider
	live      int // riders that still wait
	sent      uint64
	large     bool           // there was no room for all parts
	on        *route.Request // of the try that is under way
	by        route.Endpoint // who has answered, if somebody said so
	rec       *record        // changes only while it is open; outlives the flight, which holds requests
	finishers []route.Finisher
	timer     *time.Timer
}

// rider is a call that waits for the answer of a flight.
type rider struct {
	f    *flight
	ctx  context.Context //nolint:containedctx // of the call that waits
	next route.Handler
	req  *route.Request
	res  route.Responder
	gone bool // guarded by f.mu
}

// newFlight makes a flight that is to be begun at once. Others may join before
// that, and leave, but it does not end.
func newFlight(to lander, log *slog.Logger) *flight {
	return &flight{to: to, log: log, live: 1, rec: new(record)}
}

// flightGrace is how much later than its call a flight ends, so that an answer
// of the last moment is not lost.
const flightGrace = 250 * time.Millisecond

// begin hands a call over to next, and returns when that does.
func (f *flight) begin(ctx context.Context, next route.Handler, req *route.Request, res route.Responder) {
	req.Keep() // the flight may outlive the call
	f.route, f.began = req.Route, req.Received
	r := &rider{f: f, ctx: ctx, next: next, req: req, res: res}
	f.mu.Lock()
	f.first, f.on = r, req
	if !req.Deadline.IsZero() {
		f.timer = time.AfterFunc(time.Until(req.Deadline)+flightGrace, f.expire)
	}
	f.mu.Unlock()
	res.OnFinish(r)
	var inside route.Responder = f
	if again, _ := repeaterOf(res); again != nil {
		inside = &flightTries{flight: f, again: again}
	}
	defer contain(ctx, f.log, req, inside)
	next.Handle(ctx, req, inside)
}

func (f *flight) expire() {
	_ = f.Fail(message.NewError(message.CodeDeadlineExceeded, "there was no answer in time",
		"Give the call more time; it may still have been executed."))
}

// seat is what became of a call that wants to join a flight.
type seat uint8

const (
	seatTaken seat = iota
	seatNone       // too many have joined
	seatLate       // rec is the answer
	seatLost       // the answer is too large to be recorded
)

// join has a call wait for the answer, unless so many as most do.
func (f *flight) join(ctx context.Context, next route.Handler, req *route.Request, res route.Responder, most int) seat {
	req.Keep()
	r := &rider{f: f, ctx: ctx, next: next, req: req, res: res}
	f.mu.Lock()
	got := seatTaken
	switch {
	case f.large:
		got = seatLost
	case f.over != nil:
		got = seatLate
	case len(f.joined) >= most:
		got = seatNone
	default:
		f.joined = append(f.joined, r)
		f.live++
	}
	f.mu.Unlock()
	if got == seatTaken {
		res.OnFinish(r)
	}
	return got
}

// Finished implements route.Finisher: the call of the rider is over. Nothing goes
// on for somebody who may not have it any more.
func (r *rider) Finished(o route.Outcome) {
	f := r.f
	f.mu.Lock()
	if r.gone {
		f.mu.Unlock()
		return
	}
	r.gone = true
	f.live--
	left := f.live == 0 && f.over == nil
	f.mu.Unlock()
	if left && (refused(o.Err) || !f.to.deserted()) {
		_ = f.Fail(message.NewError(message.CodeCanceled, "nobody waits for the answer any more", ""))
	}
}

// refused reports whether an error means that the caller may not have what it
// asked for.
func refused(e *message.Error) bool {
	return e != nil && (e.Code == message.CodeForbidden || e.Code == message.CodeUnauthenticated)
}

// Part implements route.Responder.
func (f *flight) Part(b route.Body) error {
	r, err := f.take(b)
	if r != nil {
		_ = r.res.Part(b)
	}
	return err
}

// PartWhenRoom implements route.Patient.
func (f *flight) PartWhenRoom(ctx context.Context, b route.Body) error {
	r, err := f.take(b)
	if r == nil {
		return err
	}
	if p, ok := r.res.(route.Patient); ok {
		_ = p.PartWhenRoom(ctx, b)
	} else {
		_ = r.res.Part(b)
	}
	if ctx.Err() != nil {
		return message.AsError(context.Cause(ctx))
	}
	return nil
}

// take records a part and returns who gets it now, nil if that one has left.
func (f *flight) take(b route.Body) (*rider, error) {
	f.mu.Lock()
	if err := f.over; err != nil {
		f.mu.Unlock()
		return nil, err
	}
	f.sent++
	first := f.sent == 1
	n := len(b.Bytes) + recordCost
	switch {
	case f.large:
	case f.to.hold(f.rec.size, n):
		f.rec.parts = append(f.rec.parts, keptBody(b))
		f.rec.size += n
	default:
		f.large, f.rec.parts = true, nil
	}
	r := f.first
	if r.gone {
		r = nil
	}
	f.mu.Unlock()
	if first {
		f.to.parted(f)
	}
	return r, nil
}

// release takes those out who have joined, to go their own way.
func (f *flight) release() []*rider {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.joined[:0]
	for _, r := range f.joined {
		if !r.gone {
			r.gone = true
			f.live--
			out = append(out, r)
		}
	}
	f.joined = nil
	return out
}

// Reply implements route.Responder.
func (f *flight) Reply(b route.Body) error {
	return f.end(b, nil)
}

// Fail implements route.Responder.
func (f *flight) Fail(err error) error {
	return f.end(route.Body{}, message.AsError(err))
}

// errLost is for those who ask again for an answer that was too large to keep.
var errLost = message.NewError(message.CodeConflict, "the call was executed, and its answer was too large to be kept",
	"Ask for what has become of it, or have the node's operator allow larger answers.")

var errFlightOver = &message.Error{Code: message.CodeConflict, Message: "the call already has its final answer"}

func (f *flight) end(b route.Body, err *message.Error) error {
	f.mu.Lock()
	if f.over != nil {
		defer f.mu.Unlock()
		return f.over
	}
	rec := f.rec
	if err != nil {
		f.over, rec.err = err, err
		rec.size += recordCost + len(err.Message) + len(err.Hint) + len(err.Details)
	} else {
		f.over, rec.reply = errFlightOver, keptBody(b)
		rec.change.Store(b.Session)
		rec.size += recordCost + len(b.Bytes)
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	by := f.by
	if by == nil && err == nil {
		by = f.on.Server // has answered, so nobody is choosing any more
	}
	f.mu.Unlock()

	how := f.to.landed(f)
	f.settle(f.first, by)
	rec.finish(f.first.res)
	for _, r := range f.release() {
		switch how {
		case shareAll:
			f.settle(r, by)
			rec.give(r.res)
		case shareNone:
			r.goOn()
		case shareAgain:
			f.to.again(r)
		case shareLost:
			_ = r.res.Fail(errLost)
		}
	}
	for _, fin := range f.finishers {
		f.tell(fin, err)
	}
	return nil
}

func (f *flight) settle(r *rider, by route.Endpoint) { settle(r.res, f.route, by) }

// Settle implements route.Settler.
func (f *flight) Settle(_ string, server route.Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = server
}

// settle tells a call of what route its answer is, and of which server; nil is
// this node.
func settle(res route.Responder, pattern string, by route.Endpoint) {
	for {
		switch r := res.(type) {
		case route.Settler:
			r.Settle(pattern, by)
			return
		case interface{ Unwrap() route.Responder }:
			res = r.Unwrap()
		default:
			return
		}
	}
}

// goOn hands a call over that was waiting.
func (r *rider) goOn() {
	defer contain(r.ctx, r.f.log, r.req, r.res)
	r.next.Handle(r.ctx, r.req, r.res)
}

// tell contains panics: the answer comes on a goroutine that others need.
func (f *flight) tell(fin route.Finisher, err *message.Error) {
	defer func() {
		if p := recover(); p != nil && f.log != nil {
			f.log.Error("finisher panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	fin.Finished(route.Outcome{Route: f.route, Err: err, Parts: f.sent, Took: time.Since(f.began)})
}

// OnFinish implements route.Responder.
func (f *flight) OnFinish(fin route.Finisher) {
	f.mu.Lock()
	if f.over == nil {
		f.finishers = append(f.finishers, fin)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	f.tell(fin, f.rec.err)
}

var (
	_ route.Responder = (*flight)(nil)
	_ route.Patient   = (*flight)(nil)
	_ route.Settler   = (*flight)(nil)
	_ route.Finisher  = (*rider)(nil)
)
