package route_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an endpoint for tests.
type server struct {
	id    string
	busy  int
	local bool
}

func (*server) Handle(context.Context, *route.Request, route.Responder) {}
func (s *server) ID() string                                            { return s.id }
func (s *server) InFlight() int                                         { return s.busy }
func (s *server) Local() bool                                           { return s.local }

var _ route.Endpoint = (*server)(nil)

func servers(n int) []route.Endpoint {
	out := make([]route.Endpoint, n)
	for i := range out {
		out[i] = &server{id: fmt.Sprintf("s%d", i)}
	}
	return out
}

func ids(list []route.Endpoint) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.ID()
	}
	return out
}

// addr takes a test's address apart: instance@name:/path.
func addr(t testing.TB, s string) message.Address {
	t.Helper()
	a, err := message.ParseStrict(s)
	if err != nil {
		t.Fatalf("ParseStrict(%q): %v", s, err)
	}
	return a
}

func serve(t testing.TB, table *route.Table, e route.Endpoint, name, pattern string) {
	t.Helper()
	if err := table.Serve(name, route.MustPattern(pattern), e, route.Info{}); err != nil {
		t.Fatalf("Serve(%s:%s): %v", name, pattern, err)
	}
}
