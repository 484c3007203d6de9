package ropewalk_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/otlp"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

// plantedSecrets are what a node, or somebody who talks to it, knows and nobody
// may read anywhere: whoever adds a secret to a configuration or to a message
// adds one here, plants it in [secretive], and uses it in [secretTraffic].
var plantedSecrets = map[string]string{
	"secret of the mesh":          "planted-mesh-secret-0123456789",
	"secret of tokens":            "planted-token-secret-0123456789-0123456789",
	"secret of tokens of before":  "planted-former-secret-0123456789-0123456789",
	"secret of a middleware":      "planted-middleware-secret",
	"header of traces":            "planted-trace-header",
	"wrong secret of a client":    "planted-wrong-secret",
	"password in a body":          "planted-password",
	"secret claim":                "planted-claim",
	"token in the query of a URL": "planted-query-token",
	"credential of a handshake":   "planted-credential",
	"cookie":                      "planted-cookie",
	"password in a NATS URL":      "planted-nats-password",
	"input of the wrong type":     "planted-wrong-type",
	"text of an internal error":   "planted-internal-error",
}

// loggedSecrets are those that the log has on purpose: what a handler says went
// wrong is for the operator alone.
var loggedSecrets = map[string]bool{"text of an internal error": true}

// secretive is the configuration of a node that has all the secrets.
func secretive(t *testing.T, level, collector, auditFile string) ropewalk.Config {
	t.Helper()
	return ropewalk.Config{
		Name:      "secretive",
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Mesh:      ropewalk.Mesh{Cluster: "127.0.0.1:0", Secret: plantedSecrets["secret of the mesh"]},
		Log:       ropewalk.Log{Level: level},
		Trace: ropewalk.Trace{
			Endpoint: collector, Headers: map[string]string{"X-Key": plantedSecrets["header of traces"]},
		},
		Audit: audit.Config{File: auditFile, Log: true},
		Sessions: ropewalk.Sessions{Cookie: "sid", Tokens: token.Config{
			Secret: plantedSecrets["secret of tokens"], OldSecrets: []string{plantedSecrets["secret of tokens of before"]},
		}},
		Permissions: policy.Config{Preset: "dev", Rules: []policy.Rule{
			{Name: "nobody", Effect: "deny", Verbs: []string{"call"}, Addresses: []string{"door:/forbidden"}},
		}},
		Middleware: []ropewalk.Middleware{
			{Stage: "inbound", Kind: "recover"}, {Stage: "call", Kind: "metrics"}, {Stage: "call", Kind: "trace"}, {Stage: "call", Kind: "log"},
			{Stage: "serve", Kind: "secret", Settings: map[string]any{"secrets": []string{plantedSecrets["secret of a middleware"]}}},
		},
	}
}

// witness collects what a node shows to people, in several goroutines.
type witness struct {
	mu   sync.Mutex
	seen map[string]*bytes.Buffer
}

// at is where something was seen.
func (w *witness) at(place string) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.seen[place] == nil {
			w.seen[place] = new(bytes.Buffer)
		}
		return w.seen[place].Write(p)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// search fails the test for each secret that was seen, also in base64.
func (w *witness) search(t *testing.T, secrets map[string]string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for place, text := range w.seen {
		for name, secret := range secrets {
			if place == "log" && loggedSecrets[name] {
				continue
			}
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
				if i := bytes.Index(text.Bytes(), []byte(form)); i >= 0 {
					t.Errorf("the %s is in the %s: …%.300s…", name, place, text.Bytes()[max(i-150, 0):])
					break
				}
			}
		}
	}
}

// must fails unless something was seen at each place: a search of nothing finds
// nothing.
func (w *witness) must(t *testing.T, places map[string]string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for place, part := range places {
		if b := w.seen[place]; b == nil || !strings.Contains(b.String(), part) {
			t.Errorf("the %s has no %q: %.2000v", place, part, b)
		}
	}
}

func (w *witness) collector(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := gzip.NewReader(r.Body); err == nil {
			_, _ = io.Copy(w.at("traces"), body)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestSecretsAreShownNowhere(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"debug", "info", "warn", "error"} {
		for _, format := range []string{"text", "json"} {
			t.Run(level+" "+format, func(t *testing.T) {
				t.Parallel()
				secretsOfOneNode(t, level, format)
			})
		}
	}
}

func secretsOfOneNode(t *testing.T, level, format string) {
	t.Helper()
	w := &witness{seen: make(map[string]*bytes.Buffer)}
	auditFile := filepath.Join(t.TempDir(), "audit.jsonl")
	cfg := secretive(t, level, w.collector(t), auditFile)
	var at slog.LevelVar
	if err := at.UnmarshalText([]byte(level)); err != nil {
		t.Fatal(err)
	}
	cfg.LogLevel = &at
	opts := &slog.HandlerOptions{Level: &at}
	cfg.Logger = slog.New(slog.NewTextHandler(w.at("log"), opts))
	if format == "json" {
		cfg.Logger = slog.New(slog.NewJSONHandler(w.at("log"), opts))
	}
	tracer, stop, err := otlp.New(t.Context(), otlp.Config{Endpoint: cfg.Trace.Endpoint, Sample: 1, Headers: cfg.Trace.Headers, Logger: cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tracer = tracer
	plane, err := natsplane.New(natsplane.Config{Cluster: cfg.Mesh.Cluster, Secret: cfg.Mesh.Secret}, cfg.Logger)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Backplane = plane
	n, wsURL := startNode(t, func(c *ropewalk.Config) { *c = cfg })
	serveSecretive(t, n)
	secrets := secretTraffic(t, w, n, cfg, wsURL)
	for _, v := range config.Values(cfg, nil) {
		fmt.Fprintln(w.at("configuration"), v)
	}
	res, err := http.Get("http" + strings.TrimPrefix(wsURL, "ws") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(w.at("metrics"), res.Body)
	_ = res.Body.Close()
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(auditFile)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.at("audit log").Write(text)
	w.search(t, secrets)
	places := map[string]string{
		"traces": "door:", "metrics": "ropewalk_calls_total", "audit log": "door:/forbidden", "configuration": "mesh.secret", "answers": "secretive",
		"errors": "unauthenticated", "tap": "door:/",
	}
	if level == "debug" || level == "info" {
		places["log"] = "door:/"
	}
	w.must(t, places)
}

// serveSecretive serves what makes mistakes.
func serveSecretive(t *testing.T, n *ropewalk.Node) {
	t.Helper()
	s := logins()
	s.Handle("/fail", ropewalk.Handle(func(context.Context, json.RawMessage) (string, error) {
		return "", fmt.Errorf("the data base said: wrong password %s", plantedSecrets["text of an internal error"])
	}))
	s.Handle("/panic", ropewalk.Handle(func(_ context.Context, in map[string]string) (string, error) {
		panic(len(in["password"]))
	}))
	s.Handle("/forbidden", ropewalk.Handle(func(context.Context, struct{}) (string, error) { return "", nil }))
	s.Handle("/typed", ropewalk.Handle(func(_ context.Context, in struct{ N int }) (int, error) { return in.N, nil }))
	if err := n.Serve(s); err != nil {
		t.Fatal(err)
	}
}

// secretTraffic has people use their secrets, rightly and wrongly, and keeps what
// they are shown. It returns all secrets.
//
//nolint:funlen // one thing after the other
func secretTraffic(t *testing.T, w *witness, n *ropewalk.Node, cfg ropewalk.Config, wsURL string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	codec, err := token.New(cfg.Sessions.Tokens, token.Options{Mesh: cfg.Mesh.Name, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer codec.Close()
	who := session.New("anna", session.Claims{"role": "editor"}, session.Claims{"pin": plantedSecrets["secret claim"]})
	who.Expires = time.Now().Add(time.Hour)
	issued, err := codec.Encode(who)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"issued token": issued, "signature of the issued token": issued[strings.LastIndexByte(issued, '.')+1:]}
	maps.Copy(secrets, plantedSecrets)
	fail := func(err error) {
		if err != nil {
			e := message.AsError(err)
			fmt.Fprintln(w.at("errors"), err, e.Code, e.Message, e.Hint, string(e.Details))
		}
	}
	quietly := client.WithLogger(slog.New(slog.NewTextHandler(w.at("log of the client"), &slog.HandlerOptions{Level: slog.LevelDebug})))
	c := dial(t, wsURL, quietly, bearer(issued))

	var taps sync.WaitGroup
	tapCtx, endTap := context.WithCancel(ctx)
	// Bodies are shown to those who ask for them, but for what is called password
	// and the like.
	right, wrong := call.WithAuthorization(plantedSecrets["secret of a middleware"]), call.WithAuthorization(plantedSecrets["wrong secret of a client"])
	for _, in := range []nodeapi.Tap{{}, {Pattern: "door:/fail", Body: 4096}} {
		s := call.Streamed[nodeapi.Tapped, nodeapi.TapEnd](tapCtx, c, "node:/tap", in, right)
		open := make(chan struct{})
		taps.Go(func() {
			begun := sync.OnceFunc(func() { close(open) })
			for p, err := range s.Parts() {
				if text, bad := json.Marshal(p); err == nil && bad == nil {
					_, _ = w.at("tap").Write(text)
					begun()
				}
			}
		})
		untilOpen(ctx, t, open, func() { _, _ = c.Call(ctx, "door:/fail", nil, right) })
	}
	wrongInput := map[string]any{"password": plantedSecrets["password in a body"], "N": plantedSecrets["input of the wrong type"]}
	body := map[string]any{"password": plantedSecrets["password in a body"], "User": "anna", "Role": "editor", "Pin": plantedSecrets["secret claim"]}
	for _, path := range []string{"/in", "/panic", "/forbidden", "/typed", "/none", "/who?token=" + plantedSecrets["token in the query of a URL"]} {
		for _, opt := range []call.Option{right, wrong} {
			_, err := c.Call(ctx, "door:"+path, body, opt)
			fail(err)
			_, err = c.Call(ctx, "door:/typed", wrongInput, opt)
			fail(err)
			_, err = c.Call(ctx, "door:/fail", map[string]any{"password": plantedSecrets["password in a body"]}, opt)
			fail(err)
		}
	}
	for _, name := range []string{"credential of a handshake", "wrong secret of a client"} {
		_, err := client.Dial(ctx, wsURL, quietly, bearer(plantedSecrets[name]))
		fail(err)
		_, err = client.Dial(ctx, wsURL, quietly, bearer(issued[:len(issued)-8]+"AAAAAAAA"))
		fail(err)
	}
	header := http.Header{
		"Authorization": {"Bearer " + plantedSecrets["credential of a handshake"]}, "Cookie": {"sid=" + plantedSecrets["cookie"]},
		"Origin": {"http" + strings.TrimPrefix(wsURL, "ws")},
	}
	late, stopDial := context.WithTimeout(ctx, time.Second)
	defer stopDial()
	if other, err := client.Dial(late, wsURL, quietly, client.WithHTTPHeader(header)); err == nil {
		_ = other.Close()
	} else {
		fail(err)
	}
	for _, spoil := range []func(*ropewalk.Config){
		func(c *ropewalk.Config) { c.Calls.Strategy = "x" },
		func(c *ropewalk.Config) {
			c.Middleware = []ropewalk.Middleware{{Stage: "call", Kind: "secret", Settings: map[string]any{"secrets": plantedSecrets["secret of a middleware"]}}}
		},
		func(c *ropewalk.Config) { c.Sessions.Tokens.Secret = plantedSecrets["secret of a middleware"] },
		func(c *ropewalk.Config) {
			c.Mesh.NATS = []string{"nats://me:" + plantedSecrets["password in a NATS URL"] + "@127.0.0.1:1"}
		},
		func(c *ropewalk.Config) { c.Mesh.Secret += plantedSecrets["wrong secret of a client"] },
	} {
		next := cfg
		spoil(&next)
		changes, err := n.Reload(next)
		fail(err)
		fmt.Fprintln(w.at("answers"), changes)
		another, err := ropewalk.New(next)
		fail(err)
		if err == nil {
			fail(another.Shutdown(ctx))
		}
	}
	answersOfNode(ctx, t, w, c, fail)
	endTap()
	taps.Wait()
	_ = c.Close()
	return secrets
}

// untilOpen does something again and again until a tap has shown it: it shows
// only what comes after its call was taken up.
func untilOpen(ctx context.Context, t *testing.T, open <-chan struct{}, try func()) {
	t.Helper()
	for {
		try()
		select {
		case <-open:
			return
		case <-ctx.Done():
			t.Fatal("a tap shows nothing")
		default:
		}
	}
}

// answersOfNode asks the node all that can be asked without input.
func answersOfNode(ctx context.Context, t *testing.T, w *witness, c *client.Client, fail func(error)) {
	t.Helper()
	right := call.WithAuthorization(plantedSecrets["secret of a middleware"])
	all, err := ropewalk.Call[[]route.ServiceInfo](ctx, c, "node:/services", nil, right)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name != nodeapi.Name || strings.ContainsAny(s.Path, "*{") || s.Path == "/tap" || s.Path == "/drain" || s.Path == "/session/close" {
			continue
		}
		if s.Path == "/session/open" || s.Path == "/session/refresh" {
			continue // the answer is for the owner of the token
		}
		a, err := c.Call(ctx, "node:"+s.Path, nil, right)
		fail(err)
		if err == nil {
			fmt.Fprintf(w.at("answers"), "%s %s\n", s.Path, a.Body)
		}
	}
}

// bearer is the credential that a client brings along.
func bearer(credential string) client.Option {
	return client.WithHTTPHeader(http.Header{"Authorization": {"Bearer " + credential}})
}
