package middleware

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Recover turns a panic further in into [message.CodeInternal] for the caller
// and writes its stack to the log. A nil logger means [slog.Default].
//
// It fits every stage and has to be the first. It costs a few nanoseconds.
func Recover(log *slog.Logger) route.Middleware {
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			defer contain(ctx, log, req, res)
			next.Handle(ctx, req, res)
		})
	}
}

// contain is deferred around what may panic.
func contain(ctx context.Context, log *slog.Logger, req *route.Request, res route.Responder) {
	p := recover()
	if p == nil {
		return
	}
	if log == nil {
		log = slog.Default()
	}
	log.LogAttrs(ctx, slog.LevelError, "panic while handling a message",
		slog.String("path", withoutQuery(req.Message.To)),
		slog.String("msg", string(req.Message.Mid)),
		slog.String("err", fmt.Sprint(p)),
		slog.String("stack", string(debug.Stack())))
	_ = res.Fail(message.NewError(message.CodeInternal, "the node failed while handling the message",
		"This is a bug in the node or in one of its middleware; its log has the details."))
}
