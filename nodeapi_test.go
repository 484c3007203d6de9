package ropewalk_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

func TestNodeInfoServicesClients(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, url)
	info, err := ropewalk.Call[nodeapi.Info](t.Context(), c, "node:/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	if info.ID != n.ID() || info.Name != "test" || info.Clients != 1 || !strings.HasPrefix(info.Listeners["main"], "127.0.0.1:") {
		t.Errorf("%+v", info)
	}
	services, err := ropewalk.Call[[]route.ServiceInfo](t.Context(), c, "node:/services", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := services[0]; s.Name != "math" || s.Path != "/decimal/mul" || s.Servers[0].ID != n.ID() || !s.Servers[0].Local {
		t.Errorf("%+v", s)
	}
	clients, err := ropewalk.Call[[]exchange.ClientInfo](t.Context(), c, "node:/clients", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(clients) != 1 || clients[0].ID != c.ID() || clients[0].Transport != "websocket" || clients[0].Calling != 1 {
		t.Errorf("%+v", clients)
	}
}

func TestNodeSchema(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, url)
	for _, address := range []string{"node:/schema/math/decimal/mul", "node:/schema?route=node:/schema/{name}/**", "node:/schema/node/schema/math/x"} {
		s, err := ropewalk.Call[nodeapi.Schema](t.Context(), c, address, nil)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if s.Route == "math:/decimal/mul" && !strings.Contains(string(s.In), `"A"`) {
			t.Errorf("the schema of the input is %s", s.In)
		}
	}
	if _, err := ropewalk.Call[nodeapi.Schema](t.Context(), c, "node:/schema/nothing/x", nil); message.CodeOf(err) != message.CodeNoService {
		t.Errorf("schema of a path that nobody serves: %v", err)
	}
	_, err := ropewalk.Call[float64](t.Context(), c, "math:/decimal/mul", map[string]any{"A": "two", "B": 1})
	e := message.AsError(err)
	if e.Code != message.CodeInvalidInput || e.Path != "/A" {
		t.Errorf("a field of the wrong type: %+v", e)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	n, _ := startNode(t)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	got, err := ropewalk.Call[nodeapi.Explanation](t.Context(), n, "node:/route/explain", nodeapi.Explain{Address: "math:/decimal/mul"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Route != "math:/decimal/mul" || len(got.Servers) != 1 || got.Strategy != "least-busy" || got.Error != nil || len(got.Steps) != 5 {
		t.Errorf("%+v", got)
	}
	got, err = ropewalk.Call[nodeapi.Explanation](t.Context(), n, "node:/route/explain", nodeapi.Explain{Address: "math:/decimal/mull"})
	if err != nil || got.Error == nil || got.Error.Code != message.CodeNoService || !strings.Contains(got.Error.Hint, "math:/decimal/mul") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTapShowsMessages(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watcher := dial(t, url)
	taps := ropewalk.Stream[nodeapi.Tapped, nodeapi.TapEnd](ctx, watcher, "node:/tap", nodeapi.Tap{Pattern: "math:/**", Body: 100})
	calling := make(chan struct{})
	go func() { // until the tap is there and has seen one
		defer close(calling)
		for ctx.Err() == nil {
			_, _ = n.Call(ctx, "math:/decimal/mul", map[string]any{"A": 2, "B": 5})
		}
	}()
	var seen []nodeapi.Tapped
	for p, err := range taps.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		if seen = append(seen, p); len(seen) == 20 {
			break
		}
	}
	cancel()
	<-calling
	for _, s := range seen {
		switch s.Verb {
		case "call":
			if s.To != "math:/decimal/mul" || s.Body != `{"A":2,"B":5}` {
				t.Errorf("%+v", s)
			}
		case "reply":
			if s.Route != "math:/decimal/mul" || s.Body != "10" {
				t.Errorf("%+v", s)
			}
		default:
			t.Errorf("the tap showed a %s", s.Verb)
		}
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	_, url := startNode(t, func(c *ropewalk.Config) {
		c.Services = map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}}
	})
	c := dial(t, url)
	if a, err := c.Call(t.Context(), "echo:/", []byte{1, 2, 3}); err != nil || a.ContentType != call.Octets || string(a.Body) != "\x01\x02\x03" {
		t.Errorf("%+v, %v", a, err)
	}
	st := c.Stream(t.Context(), "echo:/parts?n=3", "x")
	parts := 0
	for _, err := range st.Parts() {
		if err != nil {
			t.Fatal(err)
		}
		parts++
	}
	if _, err := st.Answer(); err != nil || parts != 3 {
		t.Errorf("%d parts, %v", parts, err)
	}
	for _, address := range []string{"echo:/parts", "echo:/parts?n=x", "echo:/parts?n=-1", "echo:/parts?n=100000000"} {
		if _, err := c.Call(t.Context(), address, nil); message.CodeOf(err) != message.CodeInvalidInput {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", "i@x", "*", "a:b", "httpd", strings.Repeat("x", 129)} {
		if _, err := ropewalk.New(ropewalk.Config{Services: map[string]ropewalk.BuiltIn{name: {Kind: "echo"}}}); err == nil {
			t.Errorf("a service named %q was accepted", name)
		}
	}
	if _, err := ropewalk.New(ropewalk.Config{Services: map[string]ropewalk.BuiltIn{"x": {Kind: "nothing"}}}); err == nil || !strings.Contains(err.Error(), "services.x.kind") {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestMiddlewareAtRunTime(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, url)
	names := func(s nodeapi.Stages, stage route.Stage) (out []string) {
		for _, st := range s.Stages {
			if st.Stage == stage {
				for _, e := range st.Entries {
					out = append(out, e.Name)
				}
			}
		}
		return out
	}
	change := func(path string, in any) nodeapi.Stages {
		t.Helper()
		s, err := ropewalk.Call[nodeapi.Stages](t.Context(), c, "node:/middleware"+path, in)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := names(change("", nil), route.StageCall); !slices.Equal(got, []string{"metrics", "log", "retry"}) {
		t.Errorf("the standard middleware is %v", got)
	}
	s := change("/insert", map[string]any{"stage": "call", "kind": "secret", "name": "door", "settings": map[string]any{"secrets": []string{"planted"}}, "before": "log"})
	if got := names(s, route.StageCall); !slices.Equal(got, []string{"metrics", "door", "log", "retry"}) {
		t.Errorf("after the insertion it is %v", got)
	}
	if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), "planted") {
		t.Errorf("the list shows the secret: %s, %v", b, err)
	}
	if _, err := ropewalk.Call[float64](t.Context(), c, "math:/decimal/mul", pair{2, 5}); message.CodeOf(err) != message.CodeUnauthenticated {
		t.Errorf("a call without the secret: %v", err)
	}
	if got, err := ropewalk.Call[float64](t.Context(), c, "math:/decimal/mul", pair{2, 5}, call.WithAuthorization("planted")); err != nil || got != 10 {
		t.Errorf("a call with the secret: %v, %v", got, err)
	}
	if err := n.Middleware().Remove(route.StageCall, "door"); err != nil {
		t.Fatal(err)
	}
	if _, err := ropewalk.Call[float64](t.Context(), c, "math:/decimal/mul", pair{2, 5}); err != nil {
		t.Errorf("after the removal: %v", err)
	}
}

// What changes a node, or shows what others say, is not for every connection.
func TestNodeNeedsPermission(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, func(c *ropewalk.Config) { c.Allow = nil })
	c := dial(t, url)
	for path, in := range map[string]any{
		"/middleware/insert": map[string]any{"stage": "call", "kind": "log"},
		"/middleware/remove": map[string]any{"stage": "call", "name": "log"},
		"/middleware/move":   map[string]any{"stage": "call", "name": "log"},
		"/middleware/set":    map[string]any{"stage": "call", "name": "log", "state": map[string]any{}},
		"/tap":               nil,
		"/drain":             map[string]any{"on": true},
		"/versions/set":      map[string]any{"service": "math", "weights": map[string]float64{"^1": 1}},
	} {
		if _, err := c.Call(t.Context(), "node:"+path, in); message.CodeOf(err) != message.CodeForbidden {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := c.Call(t.Context(), "node:/drain", nil); err != nil {
		t.Errorf("whether it drains: %v", err)
	}
	if _, err := n.Call(t.Context(), "node:/middleware/remove", map[string]any{"stage": "call", "name": "log"}); err != nil {
		t.Errorf("the process itself: %v", err)
	}
}
