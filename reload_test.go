package ropewalk_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
)

// entriesOf are the names of the middleware of a stage.
func entriesOf(n *ropewalk.Node, stage route.Stage) []string {
	var names []string
	for _, s := range n.Middleware().List() {
		if s.Stage == stage {
			for _, e := range s.Entries {
				names = append(names, e.Name)
			}
		}
	}
	return names
}

func callStage(kinds ...string) []ropewalk.Middleware {
	var list []ropewalk.Middleware
	for _, k := range kinds {
		kind, name, _ := strings.Cut(k, "=")
		m := ropewalk.Middleware{Stage: "call", Kind: kind, Name: name}
		if kind == "limit" {
			m.Settings = map[string]any{"calls": 10 + len(list)}
		}
		list = append(list, m)
	}
	return list
}

// base is a configuration that can be changed in all that can change.
func base(level *slog.LevelVar) ropewalk.Config {
	return ropewalk.Config{
		Name:       "test",
		Listeners:  map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Logger:     slog.New(slog.DiscardHandler),
		LogLevel:   level,
		Middleware: callStage("metrics", "log"),
	}
}

func TestReloadAppliesWhatItCan(t *testing.T) {
	t.Parallel()
	var level slog.LevelVar
	n, url := startNode(t, func(c *ropewalk.Config) { *c = base(&level) })
	if err := n.Serve(logins()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, url)
	next := base(&level)
	next.Log.Level = "debug"
	next.Middleware = callStage("limit", "log", "metrics")
	next.Permissions = policy.Config{Preset: "closed"}
	next.Calls = ropewalk.Calls{
		Strategy: "random", Routes: map[string]string{"door:/who": "first"}, Versions: map[string]map[string]float64{"door": {"^1": 1}},
		Timeout: ropewalk.Duration(time.Second),
	}
	next.Limits.Connections = 1
	next.Limits.Calls = 5
	next.Listeners = map[string]ropewalk.Listener{
		"main": {Address: "127.0.0.1:1", Origins: []string{"https://a.example"}}, "more": {Address: "127.0.0.1:0"},
	}
	got, err := n.Reload(next)
	if err != nil {
		t.Fatal(err)
	}
	want := ropewalk.Changes{
		Applied: []string{
			"calls.routes.door:/who", "calls.strategy", "calls.versions.door.^1", "limits.connections", "listeners.main.origins",
			"log.level", "middleware", "permissions.preset",
		},
		Restart: []string{"calls.timeout", "limits.calls", "listeners.main.address", "listeners.more.address"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if level.Level() != slog.LevelDebug {
		t.Errorf("the level is %v", level.Level())
	}
	if list := entriesOf(n, route.StageCall); !slices.Equal(list, []string{"limit", "log", "metrics"}) {
		t.Errorf("the middleware is %v", list)
	}
	if _, err := ropewalk.Call[any](t.Context(), c, "door:/who", nil); message.CodeOf(err) != message.CodeForbidden && message.CodeOf(err) != message.CodeUnauthenticated {
		t.Errorf("the call was answered with %v", err)
	}
	if got, err := n.Reload(next); err != nil || len(got.Applied) != 0 || !slices.Equal(got.Restart, want.Restart) {
		t.Errorf("the same once more: %+v, %v", got, err)
	}
	if got, err := n.Reload(base(&level)); err != nil || !slices.Equal(got.Applied, want.Applied) || len(got.Restart) != 0 {
		t.Errorf("back: %+v, %v", got, err)
	}
	if list := entriesOf(n, route.StageCall); !slices.Equal(list, []string{"metrics", "log"}) {
		t.Errorf("the middleware is %v", list)
	}
	if _, err := ropewalk.Call[any](t.Context(), c, "door:/who", nil); err != nil {
		t.Error(err)
	}
}

func TestReloadOfAWrongConfigurationChangesNothing(t *testing.T) {
	t.Parallel()
	for field, spoil := range map[string]func(*ropewalk.Config){
		"log.level": func(c *ropewalk.Config) { c.Log.Level = "loud" },
		"middleware[2]": func(c *ropewalk.Config) {
			c.Middleware = append(c.Middleware, ropewalk.Middleware{Stage: "call", Kind: "x"})
		},
		"middleware[1]":  func(c *ropewalk.Config) { c.Middleware = callStage("metrics", "metrics") },
		"middleware[0]":  func(c *ropewalk.Config) { c.Middleware = []ropewalk.Middleware{{Stage: "x", Kind: "log"}} },
		"calls.strategy": func(c *ropewalk.Config) { c.Calls.Strategy = "x" },
		"calls.routes":   func(c *ropewalk.Config) { c.Calls.Routes = map[string]string{"a:/b": "x"} },
		"calls.versions": func(c *ropewalk.Config) { c.Calls.Versions = map[string]map[string]float64{"a": {"^1": -1}} },
		"permissions":    func(c *ropewalk.Config) { c.Permissions.Preset = "x" },
		"listeners.main.origins": func(c *ropewalk.Config) {
			c.Listeners["main"] = ropewalk.Listener{Address: "127.0.0.1:0", Origins: []string{"x"}}
		},
		"sessions.tokens": func(c *ropewalk.Config) { c.Sessions.Tokens.Secret = "short" },
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			var level slog.LevelVar
			n, err := ropewalk.New(base(&level))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = n.Shutdown(t.Context()) }()
			next := base(&level)
			next.Log.Level = "debug"
			next.Middleware = callStage("log", "metrics")
			next.Permissions = policy.Config{Preset: "closed"}
			spoil(&next)
			_, err = n.Reload(next)
			if err == nil || !strings.HasPrefix(err.Error(), field) {
				t.Errorf("the error is %v", err)
			}
			if level.Level() != slog.LevelInfo || !slices.Equal(entriesOf(n, route.StageCall), []string{"metrics", "log"}) ||
				n.Permissions().Preset() == "closed" {
				t.Error("something has changed all the same")
			}
		})
	}
}

func TestReloadLeavesWhatWasChangedByHand(t *testing.T) {
	t.Parallel()
	var level slog.LevelVar
	n, err := ropewalk.New(base(&level))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Shutdown(t.Context()) }()
	pass := func(next route.Handler) route.Handler { return next }
	if err := errors.Join(
		n.Middleware().Insert(route.StageCall, route.Entry{Name: "mine", Middleware: pass}, route.First()),
		n.Middleware().Remove(route.StageCall, "log"),
	); err != nil {
		t.Fatal(err)
	}
	next := base(&level)
	next.Middleware = callStage("limit", "limit=b", "metrics", "log")
	if got, err := n.Reload(next); err != nil || !slices.Equal(got.Applied, []string{"middleware"}) {
		t.Fatal(got, err)
	}
	if list := entriesOf(n, route.StageCall); !slices.Equal(list, []string{"mine", "limit", "b", "metrics"}) {
		t.Errorf("the middleware is %v", list)
	}
	next.Middleware = callStage("limit=b", "metrics")
	if _, err := n.Reload(next); err != nil {
		t.Fatal(err)
	}
	if list := entriesOf(n, route.StageCall); !slices.Equal(list, []string{"mine", "b", "metrics"}) {
		t.Errorf("the middleware is %v", list)
	}
}

func TestReloadByCall(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	config := base(nil)
	config.Permissions = policy.Config{Preset: "dev"}
	config.Audit.File = file
	var broken atomic.Bool
	config.Source = func(context.Context) (ropewalk.Config, error) {
		next := config
		next.Calls.Strategy = "first"
		if broken.Load() {
			return next, errors.New("name: it is no good")
		}
		return next, nil
	}
	n, url := startNode(t, func(c *ropewalk.Config) { *c = config })
	c := dial(t, url)
	got, err := ropewalk.Call[nodeapi.Changes](t.Context(), c, "node:/reload", nil)
	if err != nil || got.String() != "changed: calls.strategy" {
		t.Errorf("%+v, %v", got, err)
	}
	broken.Store(true)
	if _, err := ropewalk.Call[nodeapi.Changes](t.Context(), c, "node:/reload", nil); err == nil || !strings.Contains(err.Error(), "it is no good") {
		t.Error(err)
	}
	broken.Store(false)
	if _, err := c.Call(t.Context(), "node:/middleware/remove", nodeapi.Remove{Stage: "call", Name: "log"}); err != nil {
		t.Error(err)
	}
	if err := n.SetPermissions(policy.Config{Preset: "standard"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ropewalk.Call[nodeapi.Changes](t.Context(), c, "node:/reload", nil, call.WithTimeout(time.Minute)); err == nil {
		t.Error("everybody may reload")
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for kind, part := range map[audit.Kind]string{audit.KindConfig: "calls.strategy", audit.KindMiddleware: `removed "log", stage call`} {
		found := false
		for e, err := range audit.Read(bytes.NewReader(text)) {
			found = found || err == nil && e.Kind == kind && e.Who.Client == c.ID() && e.Who.IP == "127.0.0.1" && strings.Contains(e.Detail, part)
		}
		if !found {
			t.Errorf("there is no %s in the audit log: %s", kind, text)
		}
	}
}

// TestReloadOfWhatBelongsToTheProgram has parts of the configuration that the
// node knows nothing of.
func TestReloadOfWhatBelongsToTheProgram(t *testing.T) {
	t.Parallel()
	with := func(root string) ropewalk.Config {
		type section struct {
			Root string `json:"root,omitempty"`
		}
		return ropewalk.Config{Name: "a", Logger: slog.New(slog.DiscardHandler), More: map[string]any{"content": section{root}}}
	}
	n, err := ropewalk.New(with("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Shutdown(t.Context()) }()
	for root, want := range map[string][]string{"a": {}, "b": {"content.root"}, "": {"content", "content.root"}} {
		c, err := n.Reload(with(root))
		if err != nil || !slices.Equal(c.Restart, want) || len(c.Applied) > 0 {
			t.Errorf("%q: %+v, %v; want %v", root, c, err, want)
		}
	}
}
