package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

// same compares what a token keeps of a session.
func same(t interface {
	Helper()
	Errorf(string, ...any)
}, got, want *session.Session) {
	t.Helper()
	a, b := got.Copy(), want.Copy()
	for _, s := range []*session.Session{a, b} {
		s.Since, s.Limit = s.Since.Truncate(time.Millisecond).UTC(), s.Limit.Truncate(time.Millisecond).UTC()
		s.Expires = s.Expires.Truncate(time.Second).UTC()
		if len(s.Public) == 0 {
			s.Public = nil
		}
		if len(s.Secret) == 0 {
			s.Secret = nil
		}
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got  %v\nwant %v", dump(a), dump(b))
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	jwk, _ := jwkFile(t, "k1")
	for name, cfg := range map[string]token.Config{
		"made":   {},
		"secret": {Secret: secret},
		"file":   {Keys: []token.Key{{File: jwk}}, Sealing: secret},
		"ES256":  {Keys: []token.Key{{File: pemFile(t, elliptic.P256())}}, Sealing: secret},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCodec(t, cfg)
			s := anna()
			s.Expires, s.Limit, s.Idle = time.Now().Add(time.Minute), time.Now().Add(time.Hour), 90*time.Second
			tok := encode(t, c, s)
			if strings.Contains(string(unb64(t, strings.Split(tok, ".")[1])), "planted-claim") {
				t.Error("a secret claim is in clear")
			}
			got, err := c.Decode(t.Context(), tok)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, s)
			if got, err = c.DecodeWait(t.Context(), tok); err != nil {
				t.Fatal(err)
			}
			same(t, got, s)
		})
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := token.New(token.Config{Lifetime: 600e9}, token.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := session.New("anna", nil, nil)
		tok := encode(t, c, s)
		got, err := c.Decode(t.Context(), tok)
		if err != nil || !got.Expires.Equal(time.Now().Truncate(time.Second).Add(10*time.Minute)) {
			t.Fatal(got, err)
		}
		s.Limit = time.Now().Add(5 * time.Minute)
		short := encode(t, c, s)
		time.Sleep(5*time.Minute - 1)
		if _, err := c.Decode(t.Context(), short); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Nanosecond)
		_, err = c.Decode(t.Context(), short)
		refused(t, err, token.ReasonExpired)
		if _, err := c.Decode(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
		_, err = c.Encode(s)
		refused(t, err, token.ReasonExpired)
		time.Sleep(5 * time.Minute)
		_, err = c.Decode(t.Context(), tok)
		refused(t, err, token.ReasonExpired)
	})
}

func TestHeld(t *testing.T) {
	t.Parallel()
	c := newCodec(t, token.Config{})
	s := anna()
	s.Held = true
	got, err := c.Decode(t.Context(), encode(t, c, s))
	if err != nil || !got.Held || got.ID != s.ID || got.Subject != "anna" || got.Public != nil || got.Secret != nil {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestRoundTripAny encodes any session that is within the bounds.
func TestRoundTripAny(t *testing.T) {
	t.Parallel()
	c := newCodec(t, token.Config{Secret: secret})
	value := rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(
			rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Float64().AsAny(),
			rapid.SliceOfN(rapid.String().AsAny(), 0, 4).AsAny(),
			rapid.MapOfN(rapid.String(), rapid.Float64().AsAny(), 0, 4).AsAny(),
		)
	})
	claims := rapid.MapOfN(rapid.StringN(1, 40, 40), value, 0, 12)
	rapid.Check(t, func(r *rapid.T) {
		s := session.New(rapid.StringN(0, 60, 60).Draw(r, "subject"), claims.Draw(r, "public"), claims.Draw(r, "secret"))
		s.Issuer = rapid.SampledFrom([]string{"", "https://login.example.com"}).Draw(r, "issuer")
		s.Idle = time.Duration(rapid.IntRange(0, 1e9).Draw(r, "idle")) * time.Millisecond
		s.Expires = time.Now().Add(time.Duration(rapid.Int64Range(2, 1e9).Draw(r, "expires")) * time.Second)
		if rapid.Bool().Draw(r, "limited") {
			s.Limit = s.Expires.Add(time.Hour)
		}
		tok, err := c.Encode(s)
		if err != nil {
			if token.ReasonOf(err) != "" || message.CodeOf(err) != message.CodeInvalidInput && message.CodeOf(err) != message.CodeTooLarge {
				r.Fatalf("encode: %v", err)
			}
			r.Skip(err)
		}
		got, err := c.Decode(t.Context(), tok)
		if err != nil {
			r.Fatalf("decode: %v", err)
		}
		same(r, got, s)
	})
}

func TestEncodeErrors(t *testing.T) {
	t.Parallel()
	c := newCodec(t, token.Config{})
	both := session.New("anna", session.Claims{"a": 1}, session.Claims{"a": 2})
	deep := any("x")
	for range 20 {
		deep = []any{deep}
	}
	long := session.New("anna", session.Claims{"a": strings.Repeat("x", session.MaxSize)}, nil)
	escaped := session.Claims{}
	for i := range 100 {
		escaped[strings.Repeat("\x01", 150)+string(rune('a'+i))] = 1
	}
	for name, tc := range map[string]struct {
		s    *session.Session
		code message.Code
	}{
		"ok":            {anna(), ""},
		"nobody":        {session.Anonymous(), message.CodeInvalidInput},
		"nil":           {nil, message.CodeInvalidInput},
		"both":          {both, message.CodeInvalidInput},
		"deep":          {session.New("anna", session.Claims{"a": deep}, nil), message.CodeInvalidInput},
		"long":          {long, message.CodeInvalidInput},
		"not text":      {session.New("an\xffna", nil, nil), message.CodeInvalidInput},
		"new line":      {session.New("anna\n2026 ERROR", nil, nil), message.CodeInvalidInput},
		"not JSON":      {session.New("anna", session.Claims{"f": func() {}}, nil), message.CodeInvalidInput},
		"escaped names": {session.New("anna", escaped, nil), message.CodeTooLarge},
	} {
		if _, err := c.Encode(tc.s); message.CodeOf(err) != tc.code {
			t.Errorf("%s: %v, want %q", name, err, tc.code)
		}
	}
	// The largest that is allowed fits.
	for _, s := range []*session.Session{
		session.New("anna", session.Claims{"a": strings.Repeat("x", session.MaxSize-10)}, nil),
		session.New("anna", nil, session.Claims{"a": strings.Repeat("x", session.MaxSize-10)}),
	} {
		got, err := c.Decode(t.Context(), encode(t, c, s))
		if err != nil || len(got.Public)+len(got.Secret) != 1 {
			t.Error(err)
		}
	}
	jwk, _ := jwkFile(t, "k")
	unsealed := newCodec(t, token.Config{Keys: []token.Key{{File: jwk}}})
	if _, err := unsealed.Encode(anna()); message.CodeOf(err) != message.CodeConflict {
		t.Errorf("no sealing key: %v", err)
	}
	if _, err := unsealed.Encode(session.New("anna", nil, nil)); err != nil {
		t.Error(err)
	}
}

// TestByHand verifies tokens with nothing but the standard library, and the keys
// of the JWK set.
func TestByHand(t *testing.T) {
	t.Parallel()
	for alg, cfg := range map[string]token.Config{
		"EdDSA": {}, "ES256": {Keys: []token.Key{{File: pemFile(t, elliptic.P256()), Kid: "p"}}, Sealing: secret},
	} {
		c := newCodec(t, cfg)
		tok := encode(t, c, anna())
		parts := strings.Split(tok, ".")
		var h struct{ Alg, Kid, Typ string }
		var set struct {
			Keys []struct{ Kty, Crv, Kid, Alg, Use, X, Y, D string }
		}
		var claims struct {
			Iss, Aud, Sub, Jti, Sec string
			Iat, Nbf, Exp           int64
			Pub                     map[string]string
		}
		for b, v := range map[string]any{string(unb64(t, parts[0])): &h, string(c.JWKS()): &set, string(unb64(t, parts[1])): &claims} {
			if err := json.Unmarshal([]byte(b), v); err != nil {
				t.Fatal(err)
			}
		}
		if h.Alg != alg || h.Typ != "ropewalk+jwt" || len(set.Keys) != 1 {
			t.Fatalf("%+v, %+v", h, set)
		}
		k := set.Keys[0]
		if k.Kid != h.Kid || k.Alg != alg || k.Use != "sig" || k.D != "" {
			t.Fatalf("%+v", k)
		}
		sig, in := unb64(t, parts[2]), []byte(parts[0]+"."+parts[1])
		var good bool
		if alg == "EdDSA" {
			good = ed25519.Verify(unb64(t, k.X), in, sig)
		} else {
			public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, unb64(t, k.X), unb64(t, k.Y)))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(in)
			good = ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
		}
		if !good {
			t.Errorf("%s: the signature is wrong", alg)
		}
		if claims.Iss != "ropewalk:test" || claims.Aud != claims.Iss || claims.Sub != "anna" || claims.Jti == "" ||
			claims.Pub["role"] != "editor" || claims.Exp != claims.Iat+3600 || claims.Nbf != claims.Iat {
			t.Errorf("%+v", claims)
		}
		if sealed := strings.Split(claims.Sec, "."); len(sealed) != 5 || sealed[1] != "" {
			t.Errorf("%q is no direct JWE", claims.Sec)
		}
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	c := newCodec(t, token.Config{})
	done := make(chan error, 8)
	for i := range 8 {
		go func() {
			var err error
			for range 50 {
				if i == 0 {
					err = c.Rotate()
				} else {
					var tok string
					if tok, err = c.Encode(anna()); err == nil {
						_, err = c.Decode(t.Context(), tok)
					}
				}
				if err != nil {
					break
				}
			}
			done <- err
		}()
	}
	for range 8 {
		// After 31 rotations the oldest keys are gone, and so are their tokens.
		if err := <-done; err != nil && !slices.Contains([]token.Reason{token.ReasonUnknownKey, token.ReasonSealed}, token.ReasonOf(err)) {
			t.Error(err)
		}
	}
}

func dump(s *session.Session) string {
	return fmt.Sprint(s.ID, s.Subject, s.Issuer, s.Public, s.Secret, s.Since, s.Expires, s.Idle, s.Limit, s.Held)
}
