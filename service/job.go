package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// job is one call of a Runner: the Responder that its handler is given, and
// the Finisher that learns of its end.
type job struct {
	runner  *Runner
	level   *level
	handler route.Handler
	parent  context.Context //nolint:containedctx // the job is the call itself
	req     *route.Request
	res     route.Responder
	turn    string // what it has its turn in; "" if it need not wait for others

	ctx context.Context //nolint:containedctx // of the handler, while it runs

	// Guarded by runner.mu.
	in         *list
	prev, next *job

	mu     sync.Mutex
	over   bool                    // finished, or not to be started any more
	cause  *message.Error          // why, if not by a reply
	cancel context.CancelCauseFunc // set while the handler runs
	patch  *session.Patch          // what the handler wants of its caller's session
	given  bool                    // it has replied, and the reply waits for that
}

// run calls the handler and sees to it that the request is finished.
func (j *job) run() {
	ctx, stop, ok := j.begin()
	if !ok {
		return
	}
	defer stop()
	j.ctx = ctx
	returned := false
	defer func() {
		if returned {
			return
		}
		text := "the handler ended its goroutine"
		if p := recover(); p != nil {
			text = fmt.Sprint("panic: ", p)
		}
		j.logError(text, slog.String("stack", string(debug.Stack())))
		_ = j.res.Fail(errFailed())
	}()
	j.handler.Handle(ctx, j.req, j)
	returned = true
	j.returned()
}

// begin makes the handler's context, unless the call is over already.
func (j *job) begin() (ctx context.Context, stop func(), ok bool) {
	if d := j.req.Deadline; !d.IsZero() && !time.Now().Before(d) {
		_ = j.res.Fail(errDeadline())
		return nil, nil, false
	}
	base, cancel := context.WithCancelCause(j.parent)
	j.mu.Lock()
	if j.over {
		cause := j.cause
		j.mu.Unlock()
		cancel(nil)
		if cause != nil { // ended by the runner before it was begun
			_ = j.res.Fail(cause)
		}
		return nil, nil, false
	}
	j.cancel = cancel
	j.mu.Unlock()
	if j.req.Deadline.IsZero() {
		return &callContext{base, j}, func() { cancel(nil) }, true
	}
	timed, free := context.WithDeadlineCause(base, j.req.Deadline, late)
	return &callContext{timed, j}, func() { free(); cancel(nil) }, true
}

// returned answers for a handler that did not.
func (j *job) returned() {
	j.mu.Lock()
	over, cause, given := j.over, j.cause, j.given
	j.mu.Unlock()
	switch {
	case over, given:
		return
	case cause != nil:
		_ = j.res.Fail(cause)
		return
	}
	if j.req.Message.EffectiveVerb() == message.VerbSend {
		_ = j.res.Reply(route.Body{}) // a send has no answer to forget
		return
	}
	err := j.res.Fail(message.NewError(message.CodeInternal, "the service returned without an answer",
		"This is a bug in the service: a handler has to call Reply or Fail before it returns."))
	if err == nil {
		j.logError("the handler returned without an answer: it has to call Reply or Fail before it returns")
	}
}

// end ends the context of a handler that runs, and keeps one that does not
// from being started.
func (j *job) end(cause *message.Error) {
	j.mu.Lock()
	cancel := j.cancel
	if !j.over {
		j.cause = cause
	}
	j.over = j.over || cancel == nil
	j.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}

// Finished is called by the Responder below when the call is over.
func (j *job) Finished(o route.Outcome) {
	j.mu.Lock()
	j.over = true
	j.cause = nil
	cancel := j.cancel
	j.mu.Unlock()
	switch {
	case cancel == nil:
		j.runner.forget(j)
	case o.Err != nil:
		cancel(o.Err)
	default:
		cancel(nil)
	}
}

func (j *job) isOver() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.over
}

// Part passes a part on. The handler may block, so it waits for a slow caller.
func (j *job) Part(b route.Body) error {
	if p, ok := j.res.(route.Patient); ok {
		return p.PartWhenRoom(j.ctx, b)
	}
	return j.res.Part(b)
}

// Reply passes the reply on, with what is to become of the caller's session.
func (j *job) Reply(b route.Body) error {
	j.mu.Lock()
	if j.patch != nil {
		if b.Session != nil {
			j.patch.Merge(*b.Session)
		}
		b.Session = j.patch
	}
	j.given = b.Session != nil
	j.mu.Unlock()
	return j.res.Reply(b)
}

// Fail passes an error on, with what the caller must not see in the log. A
// context error becomes the reason why the context ended. That somebody else
// did not execute what the handler asked for does not mean that the handler has
// done nothing: such an error is not retryable any more.
func (j *job) Fail(err error) error {
	if err == nil {
		err = message.NewError(message.CodeInternal, "the service failed without an error",
			"This is a bug in the service: Fail was called with nil.")
	}
	e := message.AsError(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		j.mu.Lock()
		if j.cause != nil {
			e = j.cause
		}
		j.mu.Unlock()
	}
	if e.Remote() && e.Retryable {
		own := *e
		own.Retryable = false
		e = &own
	}
	if sendErr := j.res.Fail(e); sendErr != nil {
		return sendErr
	}
	if e.Code == message.CodeInternal && e.Cause != nil {
		j.logError(e.Cause.Error())
	}
	return nil
}

// OnFinish passes f on.
func (j *job) OnFinish(f route.Finisher) { j.res.OnFinish(f) }

// logError writes what went wrong in the handler; the caller does not see it.
func (j *job) logError(cause string, more ...slog.Attr) {
	attrs := append([]slog.Attr{
		slog.String("route", j.req.Route),
		slog.String("msg", string(j.req.Message.Mid)),
		slog.String("err", cause),
	}, more...)
	j.runner.log.LogAttrs(context.WithoutCancel(j.parent), slog.LevelError, "handler failed", attrs...)
}

func errFailed() *message.Error {
	return message.NewError(message.CodeInternal, "the service failed while handling the call",
		"This is a bug in the service; its log has the details.")
}

// late is the cause of every context that ends with its deadline.
var late = errDeadline()

func errDeadline() *message.Error {
	return message.NewError(message.CodeDeadlineExceeded, "the call was not answered in time",
		"Give the call a longer time-out, or find out why the service is slow.")
}

// callContext carries the call without an allocation of its own.
type callContext struct {
	context.Context //nolint:containedctx // it is a context

	job *job
}

type requestKey struct{}

// Value returns the request for FromContext, and the job for ChangeSession.
func (c *callContext) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return c.job.req
	case jobKey:
		return c.job
	}
	return c.Context.Value(key)
}

// FromContext returns the request behind a typed handler: who asks, headers,
// parameters of the path. ctx has to come from the handler's; for any other
// FromContext returns nil.
func FromContext(ctx context.Context) *route.Request {
	req, _ := ctx.Value(requestKey{}).(*route.Request)
	return req
}

var (
	_ route.Responder = (*job)(nil)
	_ route.Finisher  = (*job)(nil)
)
