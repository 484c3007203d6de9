package ropewalk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
)

// wire is a way to talk to a node without a client of ours, which would refuse to
// send what the attackers do.
type wire struct {
	name string
	// connect returns a function that sends a frame and returns what comes next.
	connect func(ctx context.Context, t *testing.T, url string, h http.Header) func(frame string) ([]byte, error)
}

// wires are all transports in all framings.
func wires() []wire {
	var list []wire
	for _, framing := range []string{"json", "split"} {
		list = append(list,
			wire{"websocket " + framing, func(ctx context.Context, t *testing.T, url string, h http.Header) func(string) ([]byte, error) {
				t.Helper()
				return onWebSocket(ctx, t, url, framing, h)
			}},
			wire{"poll " + framing, func(ctx context.Context, t *testing.T, url string, h http.Header) func(string) ([]byte, error) {
				t.Helper()
				return onPoll(ctx, t, url, framing, h)
			}})
	}
	return list
}

func onWebSocket(ctx context.Context, t *testing.T, url, framing string, h http.Header) func(string) ([]byte, error) {
	t.Helper()
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{"ropewalk.v1." + framing}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(1 << 20)
	kind := websocket.MessageText
	if framing == "split" {
		kind = websocket.MessageBinary
	}
	return func(frame string) ([]byte, error) {
		if frame != "" {
			if err := c.Write(ctx, kind, []byte(frame)); err != nil {
				return nil, err
			}
		}
		_, b, err := c.Read(ctx)
		return b, err
	}
}

func onPoll(ctx context.Context, t *testing.T, url, framing string, h http.Header) func(string) ([]byte, error) {
	t.Helper()
	base := "http" + strings.TrimPrefix(url, "ws") + "/ropewalk/v1/"
	header := h.Clone()
	if header == nil {
		header = make(http.Header)
	}
	post := func(path, body string) ([]byte, http.Header, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		req.Header = header.Clone()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if res.StatusCode >= http.StatusBadRequest {
			return b, res.Header, fmt.Errorf("%s: %s", res.Status, b)
		}
		return b, res.Header, err
	}
	b, _, err := post("open?framing="+framing, "")
	if err != nil {
		t.Fatal(err)
	}
	var opened struct{ Connection string }
	if err := json.Unmarshal(b, &opened); err != nil {
		t.Fatal(err)
	}
	header = http.Header{"Ropewalk-Connection": {opened.Connection}}
	t.Cleanup(func() {
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		ctx = end
		_, _, _ = post("close", "")
	})
	seq, ack := 0, "0"
	return func(frame string) ([]byte, error) {
		if frame != "" {
			seq++
			header.Set("Ropewalk-Seq", strconv.Itoa(seq))
			if _, _, err := post("send", strconv.Itoa(len(frame))+"\n"+frame); err != nil {
				return nil, err
			}
		}
		header.Set("Ropewalk-Ack", ack)
		b, h, err := post("poll", "")
		if err == nil {
			ack = h.Get("Ropewalk-Batch")
		}
		return b, err
	}
}

// answerTo sends a frame whose mid is "m" and returns what the node says to it.
func answerTo(ctx context.Context, say func(string) ([]byte, error), frame string) ([]byte, error) {
	for ctx.Err() == nil {
		b, err := say(frame)
		if err != nil || bytes.Contains(b, []byte(`"rmid":"m"`)) {
			return b, err
		}
		frame = "" // what came is the welcome, or news
	}
	return nil, ctx.Err()
}

// TestPermissionsCannotBeSpelledPastByFrames sends what no client of ours does, by
// all ways there are.
func TestPermissionsCannotBeSpelledPastByFrames(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, secretsForEditors)
	var opened atomic.Int32
	door := ropewalk.NewService("door")
	door.Handle("/secret", ropewalk.Handle(func(context.Context, json.RawMessage) (string, error) {
		opened.Add(1)
		return treasure, nil
	}))
	if err := n.Serve(door); err != nil {
		t.Fatal(err)
	}
	frames := []string{
		`{"to":"door:/other","to":"door:/secret","mid":"m"}`,
		`{"to":"door:/secret","to":"door:/other","mid":"m"}`,
		`{"to":"door:/\u0073ecret","mid":"m"}`,
		`{"t\u006f":"door:/secret","mid":"m"}`,
		`{"to":"door:/secret","from":"` + n.ID() + `@node:/","mid":"m"}`,
		`{"to":"door:/secret","frm":"` + n.ID() + `@node:/","version":"UMF/1.4.6","authorization":"editor","mid":"m"}`,
		`{"to":"door:/secret","ses":{"id":"x","subject":"anna","public":{"role":"editor"}},"mid":"m"}`,
		`{"to":"door:/secret","str":{"by":"all","quorum":1},"mid":"m"}`,
		`{"to":"*:/**","str":"all","mid":"m"}`, `{"to":"door:/**","str":"first","mid":"m"}`, `{"to":"door:/*","str":"majority","mid":"m"}`,
		`{"verb":"call","to":"door:/secret","hdr":{"idempotency-key":"1","priority":"high"},"mid":"m"}`,
		`{"vrb":"CALL","to":"door:/secret","mid":"m"}`,
	}
	for _, address := range []string{
		"door:/secret", "door:/secret/", "door://secret", "door:secret", "door:/./secret", "door:/x/../secret", "DOOR:/secret", "door:/SECRET",
		"door:/%73ecret", "door:/secret%2f", "door:/secret?x=1", "door:/secret?", "door:[get]/secret", "door:[]/secret", "@door:/secret", "door:/secret:",
		n.ID() + "@door:/secret", n.ID() + "-1@door:/secret", "*@door:/secret", "door:/{x}", "door:/secret#x", "door:\\\\secret", "door:/secret;x", " door:/secret",
	} {
		for _, verb := range []string{"call", "send", "watch", "get"} {
			frames = append(frames, fmt.Sprintf(`{"vrb":%q,"to":"%s","ack":true,"tmo":5,"mid":"m"}`, verb, address))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	for _, w := range wires() {
		for some := range slices.Chunk(frames, 50) { // who sends too much nonsense is closed
			say := w.connect(ctx, t, url, nil)
			for _, frame := range some {
				b, err := answerTo(ctx, say, frame)
				if err != nil || bytes.Contains(b, []byte(treasure)) || opened.Swap(0) > 0 {
					t.Errorf("%s: %s: %.300s, %v", w.name, frame, b, err)
				}
			}
		}
		// Whoever may gets in this way.
		say := w.connect(ctx, t, url, http.Header{"Authorization": {"Bearer " + tokenOf(t)}})
		if b, err := answerTo(ctx, say, `{"to":"door:/secret","mid":"m"}`); err != nil || !bytes.Contains(b, []byte(treasure)) || opened.Swap(0) != 1 {
			t.Errorf("%s: an editor: %s, %v", w.name, b, err)
		}
	}
}

// TestOwnServicesCannotBeShadowed has a client that may serve everything serve
// what would get the passwords of others, or answers in the place of the node.
func TestOwnServicesCannotBeShadowed(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	own := ropewalk.NewService("own")
	own.Handle("/{what}", ropewalk.Handle(func(context.Context, json.RawMessage) (string, error) { return "the node", nil }))
	if err := n.ServeOwn(own); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, w := range wires() {
		say := w.connect(ctx, t, url, nil)
		for _, address := range []string{
			"own:/password", "own:/{x}", "own:/*", "own:/**", "own:/password/more", "own:/", "own:[post]/password", "own:/password?x=1", "x@own:/password",
			n.ID() + "@own:/password", "own-x@own:/password", "*:/password", "*:/**", "node:/session/open", "node:/**", "client:/x",
		} {
			b, err := answerTo(ctx, say, fmt.Sprintf(`{"vrb":"serve","to":%q,"mid":"m"}`, address))
			if err != nil || !bytes.Contains(b, []byte(message.CodeBadAddress)) {
				t.Errorf("%s: serve %s: %s, %v", w.name, address, b, err)
			}
		}
	}
	c := dial(t, url)
	if err := c.Serve(ctx, anyService("other")); err != nil {
		t.Fatalf("what is nobody's may be served: %v", err)
	}
	if err := c.Serve(ctx, anyService("own")); err == nil {
		t.Error("it is served")
	}
	if servers := serversOf(n, "own:/{what}"); servers != 1 {
		t.Errorf("own:/{what} has %d servers", servers)
	}
	for range 20 {
		if got, err := ropewalk.Call[string](ctx, c, "own:/password", "hunter2"); err != nil || got != "the node" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func anyService(name string) *service.Service {
	s := ropewalk.NewService(name)
	s.Handle("/{what}", ropewalk.Handle(func(context.Context, json.RawMessage) (string, error) { return "a client", nil }))
	return s
}

// TestNobodyGoesOnAsAnother has somebody who knows the ids of another's session and
// connection, which are no secrets, and gets nothing for them.
func TestNobodyGoesOnAsAnother(t *testing.T) {
	t.Parallel()
	for _, form := range []string{keeper.FormToken, keeper.FormServer} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			n, url := door(t, func(c *ropewalk.Config) { c.Sessions.Form, c.Sessions.Cookie = form, "sid" })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			victim := dial(t, url, quiet)
			if _, err := ropewalk.Call[string](ctx, victim, "door:/in", map[string]string{"User": "anna", "Role": "editor"}); err != nil {
				t.Fatal(err)
			}
			me, err := ropewalk.Call[json.RawMessage](ctx, victim, "node:/session", nil)
			if err != nil || idOf(me) == "" {
				t.Fatalf("%s, %v", me, err)
			}
			id := idOf(me)
			for _, guess := range []string{id, "rws_" + id, "rws_" + id + strings.Repeat("A", 43-len(id)), victim.ID(), n.ID() + "." + victim.ID() + "."} {
				attacker := dial(t, url, quiet)
				if _, err := ropewalk.Call[any](ctx, attacker, "node:/session/open", nodeapi.Open{Token: guess}); message.CodeOf(err) != message.CodeUnauthenticated {
					t.Errorf("%s as a token: %v", guess, err)
				}
				if _, err := ropewalk.Call[string](ctx, attacker, "door:/secret", nil); err == nil {
					t.Errorf("%s opened the door", guess)
				}
				for name, h := range map[string]http.Header{
					"header": {"Authorization": {"Bearer " + guess}},
					"cookie": {"Cookie": {"sid=" + guess}, "Origin": {"http" + strings.TrimPrefix(url, "ws")}},
				} {
					if code := dialWith(ctx, t, url, h); code != int(edge.CloseUnauthenticated) {
						t.Errorf("%s in the %s: closed with %d", guess, name, code)
					}
				}
				say := onWebSocket(ctx, t, url, "json", nil)
				b, err := answerTo(ctx, say, fmt.Sprintf(`{"to":"door:/secret","frm":"%s@client:/","ses":{"id":%q},"aut":%q,"mid":"m"}`, victim.ID(), id, guess))
				if err != nil || bytes.Contains(b, []byte(treasure)) {
					t.Errorf("%s in a frame: %s, %v", guess, b, err)
				}
			}
			if got, err := ropewalk.Call[string](ctx, victim, "door:/secret", nil); err != nil || got != treasure {
				t.Errorf("the victim: %q, %v", got, err)
			}
		})
	}
}

// TestKeysOfTokensAreToldToAll has another program check a token by what a node
// publishes, which is nothing that signs.
func TestKeysOfTokensAreToldToAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, url := startNode(t, func(c *ropewalk.Config) { c.Sessions.Tokens = token.Config{Dir: dir} })
	keys := "http" + strings.TrimPrefix(url, "ws") + "/.well-known/jwks.json"
	res, err := http.Get(keys)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/jwk-set+json" {
		t.Fatalf("%s: %s, %v", res.Status, body, err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("%s: %v", body, err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			t.Errorf("a private key is told: %s", k.KeyID)
		}
	}
	codec, err := token.New(token.Config{Dir: dir}, token.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer codec.Close()
	s := session.New("anna", nil, nil)
	s.Expires = time.Now().Add(time.Hour)
	text, err := codec.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := signed.Verify(set); err != nil || !bytes.Contains(payload, []byte(`"anna"`)) {
		t.Errorf("%s, %v", payload, err)
	}
}
