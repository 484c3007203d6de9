package ropewalk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// TestAuditLogOfANode has all happen of which the audit log has to tell.
func TestAuditLogOfANode(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	chiefs := policy.Rule{Name: "chiefs", Verbs: []string{"admin"}, Addresses: []string{"node:/**"}, When: "session.subject == 'anna'"}
	n, url := door(t, func(c *ropewalk.Config) {
		c.Audit = audit.Config{File: file}
		c.Permissions.Rules = append(c.Permissions.Rules, chiefs)
		next := *c
		next.Permissions.Rules = append(slices.Clip(c.Permissions.Rules), policy.Rule{Name: "new", Verbs: []string{"call"}, Addresses: []string{"door:/new"}})
		c.Source = func(context.Context) (ropewalk.Config, error) {
			made := next
			next.Permissions.Rules = nil // what comes next is wrong
			next.Middleware = []ropewalk.Middleware{{Stage: "nowhere", Kind: "retry"}}
			return made, nil
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := dial(t, url, quiet)
	do := func(wanted bool, address string, in any) {
		t.Helper()
		if _, err := ropewalk.Call[json.RawMessage](ctx, c, address, in); (err == nil) != wanted {
			t.Errorf("%s: %v", address, err)
		}
	}
	do(false, "door:/secret", nil)
	do(false, "node:/session/revoke", nodeapi.Revoke{Subject: "ben"})
	do(false, "node:/session/open", nodeapi.Open{Token: "not one"})
	do(true, "node:/session/open", nodeapi.Open{Token: tokenOf(t)})
	do(true, "node:/middleware/insert", map[string]any{"stage": "call", "kind": "breaker"})
	do(true, "node:/middleware/remove", map[string]any{"stage": "call", "name": "breaker"})
	do(true, "node:/session/revoke", nodeapi.Revoke{Subject: "ben", Reason: "lost"})
	do(true, "node:/reload", nil)
	do(false, "node:/reload", nil)
	do(true, "door:/out", nil)
	do(true, "door:/in", map[string]string{"User": "anna", "Role": "editor"})
	do(true, "node:/session/close", nodeapi.Close{Everywhere: true})
	if err := n.SetPermissions(policy.Config{Preset: "closed", Rules: []policy.Rule{chiefs}}); err != nil {
		t.Fatal(err)
	}
	if err := n.RevokeSessions(ctx, keeper.Revocation{Subject: "carla"}); err != nil {
		t.Fatal(err)
	}
	text := written(t, n, file)
	type line struct {
		kind                  audit.Kind
		outcome               audit.Outcome
		subject, rule, detail string
	}
	var got []line
	for e, err := range audit.Read(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		byClient := e.Detail != "set by the program" && e.Detail != "revoked subject carla"
		if e.Node != "test" || byClient != (e.Who.Client == c.ID() && e.Who.IP == "127.0.0.1") {
			t.Errorf("who, and where? %+v", e)
		}
		got = append(got, line{e.Kind, e.Outcome, e.Who.Subject, e.Rule, e.Detail})
	}
	want := []line{
		{audit.KindAccess, audit.Refused, "", "secrets are for editors", ""},
		{audit.KindAccess, audit.Refused, "", "preset", ""},
		{audit.KindSession, audit.Refused, "", "", "the token cannot be read"},
		{audit.KindSession, audit.Done, "anna", "", "opened"},
		{audit.KindMiddleware, audit.Done, "anna", "", `inserted "breaker", stage call`},
		{audit.KindMiddleware, audit.Done, "anna", "", `removed "breaker", stage call`},
		{audit.KindSession, audit.Done, "anna", "", "revoked subject ben: lost"},
		{audit.KindPermissions, audit.Done, "anna", "", "set by a reload"},
		{audit.KindConfig, audit.Done, "anna", "", "changed: permissions.rules"},
		{audit.KindConfig, audit.Failed, "anna", "", `middleware[0]: not_found: there is no stage "nowhere"`},
		{audit.KindLogout, audit.Done, "anna", "", ""},
		{audit.KindLogin, audit.Done, "anna", "", ""},
		{audit.KindLogout, audit.Done, "anna", "", "everywhere"},
		{audit.KindPermissions, audit.Done, "", "", "set by the program"},
		{audit.KindSession, audit.Done, "", "", "revoked subject carla"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestAuditLogCannotBeForged has texts of clients that look like lines of the log
// come into it by each way that there is: as the name of who logs in, as an
// address, and as a reason.
func TestAuditLogCannotBeForged(t *testing.T) {
	t.Parallel()
	const (
		line    = `"}},{"kind":"login","outcome":"done","who":{"subject":"root"}}`
		forged  = "\n" + line + "\r\x1b[31m\u2028\u202e"
		escaped = `\n` + line + `\r\x1b[31m\u2028\u202e`
	)
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	var log safeBuffer
	n, url := door(t, func(c *ropewalk.Config) {
		c.Audit = audit.Config{File: file, Log: true}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Permissions.Rules = append(c.Permissions.Rules, policy.Rule{Verbs: []string{"admin"}, Addresses: []string{"node:/**"}})
	})
	c := dial(t, url, quiet)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	in := func(name string) error {
		_, err := ropewalk.Call[string](ctx, c, "door:/in", map[string]string{"User": name, "Role": "guest"})
		return err
	}
	if err := in(forged); message.CodeOf(err) != message.CodeInvalidInput { // it is no name
		t.Fatalf("log in: %v", err)
	}
	if err := in("eve" + line); err != nil {
		t.Fatal(err)
	}
	for address, code := range map[string]message.Code{"door:/" + forged: message.CodeBadAddress, "door:/" + line + "\u2028\u202e": message.CodeForbidden} {
		if _, err := c.Publish(ctx, address, 1); message.CodeOf(err) != code {
			t.Fatalf("publish to %q: %v", address, err)
		}
	}
	if _, err := ropewalk.Call[json.RawMessage](ctx, c, "node:/session/revoke", nodeapi.Revoke{Subject: "ben", Reason: forged}); err != nil {
		t.Fatal(err)
	}
	text := written(t, n, file)
	want := []audit.Event{
		{Kind: audit.KindLogin, Outcome: audit.Done},
		{Kind: audit.KindAccess, Outcome: audit.Refused, Verb: "publish", Address: "door:/" + line + `\u2028\u202e`, Rule: "preset", Code: message.CodeForbidden},
		{Kind: audit.KindSession, Outcome: audit.Done, Detail: "revoked subject ben: " + escaped},
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %s", len(lines), text)
	}
	for i, text := range lines {
		e, err := audit.Parse(text)
		if err != nil || e.Who.Subject != "eve"+line || bytes.ContainsAny(text, "\r\x1b\u2028\u202e") {
			t.Errorf("%q: %v", text, err)
		}
		e.Who, e.Time, e.Node = audit.Who{}, time.Time{}, ""
		if e != want[i] {
			t.Errorf("line %d is %+v", i, e)
		}
	}
	if text := log.String(); strings.Count(text, "msg=audit") != len(want) || strings.ContainsAny(text, "\r\x1b\u2028\u202e") {
		t.Errorf("the log is %q", text)
	}
}

// written is what is in the audit log of a node that stops now.
func written(t *testing.T, n *ropewalk.Node, file string) []byte {
	t.Helper()
	end, stop := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer stop()
	if err := n.Shutdown(end); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
