package route

import (
	"context"
	"errors"

	"github.com/ropewalk/ropewalk/message"
)

// Repeater is a Responder whose request may be handed over more than once: a
// failure of one try need not be the end. The Responder of a call is one;
// middleware that wraps it without a method Unwrap() Responder hides that.
//
//	Try ──► next.Handle ──► Handed ──► … ──Fail──► Retrier.Failed ──► Try …
//	                                          │           └─ false ─► over
//	                                          └─ not worth asking ─► over
type Repeater interface {
	Responder
	// Try begins a try with r, which is told if it fails before any part was
	// sent. Until Handed nobody is told, so that the body is still there.
	// Finishers that are registered from here on are told at the end of the
	// try. It reports false, and does nothing, if the request is finished.
	Try(ctx context.Context, req *Request, r Retrier) bool
	// Handed ends what Try began, when the request was handed over, on the same
	// goroutine. keep has the body copied, unless that was done, so that the
	// try can be repeated when it fails later; else it can as long as there is
	// no body. A failure that has come by now is told here.
	Handed(keep bool)
	// Rematch looks again who could answer, for another try. The server that
	// failed, which may be nil, is left out if there are others. The request
	// to one server of a gather stays with that. The error is a *message.Error.
	Rematch(req *Request, failed Endpoint) error
}

// Settler is a Responder that wants to know who answers: the Responder of a call
// is one. Middleware that hands a request to several servers, each with a
// Responder of its own, tells it before it passes the answer of one of them on.
type Settler interface {
	// Settle tells the pattern of the route and the server of the answer.
	Settle(pattern string, server Endpoint)
}

// Retrier decides about the failure of a try.
type Retrier interface {
	// Failed is given a failure of the kind that [Repeatable] knows. It
	// returns false to end the request with it. Otherwise it has taken the
	// request over: it sees to another try, or to the end. req is valid until
	// Failed returns; it must not be changed, because the server that failed
	// may still look at it: see [Request.Again]. Failed must not block.
	Failed(ctx context.Context, req *Request, res Repeater, err *message.Error) bool
}

// ErrTryTime is the cause of an error that ends a try which took longer than one
// may: there is time for another.
var ErrTryTime = errors.New("the time of one try is over")

// Repeatable reports whether a failure may be one after which a request can be
// tried again: it was surely not executed, or its server was lost, which is no
// harm where calls are idempotent.
func Repeatable(err *message.Error) bool {
	switch err.Code { //nolint:exhaustive // the others are what they say of themselves
	case message.CodeDeadlineExceeded:
		return errors.Is(err.Cause, ErrTryTime)
	case message.CodeCanceled:
		return false
	case message.CodeNodeLost, message.CodeServiceLost, message.CodeMeshSplit:
		return true
	default:
		return err.Retryable
	}
}

// Again returns a kept copy of the request for another try: the server that
// failed may still look at the first.
func (r *Request) Again() *Request {
	again := *r
	again.Keep()
	again.Server = nil
	return &again
}
