package token_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

// FuzzDecode reads any text: there is a session or a refusal with a reason, and
// what is accepted can be made into a token again.
func FuzzDecode(f *testing.F) {
	p := newProvider(f, "ed1")
	c := newCodec(f, token.Config{Secret: secret, Issuers: p.config().Issuers}, token.Options{Mesh: "test", Transport: p})
	if err := c.Fetch(f.Context(), p.url); err != nil {
		f.Fatal(err)
	}
	good := encode(f, c, session.New("anna", session.Claims{"a": []any{1, nil}}, session.Claims{"b": object{}}))
	for _, tok := range []string{good, good[1:], p.sign(), "", "..", "e30.e30.", forge(f, object{"alg": "none"}, object{"iss": p.url}, nil)} {
		f.Add(tok)
	}
	f.Fuzz(func(t *testing.T, tok string) {
		s, err := c.Decode(t.Context(), tok)
		shown := c.Show(t.Context(), tok)
		if err != nil {
			if s != nil || token.ReasonOf(err) == "" || message.CodeOf(err) != message.CodeUnauthenticated || shown.Verified {
				t.Fatal(s, err)
			}
			return
		}
		if err := s.Check(); err != nil || !shown.Verified {
			t.Fatal(err, shown)
		}
		encode(t, c, s)
	})
}

// FuzzPayload has payloads that are signed with our own key: what a careless
// tool with the right key may make.
func FuzzPayload(f *testing.F) {
	file, private := jwkFile(f, "k1")
	c := newCodec(f, token.Config{Keys: []token.Key{{File: file}}, Sealing: secret}, token.Options{Mesh: "test"})
	header := object{"alg": "EdDSA", "kid": "k1", "typ": "ropewalk+jwt"}
	tok := encode(f, c, anna())
	f.Add(string(unb64(f, strings.Split(tok, ".")[1])))
	f.Add(`{"iss":"ropewalk:test","aud":"ropewalk:test","jti":"j","iat":1,"exp":99999999999,"pub":{"a":[[]]},"idle":1e9,"since":0.5}`)
	f.Add(`{"iss":"ropewalk:test","sec":"a.b.c.d.e"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		s, err := c.Decode(t.Context(), forge(t, header, payload, private))
		if err != nil {
			if token.ReasonOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid([]byte(payload)) || s.Check() != nil {
			t.Fatalf("%+v", s)
		}
		again, err := c.Decode(t.Context(), encode(t, c, s))
		if err != nil {
			if token.ReasonOf(err) == token.ReasonExpired {
				return // in between
			}
			t.Fatal(err)
		}
		same(t, again, s)
	})
}

// FuzzKeyFile reads any file with keys.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256","nbf":1,"exp":2}]}`), "HS256")
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "")
	f.Fuzz(func(t *testing.T, b []byte, alg string) {
		c, err := token.New(token.Config{Keys: []token.Key{{File: write(t, "k", b), Alg: alg}}}, token.Options{})
		if err == nil {
			c.JWKS()
			c.Close()
		}
	})
}

// FuzzJWKS reads what another issuer may answer.
func FuzzJWKS(f *testing.F) {
	p := newProvider(f, "ed1", "es1")
	f.Add(string(text(f, object{"keys": []any{jwkOf(f, p.keys[0]), jwkOf(f, p.keys[1])}})))
	f.Add(`{"keys":[{"kty":"RSA","n":"AA","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":""}]}`)
	f.Fuzz(func(t *testing.T, jwks string) {
		p := &provider{t: t, url: p.url, jwks: jwks, keys: p.keys[:1]}
		c := newCodec(t, p.config(), token.Options{Transport: p})
		if c.Fetch(t.Context(), p.url) == nil {
			_, _ = c.Decode(t.Context(), p.sign())
			c.Issuers()
		}
	})
}
