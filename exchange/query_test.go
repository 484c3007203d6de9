package exchange_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// What people put behind a question mark is in no error that quotes the address,
// and so not in the log.
func TestErrorsHaveNoQuery(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	w := newWorld(t, func(c *exchange.Config) {
		c.Stack = route.NewStack()
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		insert(t, c.Stack, route.StageInbound, "log", middleware.Log(log, middleware.LogConfig{}))
	})
	client, server := w.connect("c1"), w.connect("s1")
	server.serve("x:/")
	client.send(`{"to":"x:/?t0ken","mid":"1","tmo":0.01}`)
	client.wantError("1", message.CodeDeadlineExceeded)
	client.send(`{"to":"x:/none?t0ken","mid":"3"}`)
	client.wantError("3", message.CodeNoService)
	client.send(`{"vrb":"get","to":"x:/?t0ken","mid":"4"}`)
	client.wantError("4", message.CodeUnimplemented)
	client.send(`{"to":"x:/..?t0ken","mid":"5"}`)
	client.next(t)
	client.send(`{"to":"x:/?t0ken","mid":"6"}`)
	server.Gone()
	client.wantError("6", message.CodeServiceLost)
	client.send(`{"to":"x:/?t0ken","mid":"7"}`)
	client.wantError("7", message.CodeServiceDown)
	w.idle()
	if s := out.String(); strings.Contains(s, "t0ken") {
		t.Errorf("the log has a token:\n%s", s)
	}
}
