package middleware_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

func TestRecover(t *testing.T) {
	t.Parallel()
	var log buffer
	mw := middleware.Recover(slog.New(slog.NewTextHandler(&log, nil)))
	if c := run(t, mw(reply), newCall("a:/x")); c.code() != "" || log.String() != "" {
		t.Fatalf("without a panic: %v, log %q", c.err, log.String())
	}
	c := run(t, mw(route.HandlerFunc(func(context.Context, *route.Request, route.Responder) { panic("secret") })), newCall("a:/x"))
	if c.code() != message.CodeInternal || strings.Contains(c.err.Message+c.err.Hint, "secret") {
		t.Errorf("the caller got %v", c.err)
	}
	secret := newCall("a:/x")
	secret.req.Message.To = []byte("a:/x?token=t0ken")
	run(t, mw(route.HandlerFunc(func(context.Context, *route.Request, route.Responder) { panic("bug") })), secret)
	if strings.Contains(log.String(), "t0ken") {
		t.Errorf("the log %q has what follows a question mark", log.String())
	}
	for _, want := range []string{"secret", "path=a:/x", "msg=m1", "recover_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %q", log.String(), want)
		}
	}
}
