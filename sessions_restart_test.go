package ropewalk_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
)

// TestRevocationsOutliveTheNode has a node whose keys outlive it: a token that was
// revoked must not be good again after a restart.
func TestRevocationsOutliveTheNode(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ropewalk.Config, string){
		"file": func(c *ropewalk.Config, dir string) { c.Sessions.Revocations = filepath.Join(dir, "revoked") },
		"beside the keys": func(c *ropewalk.Config, dir string) {
			c.Sessions.Tokens = token.Config{Dir: filepath.Join(dir, "keys")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			config := func(c *ropewalk.Config) { change(c, dir) }
			n, url := startNode(t, keys, config)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := n.Serve(logins()); err != nil {
				t.Fatal(err)
			}
			c := dial(t, url, quiet)
			if _, err := ropewalk.Call[any](ctx, c, "door:/in", map[string]string{"User": "anna", "Role": "editor"}); err != nil {
				t.Fatal(err)
			}
			text := c.Session().Token
			if text == "" {
				t.Fatal("there is no token")
			}
			if err := n.RevokeSessions(ctx, keeper.Revocation{Subject: c.Session().Subject}); err != nil {
				t.Fatal(err)
			}
			if err := n.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			_, url = startNode(t, keys, config)
			_, err := ropewalk.Call[any](ctx, dial(t, url, quiet), "node:/session/open", nodeapi.Open{Token: text})
			wantCode(t, err, message.CodeUnauthenticated)
			if err != nil && message.AsError(err).Message != "the session was ended" {
				t.Errorf("it was refused because %v", err)
			}
		})
	}
}
