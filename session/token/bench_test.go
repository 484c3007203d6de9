package token_test

import (
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

func codecs(tb testing.TB) map[string]*token.Codec {
	jwk, _ := jwkFile(tb, "k1")
	return map[string]*token.Codec{
		"EdDSA": newCodec(tb, token.Config{Keys: []token.Key{{File: jwk}}, Sealing: secret}),
		"ES256": newCodec(tb, token.Config{Keys: []token.Key{{File: pemFile(tb, elliptic.P256())}}, Sealing: secret}),
		"HS256": newCodec(tb, token.Config{Secret: secret}),
	}
}

// TestDecodeAllocs bounds what a log-in costs, and that what is refused costs
// less.
func TestDecodeAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocations under -race mean nothing")
	}
	for alg, c := range codecs(t) {
		tok := encode(t, c, session.New("anna", session.Claims{"role": "editor"}, nil))
		count := func(tok string) float64 {
			return testing.AllocsPerRun(200, func() { _, _ = c.Decode(t.Context(), tok) })
		}
		good := count(tok)
		if good > 230 {
			t.Errorf("%s: %v allocations", alg, good)
		}
		for name, bad := range map[string]string{
			"none": forge(t, object{"alg": "none"}, object{"iss": c.Issuer()}, nil), "giant": strings.Repeat(tok, 200), "forged": change(t, tok, 1, "anna", "eve"),
		} {
			if n := count(bad); n >= good {
				t.Errorf("%s, %s: %v allocations, and %v for a good token", alg, name, n, good)
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for alg, c := range codecs(b) {
		for name, s := range map[string]*session.Session{
			"public": session.New("anna", session.Claims{"role": "editor"}, nil), "sealed": anna(),
		} {
			b.Run(alg+"/"+name, func(b *testing.B) {
				tok, ctx := encode(b, c, s), b.Context()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Decode(ctx, tok); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for alg, c := range codecs(b) {
		b.Run(alg, func(b *testing.B) {
			s := anna()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Encode(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
