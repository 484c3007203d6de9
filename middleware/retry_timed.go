package middleware

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// timedTry is the Responder of one try whose time is limited. What its server
// says when the try is over does not reach the call, which may be with another
// server by then.
//
//	open ──Part──► begun ──Reply, Fail──► over
//	  └────────────Reply, Fail, the time──► over
//
// The time may be over while somebody has the request and is changing it. So the
// try has a copy for the next one, and a gate that tells it the server.
type timedTry struct {
	route.Responder

	retrier route.Retrier
	spare   *route.Request
	state   atomic.Uint32
	timer   *time.Timer

	mu     sync.Mutex
	server route.Endpoint
}

const (
	tryOpen uint32 = iota
	tryBegun
	tryOver
)

// beginTimedTry begins a try of a request; nil if that is finished.
func beginTimedTry(ctx context.Context, req *route.Request, res route.Responder, c route.Repeater, t route.Retrier, most time.Duration) *timedTry {
	a := &timedTry{Responder: res, retrier: t, spare: req.Again()}
	if !c.Try(ctx, a.spare, a) {
		return nil
	}
	req.Guard(a)
	a.timer = time.AfterFunc(most, a.expire)
	res.OnFinish(a)
	return a
}

// Admit implements route.Gate: all servers are welcome.
func (a *timedTry) Admit(req *route.Request, _ route.Responder) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server = req.Server
	return nil
}

// Failed implements route.Retrier. The request is the copy: nobody else has it.
func (a *timedTry) Failed(ctx context.Context, req *route.Request, res route.Repeater, err *message.Error) bool {
	a.mu.Lock()
	req.Server = a.server
	a.mu.Unlock()
	return a.retrier.Failed(ctx, req, res, err)
}

// Unwrap lets others find the call.
func (a *timedTry) Unwrap() route.Responder { return a.Responder }

// Part implements route.Responder. A try of which the caller has seen a part
// may go on: it is not repeated.
func (a *timedTry) Part(b route.Body) error {
	if !a.begin() {
		return errTryOver()
	}
	return a.Responder.Part(b)
}

// PartWhenRoom implements route.Patient.
func (a *timedTry) PartWhenRoom(ctx context.Context, b route.Body) error {
	if !a.begin() {
		return errTryOver()
	}
	return partWhenRoom(ctx, a.Responder, b)
}

// partWhenRoom waits if it can.
func partWhenRoom(ctx context.Context, res route.Responder, b route.Body) error {
	if p, ok := res.(route.Patient); ok {
		return p.PartWhenRoom(ctx, b)
	}
	return res.Part(b)
}

func (a *timedTry) begin() bool {
	if a.state.CompareAndSwap(tryOpen, tryBegun) {
		a.timer.Stop()
		return true
	}
	return a.state.Load() == tryBegun
}

// Reply implements route.Responder.
func (a *timedTry) Reply(b route.Body) error {
	if a.state.Swap(tryOver) == tryOver {
		return errTryOver()
	}
	return a.Responder.Reply(b)
}

// Fail implements route.Responder.
func (a *timedTry) Fail(err error) error {
	if a.state.Swap(tryOver) == tryOver {
		return errTryOver()
	}
	return a.Responder.Fail(err)
}

func (a *timedTry) expire() {
	if !a.state.CompareAndSwap(tryOpen, tryOver) {
		return
	}
	e := message.NewError(message.CodeDeadlineExceeded, "no server answered within the time of one try", "")
	e.Cause = route.ErrTryTime
	_ = a.Responder.Fail(e)
}

// Finished implements route.Finisher: the try or the call is over.
func (a *timedTry) Finished(route.Outcome) {
	a.timer.Stop()
	a.state.Store(tryOver)
}

// errTryOver is what a server is told whose try is over.
func errTryOver() error {
	return message.NewError(message.CodeCanceled, "the try took too long, or another server has answered", "")
}

var (
	_ route.Responder = (*timedTry)(nil)
	_ route.Patient   = (*timedTry)(nil)
	_ route.Finisher  = (*timedTry)(nil)
	_ route.Gate      = (*timedTry)(nil)
	_ route.Retrier   = (*timedTry)(nil)
)
