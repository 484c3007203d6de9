package ropewalk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
)

const testSecret = "a secret of the tests, of 32 characters and more"

// keys are how nodes of the tests sign their tokens.
func keys(c *ropewalk.Config) {
	c.Allow = nil
	c.Sessions.Tokens = token.Config{Secret: testSecret}
}

// tokenOf is a token as a node of the tests would make it.
func tokenOf(t *testing.T, change ...func(*session.Session)) string {
	t.Helper()
	codec, err := token.New(token.Config{Secret: testSecret}, token.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer codec.Close()
	s := session.New("anna", session.Claims{"role": "editor"}, session.Claims{"pin": "1234"})
	s.Expires = time.Now().Add(time.Hour)
	for _, f := range change {
		f(s)
	}
	text, err := codec.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func secretsForEditors(c *ropewalk.Config) {
	keys(c)
	c.Permissions.Rules = []policy.Rule{{
		Name: "secrets are for editors", Effect: "deny", Verbs: []string{"call", "send"}, Addresses: []string{"door:/secret"},
		When: "!(has(claims.role) && claims.role == 'editor')",
	}}
}

// door starts a node with the service of logins.
func door(t *testing.T, change ...func(*ropewalk.Config)) (*ropewalk.Node, string) {
	t.Helper()
	n, url := startNode(t, append([]func(*ropewalk.Config){secretsForEditors}, change...)...)
	if err := n.Serve(logins()); err != nil {
		t.Fatal(err)
	}
	return n, url
}

func TestPermissionsCannotBeSpelledPast(t *testing.T) {
	t.Parallel()
	n, url := door(t)
	c := dial(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, address := range []string{
		"door:/secret", "door:/secret/", "door://secret", "door:/./secret", "door:/x/../secret", "DOOR:/secret", "door:/SECRET",
		"door:/%73ecret", "door:/secret%2f", "door:/secret?x=1", "door:[get]/secret", n.ID() + "@door:/secret", "*:/secret", "door:/*",
		"door:/**", "*:/*", n.ID() + "-1@door:/secret", "door:/secret#x", "door:\\secret", "door:/secret;x",
	} {
		for _, by := range []string{"", route.ByAll, route.ByFirst, "majority"} {
			var opts []ropewalk.CallOption
			if by != "" {
				opts = append(opts, call.WithStrategy(route.Selection{By: by}))
			}
			a, err := c.Call(ctx, address, nil, opts...)
			if err == nil && bytes.Contains(a.Body, []byte(treasure)) {
				t.Errorf("%s by %q: %s", address, by, a.Body)
			}
		}
	}
	if got, err := ropewalk.Call[string](ctx, n, "door:/secret", nil); err != nil || got != treasure {
		t.Errorf("the node itself: %q, %v", got, err)
	}
}

func TestTokensThatAreNoGood(t *testing.T) {
	t.Parallel()
	_, url := door(t)
	good := tokenOf(t)
	other, err := token.New(token.Config{Secret: strings.Repeat("another secret ", 4)}, token.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	s := session.New("anna", nil, nil)
	s.Expires = time.Now().Add(time.Hour)
	forged, err := other.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	none := "eyJhbGciOiJub25lIiwidHlwIjoicm9wZXdhbGsrand0In0"
	for name, bad := range map[string]string{
		"forged": forged, "no signature": head + "." + body + ".", "algorithm none": none + "." + body + ".",
		"giant": good + strings.Repeat("A", 1<<16), "an id": s.ID, "words": "let me in",
		"a word of the store": "rws_" + strings.Repeat("A", 43),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, url, quiet)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := ropewalk.Call[nodeapi.SessionAnswer](ctx, c, "node:/session/open", nodeapi.Open{Token: bad})
			wantCode(t, err, message.CodeUnauthenticated)
			if strings.Contains(err.Error(), bad) {
				t.Error("the error repeats the token")
			}
			if _, err := ropewalk.Call[string](ctx, c, "door:/secret", nil); err == nil {
				t.Error("it opened something")
			}
			if code := dialWith(ctx, t, url, http.Header{"Authorization": {"Bearer " + bad}}); code != int(edge.CloseUnauthenticated) && name != "giant" {
				t.Errorf("in the header: closed with %d", code)
			}
		})
	}
}

// dialWith connects with a header and returns the code with which the node
// closes the connection; 0 if it lets it be.
func dialWith(ctx context.Context, t *testing.T, url string, h http.Header) int {
	t.Helper()
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{edge.ProtocolJSON}})
	if err != nil {
		return -1
	}
	defer c.CloseNow() //nolint:errcheck // it may be closed
	if err := c.Write(ctx, websocket.MessageText, []byte(`{"to":"door:/secret","mid":"1"}`)); err != nil {
		return int(websocket.CloseStatus(err))
	}
	for {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return int(websocket.CloseStatus(err))
		}
		if bytes.Contains(frame, []byte(`"rmid":"1"`)) {
			if bytes.Contains(frame, []byte(treasure)) {
				return 0
			}
			return 1
		}
	}
}

func TestCredentialsThatComeWithTheConnection(t *testing.T) {
	t.Parallel()
	_, url := door(t, func(c *ropewalk.Config) {
		c.Sessions.Cookie = "ropewalk"
		c.Listeners["main"] = ropewalk.Listener{Address: "127.0.0.1:0", Origins: []string{"https://app.example", "*"}}
	})
	good := tokenOf(t)
	here := "http" + strings.TrimPrefix(url, "ws")
	for _, c := range []struct {
		name string
		h    http.Header
		in   bool
	}{
		{"header", http.Header{"Authorization": {"Bearer " + good}}, true},
		{"cookie of our page", http.Header{"Cookie": {"a=b; ropewalk=" + good}, "Origin": {here}}, true},
		{"cookie of a page that is named", http.Header{"Cookie": {"ropewalk=" + good}, "Origin": {"https://app.example"}}, true},
		{"cookie of a page that * lets in", http.Header{"Cookie": {"ropewalk=" + good}, "Origin": {"https://evil.example"}}, false},
		{"cookie without an origin", http.Header{"Cookie": {"ropewalk=" + good}}, false},
		{"cookie of a page that pretends", http.Header{"Cookie": {"ropewalk=" + good}, "Origin": {"https://app.example.evil.example"}}, false},
		{"cookie, origin null", http.Header{"Cookie": {"ropewalk=" + good}, "Origin": {"null"}}, false},
		{"another cookie", http.Header{"Cookie": {"other=" + good}, "Origin": {here}}, false},
		{"nothing", http.Header{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if code := dialWith(ctx, t, url, c.h); (code == 0) != c.in {
				t.Errorf("let in: %t (%d)", code == 0, code)
			}
		})
	}
}

func TestClientCannotSayWhoItIs(t *testing.T) {
	t.Parallel()
	_, url := door(t)
	raw := dialRaw(t.Context(), t, url)
	if _, err := raw.next(); err != nil { // the welcome
		t.Fatal(err)
	}
	for i, verb := range []string{"call", "send"} {
		frame := fmt.Sprintf(`{"vrb":%q,"to":"door:/who","mid":"%d","ack":true,"ses":{"id":"x","subject":"root","public":{"role":"editor"}}}`, verb, i)
		if err := raw.send(frame); err != nil {
			t.Fatal(err)
		}
		m, err := raw.next()
		if err != nil || bytes.Contains(m.Body, []byte("root")) || bytes.Contains(m.Body, []byte("editor")) {
			t.Errorf("%s: %s %v", verb, m.Body, err)
		}
	}
}

// impostor serves a path that logs its callers in and tells what it sees of
// them.
func impostor(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	svc := ropewalk.NewService("helper")
	svc.Handle("/promote", ropewalk.Handle(func(ctx context.Context, _ struct{}) (any, error) {
		root := "root"
		return service.SessionOf(ctx).Secret["pin"], service.ChangeSession(ctx, session.Patch{Subject: &root, Set: session.Claims{"role": "editor"}})
	}))
	if err := dial(t, url).Serve(ctx, svc); err != nil {
		t.Fatal(err)
	}
}

func TestServiceOfAConnectionAndSessions(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted %t", trusted), func(t *testing.T) {
			t.Parallel()
			_, url := door(t, func(c *ropewalk.Config) {
				verbs := []string{"serve"}
				if trusted {
					verbs = append(verbs, "session")
				}
				c.Permissions.Rules = append(c.Permissions.Rules, policy.Rule{Name: "helpers", Verbs: verbs, Addresses: []string{"helper:/**"}})
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			impostor(ctx, t, url)
			c := dial(t, url)
			if _, err := ropewalk.Call[string](ctx, c, "door:/in", map[string]string{"User": "anna", "Role": "guest", "Pin": "1234"}); err != nil {
				t.Fatal(err)
			}
			pin, err := ropewalk.Call[any](ctx, c, "helper:/promote", nil)
			if err != nil || (pin == "1234") != trusted {
				t.Errorf("it sees %v, %v", pin, err)
			}
			_, err = ropewalk.Call[string](ctx, c, "door:/secret", nil)
			if (err == nil) != trusted {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestSessionFixation(t *testing.T) {
	t.Parallel()
	_, url := door(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// The attacker has a session without a name, and has the victim use it.
	planted := tokenOf(t, func(s *session.Session) { s.Subject, s.Public = "", nil })
	attacker, victim := dial(t, url, quiet), dial(t, url, quiet)
	for _, c := range []*client.Client{attacker, victim} {
		if _, err := ropewalk.Call[any](ctx, c, "node:/session/open", nodeapi.Open{Token: planted}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := ropewalk.Call[json.RawMessage](ctx, victim, "node:/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ropewalk.Call[string](ctx, victim, "door:/in", map[string]string{"User": "anna", "Role": "editor"}); err != nil {
		t.Fatal(err)
	}
	after, err := ropewalk.Call[json.RawMessage](ctx, victim, "node:/session", nil)
	if err != nil || idOf(before) == idOf(after) || idOf(after) == "" {
		t.Fatalf("the id stayed: %s %s %v", before, after, err)
	}
	if _, err := ropewalk.Call[string](ctx, attacker, "door:/secret", nil); err == nil {
		t.Error("the attacker's connection is logged in, too")
	}
	again := dial(t, url, quiet)
	if _, err := ropewalk.Call[any](ctx, again, "node:/session/open", nodeapi.Open{Token: planted}); err == nil {
		t.Error("the token from before is still good")
	}
}

func idOf(answer json.RawMessage) string {
	var a struct{ Session struct{ ID string } }
	_ = json.Unmarshal(answer, &a)
	return a.Session.ID
}

func TestServedPathsAndStreamsAreCheckedAgain(t *testing.T) {
	t.Parallel()
	n, url := door(t, func(c *ropewalk.Config) {
		c.Permissions.Rules = append(c.Permissions.Rules, policy.Rule{
			Name: "editors serve", Verbs: []string{"serve"}, Addresses: []string{"helper:/**"}, When: "has(claims.role) && claims.role == 'editor'",
		})
	})
	svc := ropewalk.NewService("slow")
	svc.Handle("/wait", ropewalk.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}))
	if err := n.Serve(svc); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := dial(t, url, quiet)
	helper := ropewalk.NewService("helper")
	helper.Handle("/x", ropewalk.Handle(func(context.Context, struct{}) (string, error) { return "x", nil }))
	if err := c.Serve(ctx, helper); message.CodeOf(err) != message.CodeUnauthenticated && message.CodeOf(err) != message.CodeForbidden {
		t.Fatalf("nobody may serve: %v", err)
	}
	in := map[string]string{"User": "anna", "Role": "editor"}
	if _, err := ropewalk.Call[string](ctx, c, "door:/in", in); err != nil {
		t.Fatal(err)
	}
	if err := c.Serve(ctx, helper); err != nil {
		t.Fatalf("an editor may: %v", err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := ropewalk.Call[string](ctx, c, "slow:/wait", nil)
		waiting <- err
	}()
	eventually(t, "the call is there", func() bool { return inFlight(t, n) > 0 })

	// The rules change: what runs, and is served, ends at once.
	rules := policy.Config{Rules: []policy.Rule{{Name: "nothing slow", Effect: "deny", Verbs: []string{"call"}, Addresses: []string{"slow:/**"}}}}
	if err := n.SetPermissions(rules); err != nil {
		t.Fatal(err)
	}
	wantCode(t, take(t, waiting, "the end of the call"), message.CodeForbidden)
	eventually(t, "nobody serves helper:/x", func() bool { return serversOf(n, "helper:/x") == 0 })
	if err := n.SetPermissions(policy.Config{Rules: []policy.Rule{{Name: "x", When: "1 +"}}}); err == nil {
		t.Error("rules that cannot be read were taken")
	}
}

func TestLogOutEverywhere(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		t.Helper()
		w.add([]string{"a", "b"}, secretsForEditors)
		for _, n := range w.nodes {
			if err := n.Serve(logins()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		one, other := dial(t, w.urls[0], quiet, client.WithoutFollow()), dial(t, w.urls[1], quiet, client.WithoutFollow())
		text := tokenOf(t)
		for _, c := range []*client.Client{one, other} {
			if _, err := ropewalk.Call[any](ctx, c, "node:/session/open", nodeapi.Open{Token: text}); err != nil {
				t.Fatal(err)
			}
			if got, err := ropewalk.Call[string](ctx, c, "door:/secret", nil); err != nil || got != treasure {
				t.Fatal(got, err)
			}
		}
		if _, err := ropewalk.Call[any](ctx, one, "node:/session/close", nodeapi.Close{Everywhere: true}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client.Client{one, other} {
			eventually(t, "logged out", func() bool {
				_, err := ropewalk.Call[string](ctx, c, "door:/secret", nil)
				return err != nil
			})
			_, err := ropewalk.Call[any](ctx, c, "node:/session/open", nodeapi.Open{Token: text})
			wantCode(t, err, message.CodeUnauthenticated)
		}
	})
}

func TestNobodyManagesSessionsOfOthers(t *testing.T) {
	t.Parallel()
	_, url := door(t)
	c := dial(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for address, body := range map[string]any{
		"node:/session/list":        nil,
		"node:/session/revoke":      nodeapi.Revoke{Subject: "anna"},
		"node:/session/revocations": nodeapi.Revocations{Revocations: []keeper.Revocation{{Subject: "anna"}}},
		"node:/middleware/remove":   map[string]string{"stage": "call", "name": "log"},
		"node:/drain":               map[string]bool{"on": true},
	} {
		_, err := ropewalk.Call[any](ctx, c, address, body)
		wantCode(t, err, message.CodeForbidden)
	}
	svc := ropewalk.NewService("login")
	svc.Handle("/password", ropewalk.Handle(func(context.Context, struct{}) (string, error) { return "thanks", nil }))
	if err := c.Serve(ctx, svc); err == nil {
		t.Error("a client serves login:/password")
	}
}

// TestAddressesOfClients looks for where others are.
func TestAddressesOfClients(t *testing.T) {
	t.Parallel()
	_, url := door(t, func(c *ropewalk.Config) {
		c.Permissions.Rules = append(c.Permissions.Rules, policy.Rule{
			Name: "chiefs", Verbs: []string{"admin", "watch"}, Addresses: []string{"node:/**"}, When: "session.subject == 'anna'",
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := dial(t, url)
	for _, body := range []any{nil, nodeapi.ClientQuery{Limit: 10}} {
		a, err := c.Call(ctx, "node:/clients", body)
		if err != nil || strings.Contains(string(a.Body), "127.0.0.1") {
			t.Errorf("it tells %s, %v", a.Body, err)
		}
	}
	_, err := c.Call(ctx, "node:/clients", nodeapi.ClientQuery{Addresses: true})
	wantCode(t, err, message.CodeUnauthenticated)
	_, err = c.Call(ctx, "node:/clients?addresses=true", nil)
	wantCode(t, err, message.CodeUnauthenticated)
	if _, err := c.OpenSession(ctx, tokenOf(t)); err != nil {
		t.Fatal(err)
	}
	a, err := c.Call(ctx, "node:/clients?addresses=true", nil)
	if err != nil || !strings.Contains(string(a.Body), `"remoteAddr":"127.0.0.1:`) {
		t.Errorf("an administrator is told %s, %v", a.Body, err)
	}
	w := c.Watch(ctx, "node:/clients?addresses=true")
	defer func() { _ = w.Close() }()
	if u, err := w.Next(ctx); err == nil && (u.Fault == nil || strings.Contains(string(u.Body), "127.0.0.1")) {
		t.Errorf("who watches is told %s", u.Body)
	}
}

func TestTokensAreInNoLog(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	_, url := door(t, func(c *ropewalk.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	good := tokenOf(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := dial(t, url, quiet)
	for _, text := range []string{good, good + "x"} {
		_, _ = ropewalk.Call[any](ctx, c, "node:/session/open", nodeapi.Open{Token: text})
		_ = dialWith(ctx, t, url, http.Header{"Authorization": {"Bearer " + text}})
	}
	// Proxies log addresses: what stands in one is no credential.
	for _, name := range []string{"token", "access_token", "authorization", "aut"} {
		if code := dialWith(ctx, t, url+"/?"+name+"="+good, nil); code == 0 {
			t.Errorf("%s in the address opened the door", name)
		}
	}
	if text := log.String(); strings.Contains(text, good) || strings.Contains(text, "1234") || strings.Contains(text, testSecret) {
		t.Error("a secret is in the log")
	}
}
