package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

func pemFile(t testing.TB, curve elliptic.Curve) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	// openssl ecparam -genkey writes the parameters first.
	out := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	return write(t, "ec.pem", append(out, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: b})...))
}

func states(c *token.Codec) []string {
	var all []string
	for _, k := range c.Keys() {
		all = append(all, k.Alg+" "+k.State)
	}
	return all
}

func TestMadeKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "keys")
	c := newCodec(t, token.Config{Dir: dir})
	if !c.Made() {
		t.Error("it does not know that the keys are its own")
	}
	tok := encode(t, c, anna())
	path := filepath.Join(dir, "token-keys.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("something was left behind: %v", all)
	}
	// The same keys after a restart.
	again := newCodec(t, token.Config{Dir: dir}, token.Options{Mesh: "other"})
	if _, err := again.Decode(t.Context(), encode(t, c, anna())); message.CodeOf(err) != message.CodeUnauthenticated {
		t.Error("another mesh is another issuer:", err)
	}
	again = newCodec(t, token.Config{Dir: dir, Issuer: c.Issuer()})
	if _, err := again.Decode(t.Context(), tok); err != nil {
		t.Error(err)
	}
	if err := c.Rotate(); err != nil {
		t.Fatal(err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	rotated := encode(t, c, anna())
	for _, tok := range []string{tok, rotated} {
		if _, err := c.Decode(t.Context(), tok); err != nil {
			t.Error(err)
		}
	}
	_, err = again.Decode(t.Context(), rotated)
	refused(t, err, token.ReasonUnknownKey)
	if err := again.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Decode(t.Context(), rotated); err != nil {
		t.Error(err)
	}
	// A broken file changes nothing.
	if err := os.WriteFile(path, []byte(`{"keys":[{"kty":"OKP","d":"planted"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again.Reload(); err == nil || strings.Contains(err.Error(), "planted") {
		t.Error(err)
	}
	if _, err := again.Decode(t.Context(), rotated); err != nil {
		t.Error(err)
	}
}

// TestMadeAtOnce starts several nodes in one directory: they end up with the
// same keys.
func TestMadeAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	codecs := make([]*token.Codec, 8)
	var wg sync.WaitGroup
	for i := range codecs {
		wg.Go(func() { codecs[i], _ = token.New(token.Config{Dir: dir}, token.Options{Mesh: "test"}) })
	}
	wg.Wait()
	tok := encode(t, codecs[0], anna())
	for _, c := range codecs {
		if _, err := c.Decode(t.Context(), tok); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := token.New(token.Config{Keep: 7200e9, Dir: t.TempDir()}, token.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := anna()
		s.Expires = time.Now().Add(24 * time.Hour)
		tok := encode(t, c, s)
		if err := c.Rotate(); err != nil {
			t.Fatal(err)
		}
		want := []string{"EdDSA signs", "EdDSA verifies", "A256GCM seals", "A256GCM opens"}
		if got := states(c); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		time.Sleep(2*time.Hour - 1)
		if _, err := c.Decode(t.Context(), tok); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		_, err = c.Decode(t.Context(), tok)
		refused(t, err, token.ReasonUnknownKey)
		if bytes.Count(c.JWKS(), []byte(`"kid"`)) != 1 {
			t.Errorf("%s", c.JWKS())
		}
		if err := c.Rotate(); err != nil {
			t.Fatal(err)
		}
		if got := states(c); len(got) != 4 {
			t.Errorf("keys that have ended are still there: %q", got)
		}
		fixed := newCodec(t, token.Config{Secret: secret})
		if err := fixed.Rotate(); message.CodeOf(err) != message.CodeConflict {
			t.Error(err)
		}
	})
}

// TestKeyTimes has the life of three keys in the configuration.
func TestKeyTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := jwkFile(t, "a")
		b, _ := jwkFile(t, "b")
		day := func(n int) time.Time { return time.Now().Add(time.Duration(n) * 24 * time.Hour) }
		c := newCodec(t, token.Config{Secret: secret, Keys: []token.Key{
			{File: a, From: day(-1), Until: day(4)}, {File: b, From: day(2), Until: day(6)},
		}})
		if c.Made() {
			t.Error("the keys are configured")
		}
		kid := func() string {
			t.Helper()
			s := session.New("anna", nil, nil)
			s.Expires = day(30)
			h := token.Show(encode(t, c, s)).Header
			return h["kid"].(string)
		}
		at0 := encode(t, c, &session.Session{ID: "x", Expires: day(30)})
		if got := states(c); !slices.Equal(got, []string{"EdDSA signs", "EdDSA waits", "HS256 verifies", "A256GCM seals"}) {
			t.Errorf("%q", got)
		}
		if kid() != "a" {
			t.Error("a signs first")
		}
		time.Sleep(2 * 24 * time.Hour)
		if kid() != "b" {
			t.Error("then b")
		}
		if _, err := c.Decode(t.Context(), at0); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * 24 * time.Hour)
		_, err := c.Decode(t.Context(), at0)
		refused(t, err, token.ReasonUnknownKey)
		if got := states(c); got[0] != "EdDSA ended" {
			t.Errorf("%q", got)
		}
		time.Sleep(2 * 24 * time.Hour)
		if kid() == "b" {
			t.Error("in the end the secret signs")
		}
	})
}

func TestSecretsTurn(t *testing.T) {
	t.Parallel()
	before := newCodec(t, token.Config{Secret: secret})
	tok := encode(t, before, anna())
	const next = "another secret that is long enough for it"
	after := newCodec(t, token.Config{Secret: next, OldSecrets: []string{secret}})
	if got, err := after.Decode(t.Context(), tok); err != nil || got.Secret["shard"] != "planted-claim" {
		t.Error(got, err)
	}
	_, err := before.Decode(t.Context(), encode(t, after, anna()))
	refused(t, err, token.ReasonUnknownKey)
	sealing := newCodec(t, token.Config{Secret: secret, Sealing: next})
	if _, err := sealing.Decode(t.Context(), tok); err != nil {
		t.Error("the sealing of before is not opened:", err)
	}
	_, err = before.Decode(t.Context(), encode(t, sealing, anna()))
	refused(t, err, token.ReasonSealed)
	old := newCodec(t, token.Config{Secret: secret, Sealing: "yet another secret for sealing, long enough", OldSealing: []string{next}})
	if _, err := old.Decode(t.Context(), encode(t, sealing, anna())); err != nil {
		t.Error(err)
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	c := newCodec(t, token.Config{Secret: secret})
	tok := encode(t, c, anna())
	if err := c.Configure(token.Config{Secret: "short"}); err == nil {
		t.Error("a bad configuration is accepted")
	}
	if _, err := c.Decode(t.Context(), tok); err != nil {
		t.Error(err)
	}
	path, _ := jwkFile(t, "k")
	if err := c.Configure(token.Config{Keys: []token.Key{{File: path}}, OldSecrets: []string{secret}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(t.Context(), tok); err != nil {
		t.Error(err)
	}
	next, _ := jwkFile(t, "next")
	b, _ := os.ReadFile(next)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil || c.Keys()[0].Kid != "next" {
		t.Error(c.Keys(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "keys[0].file") {
		t.Error(err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	public, private, _ := ed25519.GenerateKey(nil)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(private)
	pkix, _ := x509.MarshalPKIXPublicKey(public)
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	jwk := object{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "d": b64(private.Seed())}
	oct := object{"kty": "oct", "k": b64([]byte("planted-secret, of 32 bytes sure")), "kid": "o"}
	p384, _ := os.ReadFile(pemFile(t, elliptic.P384()))
	for name, tc := range map[string]struct {
		b    []byte
		key  token.Key
		want string // the state, or part of the error
	}{
		"PKCS8":          {block("PRIVATE KEY", pkcs8), token.Key{}, "EdDSA signs"},
		"public":         {block("PUBLIC KEY", pkix), token.Key{}, "EdDSA verifies"},
		"JWK":            {text(t, jwk), token.Key{Alg: "EdDSA"}, "EdDSA signs"},
		"set":            {text(t, object{"keys": []any{jwk}}), token.Key{}, "EdDSA signs"},
		"oct":            {text(t, oct), token.Key{Alg: "HS256"}, "HS256 signs"},
		"oct to seal":    {text(t, oct), token.Key{Alg: "A256GCM"}, "A256GCM seals"},
		"oct for what":   {text(t, oct), token.Key{}, "set alg to"},
		"empty":          {nil, token.Key{}, "no key in it"},
		"empty set":      {[]byte(`{"keys":[]}`), token.Key{}, "there are 0 keys"},
		"not JSON":       {[]byte(`{"planted`), token.Key{}, "JWK"},
		"broken PEM":     {block("PRIVATE KEY", []byte("planted")), token.Key{}, "cannot be read"},
		"certificate":    {block("CERTIFICATE", pkix), token.Key{}, "no key in it"},
		"P-384":          {p384, token.Key{}, "does not suit"},
		"wrong alg":      {text(t, jwk), token.Key{Alg: "ES256"}, "does not suit"},
		"HS with public": {block("PUBLIC KEY", pkix), token.Key{Alg: "HS256"}, "does not suit"},
		"two algs":       {text(t, object{"kty": "oct", "k": oct["k"], "alg": "HS256"}), token.Key{Alg: "A256GCM"}, "the configuration"},
		"short oct":      {text(t, object{"kty": "oct", "k": b64([]byte("planted"))}), token.Key{Alg: "HS256"}, "32 are the least"},
		"short seal":     {text(t, object{"kty": "oct", "k": b64([]byte("planted"))}), token.Key{Alg: "A256GCM"}, "has 32 bytes"},
		"huge":           {bytes.Repeat([]byte(" "), 300<<10), token.Key{}, "more than"},
		"kid for set":    {text(t, object{"keys": []any{jwk, oct}}), token.Key{Kid: "k"}, "more than one"},
		"long kid":       {text(t, object{"kty": "oct", "kid": strings.Repeat("k", 300), "k": oct["k"]}), token.Key{}, "a kid has more"},
		"twice":          {text(t, object{"keys": []any{jwk, jwk}}), token.Key{}, "both have the kid"},
		"bad JWK":        {text(t, object{"kty": "OKP", "crv": "Ed25519", "d": "planted"}), token.Key{}, "can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.key.File = write(t, "key", tc.b)
			c, err := token.New(token.Config{Keys: []token.Key{tc.key}}, token.Options{})
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "keys") || strings.Contains(err.Error(), "planted") {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			defer c.Close()
			if got := states(c); len(got) != 1 || got[0] != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestVerifyOnly(t *testing.T) {
	t.Parallel()
	path, private := jwkFile(t, "k")
	maker := newCodec(t, token.Config{Keys: []token.Key{{File: path}}})
	pkix, _ := x509.MarshalPKIXPublicKey(private.Public())
	c := newCodec(t, token.Config{Keys: []token.Key{{
		File: write(t, "public.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})), Kid: "k",
	}}})
	if _, err := c.Decode(t.Context(), encode(t, maker, session.New("anna", nil, nil))); err != nil {
		t.Error(err)
	}
	if _, err := c.Encode(session.New("anna", nil, nil)); message.CodeOf(err) != message.CodeConflict {
		t.Error(err)
	}
}

// TestJWKS has all kinds of keys: only public ones get out.
func TestJWKS(t *testing.T) {
	t.Parallel()
	path, private := jwkFile(t, "k")
	c := newCodec(t, token.Config{
		Secret: secret, Sealing: secret + "2", Keys: []token.Key{{File: path}, {File: pemFile(t, elliptic.P256())}},
	})
	var set struct{ Keys []object }
	if err := json.Unmarshal(c.JWKS(), &set); err != nil || len(set.Keys) != 2 {
		t.Fatalf("%s: %v", c.JWKS(), err)
	}
	for _, k := range set.Keys {
		if k["d"] != nil || k["k"] != nil || k["kty"] == "oct" {
			t.Errorf("%v", k)
		}
	}
	if strings.Contains(string(c.JWKS()), b64(private.Seed())) {
		t.Error("the private key is in it")
	}
	if got := newCodec(t, token.Config{Secret: secret}).JWKS(); string(got) != `{"keys":[]}` {
		t.Errorf("%s", got)
	}
}

func TestExposedFile(t *testing.T) {
	t.Parallel()
	path, _ := jwkFile(t, "k")
	var log bytes.Buffer
	o := token.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}
	newCodec(t, token.Config{Keys: []token.Key{{File: path}}}, o)
	if log.Len() > 0 {
		t.Error(log.String())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	newCodec(t, token.Config{Keys: []token.Key{{File: path}}}, o)
	if !strings.Contains(log.String(), "chmod 600") {
		t.Error(log.String())
	}
}
