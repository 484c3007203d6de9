package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ropewalk/ropewalk/session/token"
)

// provider is an OpenID Connect provider.
type provider struct {
	t   testing.TB
	url string

	mu       sync.Mutex
	keys     []jose.JSONWebKey // private ones
	discover any               // instead of the document; a func answers by itself
	jwks     any               // instead of the keys
	down     bool
	fetches  atomic.Int32
}

func newProvider(t testing.TB, kids ...string) *provider {
	p := &provider{t: t, url: "https://login.example.com/realm"}
	for _, kid := range kids {
		p.add(kid)
	}
	return p
}

// add makes a key; the name says of which kind.
func (p *provider) add(kid string) {
	var k crypto.Signer
	var err error
	alg := jose.EdDSA
	switch {
	case strings.HasPrefix(kid, "rsa"):
		alg = jose.RS256
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case strings.HasPrefix(kid, "es"):
		alg = jose.ES256
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, k, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.set(func() {
		p.keys = append(p.keys, jose.JSONWebKey{Key: k, KeyID: kid, Algorithm: string(alg), Use: "sig"})
	})
}

func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// sign makes a token with the newest key; claims replace the usual ones.
func (p *provider) sign(pairs ...any) string {
	p.t.Helper()
	k := p.keys[len(p.keys)-1]
	claims := with(object{
		"iss": p.url, "aud": []any{"other", "shop"}, "sub": "4711", "iat": now(-time.Second), "exp": now(time.Hour),
		"email": "anna@example.com", "groups": []any{"staff"}, "nonce": "n",
	}, pairs...)
	return p.signAs("JWT", k, claims)
}

func (p *provider) signAs(typ jose.ContentType, k jose.JSONWebKey, claims object) string {
	p.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k}, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		p.t.Fatal(err)
	}
	jws, err := s.Sign(text(p.t, claims))
	if err != nil {
		p.t.Fatal(err)
	}
	tok, err := jws.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return tok
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	down, discover, jwks := p.down, p.discover, p.jwks
	var set jose.JSONWebKeySet
	for _, k := range p.keys {
		set.Keys = append(set.Keys, k.Public())
	}
	p.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/realm/.well-known/openid-configuration":
		if answer = discover; answer == nil {
			answer = object{"issuer": p.url, "jwks_uri": p.url + "/keys"}
		}
	case "/realm/keys":
		p.fetches.Add(1)
		if answer = jwks; answer == nil {
			answer = set
		}
	default:
		http.NotFound(w, r)
		return
	}
	switch answer := answer.(type) {
	case func(http.ResponseWriter, *http.Request):
		answer(w, r)
	case string:
		_, _ = w.Write([]byte(answer))
	default:
		_, _ = w.Write(text(p.t, answer))
	}
}

// RoundTrip answers without a network.
func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	res := w.Result()
	res.Request = r
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return res, nil
}

func (p *provider) config() token.Config {
	return token.Config{Secret: secret, Issuers: []token.Issuer{{
		URL: p.url, Audience: "shop", Public: []string{"email", "missing"}, Secret: []string{"groups"},
	}}}
}

// served returns a codec that knows p, which answers at a real socket.
func (p *provider) served(t *testing.T) *token.Codec {
	t.Helper()
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL + "/realm"
	return newCodec(t, p.config())
}

func jwkOf(t testing.TB, k jose.JSONWebKey) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(text(t, k.Public()), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

var endless = func(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
}
