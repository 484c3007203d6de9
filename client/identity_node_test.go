package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

const meshSecret = "a secret that only nodes of this mesh know"

// strict are rules by which only editors see drafts, and only helpers serve and
// change sessions.
var strict = policy.Config{Rules: []policy.Rule{
	{Name: "drafts", Effect: "deny", Verbs: []string{"call"}, Addresses: []string{"drafts:/**"}, When: "!(has(claims.role) && claims.role == 'editor')"},
	{Name: "helpers", Verbs: []string{"serve", "session"}, Addresses: []string{"*:/**"}, When: "session.subject == 'helper'"},
	{Name: "chiefs", Verbs: []string{"admin"}, Addresses: []string{"node:/**"}, When: "session.subject == 'chief'"},
}}

// guarded starts nodes of a mesh with rules and sessions.
func guarded(t *testing.T, names []string, change func(*ropewalk.Config)) (nodes []*ropewalk.Node, addrs []string) {
	t.Helper()
	net := ropewalktest.NewNetwork(1)
	for _, name := range names {
		cfg := ropewalk.Config{
			Name: name, Logger: quiet, Permissions: strict, Backplane: net.Node(),
			Sessions:  ropewalk.Sessions{Tokens: token.Config{Secret: meshSecret}},
			Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
			Services:  map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}, "drafts": {Kind: "echo"}},
		}
		if change != nil {
			change(&cfg)
		}
		n, err := ropewalk.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stopNode(t, n) })
		nodes, addrs = append(nodes, n), append(addrs, n.Addrs()["main"].String())
	}
	for _, addr := range addrs {
		eventually(t, "a node that tells of all", func() bool { return strings.Count(welcomeOf(t, addr), "ws://") == len(addrs) })
	}
	return nodes, addrs
}

// sign makes a token as the mesh would.
func sign(t *testing.T, secret, subject string, lifetime time.Duration, public, hidden session.Claims) string {
	t.Helper()
	codec, err := token.New(token.Config{Secret: secret}, token.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer codec.Close()
	s := session.New(subject, public, hidden)
	s.Expires = time.Now().Add(lifetime)
	text, err := codec.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// door is a service that logs people in.
func door() *service.Service {
	s := service.New("door")
	type in struct{ User, Role string }
	s.Handle("/in", service.Handle(func(ctx context.Context, v in) (string, error) {
		return "welcome", service.ChangeSession(ctx, session.Patch{
			Subject: &v.User, Set: session.Claims{"role": v.Role}, Secret: session.Claims{"pin": "1234"},
		})
	}))
	s.Handle("/out", service.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		return "bye", service.ChangeSession(ctx, session.Patch{End: true})
	}))
	s.Handle("/pin", service.Handle(func(ctx context.Context, _ struct{}) (any, error) {
		pin, _ := service.SessionOf(ctx).Claim("pin")
		return pin, nil
	}))
	return s
}

// Somebody logs in at one node, by a service that a client serves at another, and
// is still there when their node stops.
func TestLoginSurvivesAnotherNode(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, addrs := guarded(t, []string{"a", "b"}, nil)
			helper := join(t, addrs[1], append([]client.Option{client.WithToken(sign(t, meshSecret, "helper", time.Hour, nil, nil))}, opts...)...)
			if err := helper.Serve(t.Context(), door()); err != nil {
				t.Fatal(err)
			}
			c := join(t, addrs[0], opts...)
			_, err := call.Do[int](t.Context(), c, "drafts:/", 1)
			wantCode(t, err, message.CodeUnauthenticated)
			eventually(t, "the service of the other node", func() bool {
				_, err := call.Do[string](t.Context(), c, "door:/in", map[string]string{"User": "anna", "Role": "editor"})
				return err == nil
			})
			v := c.Session() // it is known before the reply is
			if v.Subject != "anna" || v.Public["role"] != "editor" || v.Token == "" || v.Public["pin"] != nil {
				t.Fatalf("got %+v %v", v, v.Public)
			}
			stopNode(t, nodes[0])
			if got, err := call.Do[int](t.Context(), c, "drafts:/", 2); err != nil || got != 2 {
				t.Fatal(got, err)
			}
			if got, err := call.Do[string](t.Context(), c, "door:/pin", nil); err != nil || got != "1234" {
				t.Fatal(got, err)
			}
			if c.Node().Name != "b" || c.Session().ID != v.ID {
				t.Fatalf("at %s as %s, was %s", c.Node().Name, c.Session(), v)
			}
			if _, err := call.Do[string](t.Context(), c, "door:/out", nil); err != nil || c.Session().ID != "" {
				t.Fatal(c.Session(), err)
			}
			_, err = call.Do[int](t.Context(), c, "drafts:/", 3)
			wantCode(t, err, message.CodeUnauthenticated)
		})
	}
}

func TestTokensOfNobody(t *testing.T) {
	t.Parallel()
	_, addrs := guarded(t, []string{"a"}, nil)
	good := sign(t, meshSecret, "anna", time.Hour, session.Claims{"role": "editor"}, nil)
	for name, bad := range map[string]string{
		"forged":    sign(t, "a secret that somebody has made up, ever so long", "anna", time.Hour, nil, nil),
		"of others": sign(t, meshSecret+"!", "anna", time.Hour, nil, nil),
		"changed":   good[:len(good)-10] + "AAAAAAAAAA",
		"no token":  "anna",
		"unsigned":  "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := client.Dial(t.Context(), "ws://"+addrs[0], client.WithToken(bad), client.WithLogger(quiet))
			if err == nil {
				_ = c.Close()
			}
			wantCode(t, err, message.CodeUnauthenticated)
			// Nor does it take a session away.
			c = join(t, addrs[0], client.WithToken(good))
			_, err = c.OpenSession(t.Context(), bad)
			wantCode(t, err, message.CodeUnauthenticated)
			if got, err := call.Do[int](t.Context(), c, "drafts:/", 1); err != nil || got != 1 || c.Session().Token != good {
				t.Fatal(got, err)
			}
		})
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	short := func(c *ropewalk.Config) {
		c.Sessions.Lifetime, c.Sessions.Warn = ropewalk.Duration(2*time.Second), ropewalk.Duration(time.Second)
	}
	events := func(n int) (chan client.SessionEvent, client.Option) {
		ch := make(chan client.SessionEvent, n)
		return ch, client.WithOnSession(func(e client.SessionEvent) { ch <- e })
	}
	t.Run("refreshed", func(t *testing.T) {
		t.Parallel()
		_, addrs := guarded(t, []string{"a"}, short)
		got, opt := events(100)
		join(t, addrs[0], opt, client.WithToken(sign(t, meshSecret, "anna", 2*time.Second, nil, nil)))
		first := recv(t, got, "an event")
		for range 2 {
			if e := recv(t, got, "an event"); e.Kind != client.SessionEnding {
				t.Fatalf("got %+v", e)
			}
			e := recv(t, got, "an event")
			if e.Kind != client.SessionChanged || !e.Session.Expires.After(first.Session.Expires) || e.Session.Token == first.Session.Token {
				t.Fatalf("got %+v", e)
			}
			first = e
		}
	})
	t.Run("over", func(t *testing.T) {
		t.Parallel()
		_, addrs := guarded(t, []string{"a"}, short)
		got, opt := events(100)
		c := join(t, addrs[0], opt, client.WithoutRefresh(), client.WithToken(sign(t, meshSecret, "anna", 2*time.Second, nil, nil)))
		for _, want := range []client.SessionChange{client.SessionChanged, client.SessionEnding, client.SessionEnded} {
			if e := recv(t, got, "an event"); e.Kind != want {
				t.Fatalf("got %+v, want %s", e, want)
			}
		}
		if c.Session().ID != "" || c.State() != client.Online {
			t.Fatal(c.Session(), c.State())
		}
	})
	t.Run("over with a source", func(t *testing.T) {
		t.Parallel()
		_, addrs := guarded(t, []string{"a"}, short)
		got, opt := events(100)
		c := join(t, addrs[0], opt, client.WithoutRefresh(), client.WithTokenSource(func(context.Context) (string, error) {
			return sign(t, meshSecret, "anna", 2*time.Second, nil, nil), nil
		}))
		id := c.Session().ID
		for _, want := range []client.SessionChange{client.SessionChanged, client.SessionEnding, client.SessionEnded, client.SessionChanged} {
			if e := recv(t, got, "an event"); e.Kind != want {
				t.Fatalf("got %+v, want %s", e, want)
			}
		}
		if v := c.Session(); v.Subject != "anna" || v.ID == id {
			t.Fatal(v)
		}
	})
	t.Run("everywhere", func(t *testing.T) {
		t.Parallel()
		_, addrs := guarded(t, []string{"a", "b"}, nil)
		got, opt := events(100)
		one := join(t, addrs[0], client.WithToken(sign(t, meshSecret, "anna", time.Hour, nil, nil)))
		two := join(t, addrs[1], opt, client.WithToken(sign(t, meshSecret, "anna", time.Hour, nil, nil)))
		recv(t, got, "an event")
		if err := one.CloseSession(t.Context(), true); err != nil || one.Session().ID != "" {
			t.Fatal(one.Session(), err)
		}
		if e := recv(t, got, "an event"); e.Kind != client.SessionRevoked || two.Session().ID != "" {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("revoked by a chief", func(t *testing.T) {
		t.Parallel()
		_, addrs := guarded(t, []string{"a", "b"}, nil)
		gone := make(chan string, 10)
		helper := join(t, addrs[1], client.WithToken(sign(t, meshSecret, "helper", time.Hour, nil, nil)),
			client.WithOnUnserve(func(address string, err error) { gone <- address + " " + string(message.CodeOf(err)) }))
		if err := helper.Serve(t.Context(), door()); err != nil {
			t.Fatal(err)
		}
		chief := join(t, addrs[0], client.WithToken(sign(t, meshSecret, "chief", time.Hour, nil, nil)))
		_, err := call.Do[any](t.Context(), helper, "node:/session/revoke", map[string]string{"subject": "chief"})
		wantCode(t, err, message.CodeForbidden)
		if _, err := call.Do[any](t.Context(), chief, "node:/session/revoke", map[string]string{"subject": "helper"}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := recv(t, gone, "what is not served any more"); !strings.HasPrefix(got, "door:/") || !strings.HasSuffix(got, " unauthenticated") {
				t.Fatal(got)
			}
		}
		// A new session serves again. Tokens tell seconds, so one of the same second counts as revoked.
		eventually(t, "a token that is new enough", func() bool {
			_, err := helper.OpenSession(t.Context(), sign(t, meshSecret, "helper", time.Hour, nil, nil))
			return err == nil
		})
		eventually(t, "the service", func() bool {
			_, err := call.Do[any](t.Context(), chief, "door:/pin", nil)
			return err == nil
		})
	})
}
