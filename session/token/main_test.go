package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "correct horse battery staple, and more of it"

func newCodec(t testing.TB, cfg token.Config, o ...token.Options) *token.Codec {
	t.Helper()
	opts := token.Options{Mesh: "test"}
	if len(o) > 0 {
		opts = o[0]
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	c, err := token.New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func encode(t testing.TB, c *token.Codec, s *session.Session) string {
	t.Helper()
	tok, err := c.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func anna() *session.Session {
	return session.New("anna", session.Claims{"role": "editor"}, session.Claims{"shard": "planted-claim"})
}

// object is a JSON object in a test.
type object = map[string]any

// now is a NumericDate from now.
func now(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// text returns v as JSON; a string is JSON already.
func text(t testing.TB, v any) []byte {
	t.Helper()
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forge makes a token by hand: with an ed25519.PrivateKey, the []byte of an
// HMAC, or nil for no signature.
func forge(t testing.TB, header, payload, key any) string {
	t.Helper()
	in := b64(text(t, header)) + "." + b64(text(t, payload))
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return in + "." + b64(ed25519.Sign(key, []byte(in)))
	case []byte:
		return in + "." + b64(mac(key, []byte(in)))
	}
	return in + "."
}

// jwkFile writes an Ed25519 key as a JWK and returns it.
func jwkFile(t testing.TB, kid string) (path string, key ed25519.PrivateKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, kid+".json", text(t, object{
		"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(public), "d": b64(key.Seed()),
	})), key
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused checks that err is a refusal for this reason, good for a client and
// for a log.
func refused(t testing.TB, err error, want token.Reason) {
	t.Helper()
	if got := token.ReasonOf(err); got != want {
		t.Fatalf("reason %q (%v), want %q", got, err, want)
	}
	e, ok := errors.AsType[*message.Error](err)
	if !ok || e.Code != message.CodeUnauthenticated || e.Hint == "" || e.Message == "" {
		t.Fatalf("the error is %#v", err)
	}
	var details struct{ Reason token.Reason }
	if json.Unmarshal(e.Details, &details) != nil || details.Reason != want {
		t.Fatalf("the details are %s", e.Details)
	}
}

// change returns a token with another text in one of its parts.
func change(t testing.TB, tok string, part int, old, with string) string {
	t.Helper()
	parts := strings.Split(tok, ".")
	b := string(unb64(t, parts[part]))
	if !strings.Contains(b, old) {
		t.Fatalf("there is no %s in %s", old, b)
	}
	parts[part] = b64([]byte(strings.Replace(b, old, with, 1)))
	return strings.Join(parts, ".")
}

func mac(key, text []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(text)
	return m.Sum(nil)
}
