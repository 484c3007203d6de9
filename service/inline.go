package service

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// WithInline has requests with these verbs handled on the goroutine that read
// them, so that what stays open for long, as a subscribe, needs no goroutine.
// The rules for handlers inside the node hold for them, and for the middleware of
// the service: Handle must not block, may finish the request after it returned,
// and has to call [route.Request.Keep] before that if it needs the request
// longer. They do not count for [WithConcurrency], and [Runner.Drain] and
// [Runner.Close] do not wait for them or end them. Requests with other verbs are
// run as usual.
func WithInline(verbs ...message.Verb) HandleOption {
	return handleOption(func(h *handling) { h.inline = slices.Clone(verbs) })
}

// WithTopic says that the path can be watched, and how. Its handler is then asked
// with the verbs get, subscribe and publish besides call, and tells them apart
// by the Verb of the message.
func WithTopic(t route.Topic) HandleOption {
	return handleOption(func(h *handling) { h.info.Topic = &t })
}

// inlineHandler is what [Runner.Handler] finds where WithInline was given.
type inlineHandler struct {
	route.Handler

	verbs []message.Verb
}

func (h *inlineHandler) takes(v message.Verb) bool { return slices.Contains(h.verbs, v) }

// inline calls a handler that does not block.
func (r *Runner) inline(ctx context.Context, h route.Handler, req *route.Request, res route.Responder) {
	if r.isDraining() {
		_ = res.Fail(errShuttingDown())
		return
	}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		r.log.LogAttrs(context.WithoutCancel(ctx), slog.LevelError, "handler failed",
			slog.String("route", req.Route), slog.String("msg", string(req.Message.Mid)),
			slog.String("err", fmt.Sprint("panic: ", p)), slog.String("stack", string(debug.Stack())))
		_ = res.Fail(errFailed())
	}()
	h.Handle(&inlineContext{ctx, req, r}, req, res)
}

func (r *Runner) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// inlineContext is the context of a handler that is called inline.
type inlineContext struct {
	context.Context //nolint:containedctx // it is a context

	req    *route.Request
	runner *Runner
}

// Value returns the request for FromContext, and the runner for handlers that
// start something.
func (c *inlineContext) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return c.req
	case runnerKey:
		return c.runner
	}
	return c.Context.Value(key)
}
