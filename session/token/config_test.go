package token_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/session/token"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	idp := token.Issuer{URL: "https://login.example.com", Audience: "shop"}
	issuers := func(f func(*token.Issuer)) token.Config {
		i := idp
		f(&i)
		return token.Config{Issuers: []token.Issuer{i}}
	}
	at := time.Now()
	for name, tc := range map[string]struct {
		cfg  token.Config
		want string
	}{
		"zero":          {token.Config{}, ""},
		"full":          {token.Config{Secret: secret, Issuers: []token.Issuer{idp}}, ""},
		"secret":        {token.Config{Secret: "short"}, "secret: it has 5 characters"},
		"sealing":       {token.Config{Sealing: "short"}, "sealing: it has 5"},
		"old":           {token.Config{OldSecrets: []string{secret, ""}}, "oldSecrets[1]: it has 0"},
		"old sealing":   {token.Config{OldSealing: []string{"x"}}, "oldSealing[0]: it has 1"},
		"two":           {token.Config{Sealing: "x", Secret: "y"}, "sealing: it has 1 characters"},
		"issuer":        {token.Config{Issuer: strings.Repeat("x", 600)}, "issuer: it has more"},
		"audience":      {token.Config{Audience: strings.Repeat("x", 600)}, "audience: it has more"},
		"no file":       {token.Config{Keys: []token.Key{{}}}, "keys[0].file: "},
		"alg":           {token.Config{Keys: []token.Key{{File: "a"}, {File: "f", Alg: "none"}}}, `keys[1].alg: "none"`},
		"RS256":         {token.Config{Keys: []token.Key{{File: "f", Alg: "RS256"}}}, `keys[0].alg: `},
		"kid":           {token.Config{Keys: []token.Key{{File: "f", Kid: strings.Repeat("x", 300)}}}, `keys[0].kid: `},
		"until":         {token.Config{Keys: []token.Key{{File: "f", From: at, Until: at}}}, `keys[0].until: `},
		"many keys":     {token.Config{Keys: make([]token.Key, 100)}, `keys: there are more`},
		"many":          {token.Config{Issuers: make([]token.Issuer, 100)}, `issuers: there are more`},
		"twice":         {token.Config{Issuers: []token.Issuer{idp, idp}}, `issuers[1].url: `},
		"ourselves":     {token.Config{Issuer: idp.URL, Issuers: []token.Issuer{idp}}, `issuers[0].url: `},
		"http":          {issuers(func(i *token.Issuer) { i.URL = "http://login.example.com" }), "issuers[0].url: "},
		"http here":     {issuers(func(i *token.Issuer) { i.URL = "http://127.0.0.1:8080/realm" }), ""},
		"http here v6":  {issuers(func(i *token.Issuer) { i.URL = "http://[::1]:8080" }), ""},
		"localhost":     {issuers(func(i *token.Issuer) { i.URL = "http://localhost" }), ""},
		"localhost.x":   {issuers(func(i *token.Issuer) { i.URL = "http://localhost.example.com" }), "issuers[0].url: "},
		"127.evil":      {issuers(func(i *token.Issuer) { i.URL = "http://127.0.0.1.example.com" }), "issuers[0].url: "},
		"no URL":        {issuers(func(i *token.Issuer) { i.URL = "login" }), "issuers[0].url: "},
		"file":          {issuers(func(i *token.Issuer) { i.URL = "file:///etc/passwd" }), "issuers[0].url: "},
		"user":          {issuers(func(i *token.Issuer) { i.URL = "https://u:p@login.example.com" }), "issuers[0].url: it must have neither"},
		"no audience":   {issuers(func(i *token.Issuer) { i.Audience = "" }), "issuers[0].audience: "},
		"foreign HS256": {issuers(func(i *token.Issuer) { i.Algorithms = []string{"ES256", "HS256"} }), "issuers[0].algorithms[1]: "},
		"foreign none":  {issuers(func(i *token.Issuer) { i.Algorithms = []string{"none"} }), "issuers[0].algorithms[0]: "},
		"JWKS":          {issuers(func(i *token.Issuer) { i.JWKSURL = "http://keys.example.com" }), "issuers[0].jwksURL: "},
		"both":          {issuers(func(i *token.Issuer) { i.Public, i.Secret = []string{"a"}, []string{"b", "a"} }), "issuers[0].secret[1]: "},
	} {
		err := tc.cfg.Validate()
		switch {
		case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		case err != nil:
			if _, err := token.New(tc.cfg, token.Options{}); err == nil {
				t.Errorf("%s: New takes it", name)
			}
		}
	}
}
