package middleware_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
)

func seconds(n float64) duration.Duration { return duration.Duration(n * float64(time.Second)) }

func TestLog(t *testing.T) {
	t.Parallel()
	fast := func(*call) {}
	slow := func(*call) { time.Sleep(2 * time.Second) }
	for _, c := range []struct {
		name  string
		level slog.Level
		early bool // do comes before the message is handled
		do    func(*call)
		end   error
		want  []string // nil: nothing is written
	}{
		{"ok", slog.LevelDebug, false, fast, nil, []string{"level=DEBUG", "message finished", "verb=call", "path=a:/x", "route=a:/x", "client=p1", "msg=m1", "took=0s"}},
		{"error", slog.LevelDebug, false, fast, message.NewError(message.CodeNotFound, "no such thing", ""), []string{"level=DEBUG", "code=not_found", `err="no such thing"`}},
		{"not at info", slog.LevelInfo, false, fast, nil, nil},
		{"slow", slog.LevelInfo, false, slow, nil, []string{"level=WARN", "slow call", "took=2s"}},
		{"slow on purpose", slog.LevelInfo, false, func(c *call) { c.req.Route = "report:/long"; slow(c) }, nil, nil},
		{"slow send", slog.LevelInfo, true, func(c *call) { c.req.Message.Verb = message.VerbSend; slow(c) }, nil, nil},
		{"trace", slog.LevelDebug, true, func(c *call) { c.req.Message.Headers = []byte(`{"traceparent":"` + parent + `"}`) }, nil, []string{"trace=0af7651916cd43dd8448eb211c80319c"}},
		{"no peer", slog.LevelDebug, true, func(c *call) { c.req.Peer = nil }, nil, []string{`client=""`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log buffer
				mw := middleware.Log(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: c.level})),
					middleware.LogConfig{Except: []string{"report:/long"}})
				in := newCall("a:/x")
				if c.early {
					c.do(in)
				}
				run(t, mw(ignore), in)
				if !c.early {
					c.do(in)
				}
				if c.end != nil {
					_ = in.Fail(c.end)
				} else {
					_ = in.finish(nil)
				}
				if c.want == nil && log.String() != "" {
					t.Errorf("log %q", log.String())
				}
				for _, want := range c.want {
					if !strings.Contains(log.String(), want) {
						t.Errorf("log %q lacks %q", log.String(), want)
					}
				}
			})
		})
	}
}
