package token_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

func TestIssuer(t *testing.T) {
	t.Parallel()
	for _, kid := range []string{"ed", "es", "rsa"} {
		p := newProvider(t, kid)
		c := p.served(t)
		tok := p.sign()
		_, err := c.Decode(t.Context(), tok)
		refused(t, err, token.ReasonFetching)
		if url, ok := token.Needs(err); !ok || url != p.url || !message.AsError(err).Retryable {
			t.Error(url, err)
		}
		s, err := c.DecodeWait(t.Context(), tok)
		if err != nil {
			t.Fatal(err)
		}
		if s.Subject != p.url+"|4711" || s.Issuer != p.url || len(s.ID) != len(session.NewID()) ||
			len(s.Public) != 1 || s.Public["email"] != "anna@example.com" || len(s.Secret) != 1 || !s.Expires.Equal(s.Limit) {
			t.Errorf("%+v", s)
		}
		again, err := c.Decode(t.Context(), tok)
		if err != nil || again.ID != s.ID {
			t.Error("the id has changed:", again, err)
		}
		// What a node makes of it is a token of its own, of which it still knows
		// who said so.
		mine, err := c.Decode(t.Context(), encode(t, c, s))
		if err != nil || mine.Issuer != p.url || mine.Subject != s.Subject {
			t.Error(mine, err)
		}
		if infos := c.Issuers(); len(infos) != 1 || len(infos[0].Keys) != 1 || infos[0].Keys[0].Kid != kid || infos[0].Problem != "" {
			t.Errorf("%+v", infos)
		}
	}
}

func TestIssuerAttacks(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "rsa1", "es1", "ed1")
	cfg := p.config()
	cfg.Issuers[0].Algorithms = []string{"RS256", "EdDSA", "ES384"}
	c := newCodec(t, cfg, token.Options{Mesh: "test", Transport: p})
	if err := c.Fetch(t.Context(), p.url); err != nil {
		t.Fatal(err)
	}
	ed := p.keys[2]
	good := object{"iss": p.url, "aud": "shop", "sub": "4711", "iat": now(0), "exp": now(time.Hour)}
	private := ed.Key.(ed25519.PrivateKey)
	h := object{"alg": "EdDSA", "kid": "ed1"}
	rsaPublic := text(t, p.keys[0].Public())
	for name, tc := range map[string]struct {
		tok  string
		want token.Reason
	}{
		"ok":              {p.sign(), ""},
		"at+jwt":          {p.signAs("application/at+JWT", ed, good), ""},
		"no typ":          {forge(t, h, good, private), ""},
		"other members":   {forge(t, with(h, "x5t", "abc"), good, private), ""},
		"one audience":    {p.sign("aud", "shop"), ""},
		"log-out token":   {p.signAs("logout+jwt", ed, good), token.ReasonMalformed},
		"nbf for iat":     {p.sign("iat", nil, "nbf", now(-time.Minute)), ""},
		"of no age":       {p.sign("iat", nil), token.ReasonMalformed},
		"log-out, no typ": {p.sign("events", object{"http://schemas.openid.net/event/backchannel-logout": object{}}), token.ReasonMalformed},
		"other audience":  {p.sign("aud", "shop2"), token.ReasonAudience},
		"list without us": {p.sign("aud", []any{"a", []any{"shop"}}), token.ReasonAudience},
		"no audience":     {p.sign("aud", nil), token.ReasonAudience},
		"no exp":          {p.sign("exp", nil), token.ReasonMalformed},
		"exp a text":      {p.sign("exp", "9999999999"), token.ReasonMalformed},
		"expired":         {p.sign("exp", now(-1)), token.ReasonExpired},
		"not yet":         {p.sign("nbf", now(time.Minute)), token.ReasonNotYet},
		"no subject":      {p.sign("sub", nil), token.ReasonMalformed},
		"empty subject":   {p.sign("sub", ""), token.ReasonMalformed},
		"number subject":  {p.sign("sub", 1), token.ReasonMalformed},
		"subject of log":  {p.sign("sub", "x\r\nlevel=INFO"), token.ReasonMalformed},
		"long subject":    {p.sign("sub", strings.Repeat("x", 300)), token.ReasonTooLarge},
		"deep":            {p.sign("email", nested(40)), token.ReasonTooLarge},
		"deep elsewhere":  {p.sign("nonce", nested(40)), ""},
		"unknown issuer":  {p.sign("iss", "https://mallory.example"), token.ReasonIssuer},
		"issuer and dot":  {p.sign("iss", p.url+"/"), token.ReasonIssuer},
		"our issuer":      {p.sign("iss", "ropewalk:test"), token.ReasonMalformed},
		"ours by theirs":  {p.signAs("ropewalk+jwt", ed, with(good, "iss", "ropewalk:test", "aud", "ropewalk:test", "jti", "j", "iat", now(0))), token.ReasonUnknownKey},
		"not allowed":     {p.signAs("JWT", p.keys[1], good), token.ReasonAlgorithm},
		"other alg":       {forge(t, with(h, "kid", "rsa1"), good, private), token.ReasonAlgorithm},
		"kid of another":  {forge(t, with(h, "kid", "es1"), good, private), token.ReasonAlgorithm},
		"none":            {forge(t, with(h, "alg", "none"), good, nil), token.ReasonAlgorithm},
		"HS of public":    {forge(t, with(h, "alg", "HS256", "kid", "rsa1"), good, rsaPublic), token.ReasonAlgorithm},
		"HS of ours":      {forge(t, with(h, "alg", "HS256", "kid", c.Keys()[0].Kid), good, derived(t)), token.ReasonAlgorithm},
		"jku":             {forge(t, with(h, "jku", "https://mallory.example"), good, private), token.ReasonMalformed},
		"jwk":             {forge(t, with(h, "jwk", object{}), good, private), token.ReasonMalformed},
		"no kid":          {forge(t, with(h, "kid", nil), good, private), token.ReasonUnknownKey},
		"unknown kid":     {forge(t, with(h, "kid", "x"), good, private), token.ReasonUnknownKey},
		"forged":          {change(t, p.sign(), 1, "4711", "0815"), token.ReasonSignature},
		"twice":           {forge(t, h, strings.Replace(string(text(t, good)), "{", `{"sub":"0",`, 1), private), token.ReasonMalformed},
		"not UTF-8":       {forge(t, h, strings.Replace(string(text(t, good)), "4711", "\xff", 1), private), token.ReasonMalformed},
	} {
		s, err := c.Decode(t.Context(), tc.tok)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if s != nil || token.ReasonOf(err) != tc.want {
			t.Errorf("%s: %v, %v, want %q", name, s, err, tc.want)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	if err := c.Fetch(t.Context(), "https://mallory.example"); token.ReasonOf(err) != token.ReasonIssuer {
		t.Error("an issuer of nobody's configuration is fetched:", err)
	}
}

// TestIssuerTurns has an issuer that replaces its key, goes down, and comes back.
func TestIssuerTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newProvider(t, "ed1")
		c, err := token.New(p.config(), token.Options{Transport: p, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Prefetch()
		synctest.Wait()
		good := func(tok string) {
			t.Helper()
			if _, err := c.Decode(t.Context(), tok); err != nil {
				t.Fatal(err)
			}
		}
		fetched := func(n int32) {
			t.Helper()
			if got := p.fetches.Load(); got != n {
				t.Fatalf("%d fetches, want %d", got, n)
			}
		}
		good(p.sign())
		fetched(1)

		// A new key is found at once if the last fetch is some time ago, and a
		// flood of unknown kids costs one fetch in 10 seconds.
		time.Sleep(11 * time.Second)
		p.add("ed2")
		if _, err := c.DecodeWait(t.Context(), p.sign()); err != nil {
			t.Fatal(err)
		}
		fetched(2)
		flood := p.signAs("JWT", jose.JSONWebKey{Key: p.keys[0].Key, KeyID: "unknown", Algorithm: "EdDSA"}, object{"iss": p.url})
		for range 100 {
			_, err := c.DecodeWait(t.Context(), flood)
			refused(t, err, token.ReasonUnknownKey)
		}
		fetched(2)

		// Old keys are fetched again in the background.
		p.set(func() { p.keys = p.keys[1:] })
		time.Sleep(16 * time.Minute)
		good(p.sign())
		synctest.Wait()
		fetched(3)

		// Keys of an issuer that is down are used for a day.
		p.set(func() { p.down = true })
		last := p.sign("exp", now(72*time.Hour))
		for range 23 {
			time.Sleep(time.Hour)
			good(last)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be fetched"); n != 1 {
			t.Errorf("that is logged %d times, want once: %s", n, &log)
		}
		if c.Issuers()[0].Problem == "" {
			t.Error("no problem is told")
		}
		time.Sleep(90 * time.Minute)
		_, err = c.DecodeWait(t.Context(), last)
		if token.ReasonOf(err) != token.ReasonFetching || message.CodeOf(err) != message.CodeServiceDown || !message.AsError(err).Retryable {
			t.Errorf("%#v", err)
		}
		p.set(func() { p.down = false })
		_, err = c.DecodeWait(t.Context(), last) // the last attempt is too near
		if message.CodeOf(err) != message.CodeServiceDown {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		if _, err = c.DecodeWait(t.Context(), last); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "here again") {
			t.Error(log.String())
		}
	})
}

// TestFetchOnce has many calls wait for one fetch; who goes away ends only its
// own wait.
func TestFetchOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, "ed1")
		open := make(chan struct{})
		p.jwks = func(w http.ResponseWriter, _ *http.Request) {
			<-open
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.keys[0].Public()}})
		}
		c, err := token.New(p.config(), token.Options{Transport: p, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tok := p.sign()
		gone, leave := context.WithCancel(t.Context())
		errs := make(chan error, 20)
		for i := range 20 {
			go func() {
				ctx := t.Context()
				if i == 0 {
					ctx = gone
				}
				_, err := c.DecodeWait(ctx, tok)
				errs <- err
			}()
		}
		synctest.Wait()
		leave()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(open)
		for range 19 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := p.fetches.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestCloseDuringFetch(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ed1")
	began := make(chan struct{})
	p.jwks = func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	}
	c := p.served(t)
	done := make(chan error)
	go func() { done <- c.Fetch(t.Context(), p.url) }()
	<-began
	c.Close()
	if err := <-done; message.CodeOf(err) != message.CodeServiceDown {
		t.Error(err)
	}
}

// TestBadIssuers has issuers that answer with what must not be believed.
func TestBadIssuers(t *testing.T) {
	t.Parallel()
	elsewhere := newProvider(t, "ed1")
	other := httptest.NewServer(elsewhere)
	t.Cleanup(other.Close)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	to := func(url string) any {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) }
	}
	oct := object{"kty": "oct", "kid": "o", "k": b64([]byte(secret))}
	for name, tc := range map[string]struct {
		discover, jwks any
		want           string
	}{
		"another issuer":    {object{"issuer": "https://mallory.example", "jwks_uri": other.URL}, nil, "mallory.example"},
		"no issuer":         {object{"jwks_uri": other.URL}, nil, "it says that it is"},
		"not JSON":          {"<html>", nil, "not JSON"},
		"huge":              {strings.Repeat(" ", 300<<10), nil, "more than"},
		"endless":           {endless, nil, "more than"},
		"away":              {to(other.URL + "/realm/.well-known/openid-configuration"), nil, "redirects to another host"},
		"round and round":   {to("/realm/.well-known/openid-configuration"), nil, "too often"},
		"keys away":         {nil, to(other.URL + "/realm/keys"), "redirects to another host"},
		"keys not JSON":     {nil, "<html>", "not a JWK set"},
		"keys huge":         {nil, strings.Repeat(" ", 300<<10), "more than"},
		"no keys":           {nil, object{"keys": []any{}}, "no public key"},
		"secrets":           {nil, object{"keys": []any{oct}}, "no public key"},
		"unknown kinds":     {nil, object{"keys": []any{object{"kty": "AKP"}, 1, nil, []any{}}}, "no public key"},
		"keys to encrypt":   {nil, object{"keys": []any{with(jwkOf(t, elsewhere.keys[0]), "use", "enc")}}, "no public key"},
		"a private key":     {nil, object{"keys": []any{with(jwkOf(t, elsewhere.keys[0]), "d", "AAAA")}}, "no public key"},
		"status":            {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, nil, "status 418"},
		"keys by http":      {object{"issuer": "SELF", "jwks_uri": "http://login.example.com/keys"}, nil, "jwks_uri"},
		"keys in a file":    {object{"issuer": "SELF", "jwks_uri": "file:///etc/passwd"}, nil, "jwks_uri"},
		"small RSA, usable": {nil, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &small.PublicKey, KeyID: "r"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, "ed1")
			c := p.served(t)
			if d, ok := tc.discover.(object); ok && d["issuer"] == "SELF" {
				tc.discover = with(d, "issuer", p.url)
			}
			p.set(func() { p.discover, p.jwks = tc.discover, tc.jwks })
			err := c.Fetch(t.Context(), p.url)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Decode(t.Context(), p.signAs("JWT", jose.JSONWebKey{Key: small, KeyID: "r", Algorithm: "RS256"}, object{"iss": p.url}))
				refused(t, err, token.ReasonAlgorithm)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || message.CodeOf(err) != message.CodeServiceDown {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if sent := string(message.AppendError(nil, message.AsError(err))); strings.Contains(sent, "127.0.0.1") {
				t.Errorf("the client is told of the insides: %s", sent)
			}
		})
	}
}

// TestKeysOnThisMachine has an issuer elsewhere that names what listens here.
func TestKeysOnThisMachine(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ed1")
	p.discover = object{"issuer": p.url, "jwks_uri": "http://127.0.0.1/realm/keys"}
	c := newCodec(t, p.config(), token.Options{Transport: p})
	err := c.Fetch(t.Context(), p.url)
	if err == nil || !strings.Contains(err.Error(), "jwks_uri") || p.fetches.Load() != 0 {
		t.Errorf("%d fetches, error %v", p.fetches.Load(), err)
	}
}

// TestSlowIssuer has one that never answers: the wait ends all the same.
func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, "ed1")
		p.discover = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		c, err := token.New(p.config(), token.Options{Transport: p, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		_, err = c.DecodeWait(t.Context(), p.sign())
		if message.CodeOf(err) != message.CodeServiceDown || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Error(err, time.Since(began))
		}
	})
}

// TestIssuerConfig has the settings of an issuer.
func TestIssuerConfig(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ed1")
	cfg := p.config()
	cfg.Issuers[0].JWKSURL, cfg.Issuers[0].SubjectClaim, cfg.Issuers[0].Prefix = p.url+"/keys", "email", "shop/"
	p.discover = "it is not asked"
	c := newCodec(t, cfg, token.Options{Transport: p})
	s, err := c.DecodeWait(t.Context(), p.sign())
	if err != nil || s.Subject != "shop/anna@example.com" {
		t.Error(s, err)
	}
	// Keys stay over a new configuration, unless it is another issuer by then.
	cfg.Lifetime = 60e9
	if err := c.Configure(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(t.Context(), p.sign()); err != nil {
		t.Error(err)
	}
	cfg.Issuers = []token.Issuer{cfg.Issuers[0]}
	cfg.Issuers[0].Audience = "another"
	if err := c.Configure(cfg); err != nil {
		t.Fatal(err)
	}
	_, err = c.Decode(t.Context(), p.sign())
	refused(t, err, token.ReasonFetching)
	// With one key a token need not name it.
	one := forge(t, object{"alg": "EdDSA"}, object{"iss": p.url, "aud": "another", "email": "a", "iat": now(0), "exp": now(60e9)}, p.keys[0].Key.(ed25519.PrivateKey))
	if _, err := c.DecodeWait(t.Context(), one); err != nil {
		t.Error(err)
	}
	if err := c.Configure(token.Config{Secret: secret}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Decode(t.Context(), one)
	refused(t, err, token.ReasonIssuer)
}

// TestMalleable has two tokens that differ in how the signature is written: they
// are one session, so that a revoked one does not come back.
func TestMalleable(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "es1")
	c := newCodec(t, p.config(), token.Options{Transport: p})
	tok := p.sign()
	a, err := c.DecodeWait(t.Context(), tok)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndexByte(tok, '.')
	sig := unb64(t, tok[i+1:])
	other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:]))
	other.FillBytes(sig[32:])
	b, err := c.Decode(t.Context(), tok[:i+1]+b64(sig))
	if err != nil || a.ID != b.ID {
		t.Error(a, b, err)
	}
}
