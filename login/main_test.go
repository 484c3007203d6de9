package login_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/login"
	_ "github.com/ropewalk/ropewalk/login/drivers"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(&program{m}) }

// program ends what the tests began before the search for leaks.
type program struct{ m *testing.M }

func (p *program) Run() int {
	defer pg.Stop()
	return p.m.Run()
}

// desk is a Login and what it told.
type desk struct {
	*login.Login

	registry *prometheus.Registry
	log      *strings.Builder
	run      *service.Runner
	routes   map[string]route.Handler

	mu      sync.Mutex
	events  []login.Event
	revoked []string
}

// quick are hashes that are made in no time.
var quick = login.Passwords{Memory: 64, Passes: 1}

// open starts a Login with the tables made.
func open(t *testing.T, cfg login.Config) *desk {
	t.Helper()
	if cfg.Users.Driver == "" {
		cfg.Users.Driver, cfg.Users.DSN, cfg.Users.Create = "sqlite", filepath.Join(t.TempDir(), "users.db"), true
	}
	if cfg.Passwords == (login.Passwords{}) {
		cfg.Passwords = quick
	}
	d := &desk{registry: prometheus.NewRegistry(), log: &strings.Builder{}, routes: map[string]route.Handler{}}
	log := slog.New(slog.NewTextHandler(&locked{w: d.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	d.Login, err = login.New(cfg, login.Env{
		Logger: log, Registry: d.registry,
		Event: func(e login.Event) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.events = append(d.events, e)
		},
		Revoke: func(_ context.Context, subject string) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.revoked = append(d.revoked, subject)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := d.Service()
	d.run = s.Runner(context.Background(), log)
	t.Cleanup(d.run.Close)
	for _, r := range s.Routes() {
		d.routes[r.Pattern.String()] = r.Handler
	}
	return d
}

// add makes a user.
func (d *desk) add(t *testing.T, name, password string, public, secret session.Claims) *login.User {
	t.Helper()
	u, err := d.AddUser(t.Context(), name, password, public, secret)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (d *desk) last() login.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.events) == 0 {
		return login.Event{}
	}
	return d.events[len(d.events)-1]
}

// hashes is how many were computed.
func (d *desk) hashes(t *testing.T) float64 {
	t.Helper()
	list, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.GetName() == "ropewalk_login_hashes_total" {
			return m.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

type locked struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// client is a connection, with the session that it has at this moment.
type client struct {
	id, addr string
	session  *session.Session
}

func newClient(addr string) *client {
	return &client{id: session.NewID(), addr: addr, session: session.Anonymous()}
}

func (c *client) ID() string         { return c.id }
func (c *client) Listener() string   { return "main" }
func (c *client) RemoteAddr() string { return c.addr }

// answer is what became of a call.
type answer struct {
	body    []byte
	patch   *session.Patch
	err     *message.Error
	finish  []route.Finisher
	over    chan struct{}
	settled sync.Once
}

func (a *answer) Part(route.Body) error { return nil }

func (a *answer) Reply(b route.Body) error {
	a.end(func() { a.body, a.patch = append([]byte(nil), b.Bytes...), b.Session })
	return nil
}

func (a *answer) Fail(err error) error {
	a.end(func() { a.err = message.AsError(err) })
	return nil
}

func (a *answer) end(f func()) {
	a.settled.Do(func() {
		f()
		for _, fin := range a.finish {
			fin.Finished(route.Outcome{Err: a.err})
		}
		close(a.over)
	})
}

func (a *answer) OnFinish(f route.Finisher) { a.finish = append(a.finish, f) }

// call has d answer a call of c, whose session then is what the answer makes
// of it.
func (c *client) call(t *testing.T, d *desk, path string, in, out any) *message.Error {
	t.Helper()
	h := d.routes[path]
	if h == nil {
		t.Fatalf("login serves no %s", path)
	}
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	req := &route.Request{Peer: c}
	req.Address, _ = message.ParseStrict("login:" + path)
	req.Message.Verb, req.Message.Mid, req.Message.Body = message.VerbCall, []byte("m1"), body
	req.Matched(route.Match{Name: "login", Route: "login:" + path})
	req.SetSession(c.session)
	a := &answer{over: make(chan struct{})}
	d.run.Handler(h).Handle(t.Context(), req, a)
	<-a.over
	if a.err != nil {
		if a.patch != nil {
			t.Errorf("%s failed and changes the session", path)
		}
		return a.err
	}
	if a.patch != nil {
		c.apply(t, *a.patch)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			t.Fatalf("%s answers %s: %v", path, a.body, err)
		}
	}
	return nil
}

func (c *client) apply(t *testing.T, p session.Patch) {
	t.Helper()
	if p.End {
		c.session = session.Anonymous()
		return
	}
	s, err := p.Apply(c.session)
	if err != nil {
		t.Fatal(err)
	}
	c.session = s
}

func (c *client) logIn(t *testing.T, d *desk, user, password string) *message.Error {
	t.Helper()
	return c.call(t, d, "/password", map[string]string{"user": user, "password": password}, nil)
}

func codeOf(e *message.Error) message.Code {
	if e == nil {
		return ""
	}
	return e.Code
}
