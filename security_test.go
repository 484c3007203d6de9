package ropewalk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// treasure is what nobody may have but editors.
const treasure = "forty-two doubloons"

// logins is a service that logs in whom it is told to.
func logins() *ropewalk.Service {
	s := ropewalk.NewService("door")
	type in struct {
		User, Role string
		Pin        string `json:",omitempty"`
	}
	s.Handle("/in", ropewalk.Handle(func(ctx context.Context, v in) (string, error) {
		return "welcome", service.ChangeSession(ctx, session.Patch{
			Subject: &v.User, Set: session.Claims{"role": v.Role}, Secret: session.Claims{"pin": v.Pin},
		})
	}))
	s.Handle("/out", ropewalk.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		return "bye", service.ChangeSession(ctx, session.Patch{End: true})
	}))
	s.Handle("/who", ropewalk.Handle(func(ctx context.Context, _ struct{}) (map[string]any, error) {
		v := service.SessionOf(ctx)
		return map[string]any{"subject": v.Subject, "role": v.Public["role"], "pin": v.Secret["pin"]}, nil
	}))
	s.Handle("/secret", ropewalk.Handle(func(context.Context, struct{}) (string, error) { return treasure, nil }))
	return s
}

func TestSessionOfAConnection(t *testing.T) {
	t.Parallel()
	c := guarded(t, policy.Config{Rules: []policy.Rule{
		{Name: "secrets are for editors", Effect: "deny", Verbs: []string{"call"}, Addresses: []string{"door:/secret"}, When: "!(has(claims.role) && claims.role == 'editor')"},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	_, err := ropewalk.Call[string](ctx, c, "door:/secret", nil)
	if code := message.CodeOf(err); code != message.CodeUnauthenticated && code != message.CodeForbidden {
		t.Fatalf("nobody may have it: %v", err)
	}
	if got, err := ropewalk.Call[string](ctx, c, "door:/in", map[string]string{"User": "anna", "Role": "editor", "Pin": "1234"}); err != nil || got != "welcome" {
		t.Fatal(got, err)
	}
	if got, err := ropewalk.Call[string](ctx, c, "door:/secret", nil); err != nil || got != treasure {
		t.Fatalf("anna may have it: %v %v", got, err)
	}
	who, err := ropewalk.Call[map[string]any](ctx, c, "door:/who", nil)
	if err != nil || who["subject"] != "anna" || who["role"] != "editor" || who["pin"] != "1234" {
		t.Fatal(who, err)
	}
	me, err := ropewalk.Call[json.RawMessage](ctx, c, "node:/session", nil)
	if err != nil || !json.Valid(me) || contains(me, "1234") || !contains(me, "anna") {
		t.Fatalf("%s %v", me, err)
	}
	if _, err := ropewalk.Call[string](ctx, c, "door:/out", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ropewalk.Call[string](ctx, c, "door:/secret", nil); err == nil {
		t.Fatal("nobody may have it again")
	}
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }

// guarded starts a node with rules and the service of logins, and connects to
// it.
func guarded(t *testing.T, rules policy.Config) *client.Client {
	t.Helper()
	n, url := startNode(t, func(c *ropewalk.Config) { c.Allow, c.Permissions = nil, rules })
	if err := n.Serve(logins()); err != nil {
		t.Fatal(err)
	}
	return dial(t, url)
}
