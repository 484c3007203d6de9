package token_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

// with returns o with other members; nil takes one out.
func with(o object, pairs ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(pairs); i += 2 {
		if o[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
			delete(o, pairs[i].(string))
		}
	}
	return o
}

func nested(n int) any {
	var v any = "x"
	for range n {
		v = []any{v}
	}
	return v
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	file, private := jwkFile(t, "k1")
	public := private.Public().(ed25519.PublicKey)
	pkix, _ := x509.MarshalPKIXPublicKey(public)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	_, mallory, _ := ed25519.GenerateKey(nil)
	malloryJWK := object{"kty": "OKP", "crv": "Ed25519", "x": b64(mallory.Public().(ed25519.PublicKey))}
	c := newCodec(t, token.Config{Keys: []token.Key{{File: file}}, OldSecrets: []string{secret}, Sealing: secret + "!"})
	var hsKid string
	for _, k := range c.Keys() {
		if k.Alg == "HS256" {
			hsKid = k.Kid
		}
	}
	h := object{"alg": "EdDSA", "kid": "k1", "typ": "ropewalk+jwt"}
	p := object{
		"iss": "ropewalk:test", "aud": "ropewalk:test", "sub": "anna", "jti": "j1",
		"iat": now(-time.Minute), "exp": now(time.Minute),
	}
	good := forge(t, h, p, private)
	parts := strings.Split(good, ".")
	victim := encode(t, c, session.New("eve", nil, session.Claims{"admin": true}))
	stolen := token.Show(victim)
	if !stolen.Sealed || stolen.Claims["sec"] != nil {
		t.Fatalf("%+v", stolen)
	}
	_, sec, _ := strings.Cut(string(unb64(t, strings.Split(victim, ".")[1])), `"sec":"`)
	sec, _, _ = strings.Cut(sec, `"`)
	jwe := strings.Split(sec, ".")
	zipped := strings.Join(append([]string{b64([]byte(strings.Replace(string(unb64(t, jwe[0])), "{", `{"zip":"DEF",`, 1)))}, jwe[1:]...), ".")
	flip := []byte(parts[2])
	flip[len(flip)-1]++ // the last four bits of 86 characters stand for nothing

	for name, tc := range map[string]struct {
		tok  string
		want token.Reason
	}{
		"ok":       {good, ""},
		"HS256 ok": {forge(t, with(h, "alg", "HS256", "kid", hsKid), p, derived(t)), ""},

		"empty":             {"", token.ReasonMalformed},
		"dots":              {"..", token.ReasonMalformed},
		"two parts":         {parts[0] + "." + parts[1], token.ReasonMalformed},
		"four parts":        {good + ".", token.ReasonMalformed},
		"JSON form":         {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, token.ReasonMalformed},
		"detached":          {parts[0] + ".." + parts[2], token.ReasonMalformed},
		"blank":             {" " + good, token.ReasonMalformed},
		"line end":          {good + "\n", token.ReasonMalformed},
		"line end inside":   {parts[0] + ".\r\n" + parts[1] + "." + parts[2], token.ReasonMalformed},
		"padded":            {good + "==", token.ReasonMalformed},
		"other last bits":   {parts[0] + "." + parts[1] + "." + string(flip), token.ReasonMalformed},
		"giant":             {good + strings.Repeat("A", token.MaxSize), token.ReasonTooLarge},
		"giant header":      {forge(t, with(h, "x", strings.Repeat("x", 8<<10)), p, private), token.ReasonMalformed},
		"header not object": {forge(t, `["alg"]`, p, private), token.ReasonMalformed},
		"payload no object": {forge(t, h, `"x"`, private), token.ReasonMalformed},
		"payload null":      {forge(t, h, `null`, private), token.ReasonMalformed},

		"none":            {forge(t, with(h, "alg", "none"), p, nil), token.ReasonAlgorithm},
		"None":            {forge(t, with(h, "alg", "NoNe"), p, nil), token.ReasonAlgorithm},
		"none signed":     {forge(t, with(h, "alg", "none"), p, private), token.ReasonAlgorithm},
		"no alg":          {forge(t, with(h, "alg", nil), p, private), token.ReasonMalformed},
		"alg a number":    {forge(t, with(h, "alg", 1), p, private), token.ReasonMalformed},
		"eddsa":           {forge(t, with(h, "alg", "eddsa"), p, private), token.ReasonAlgorithm},
		"HS with raw key": {forge(t, with(h, "alg", "HS256"), p, []byte(public)), token.ReasonAlgorithm},
		"HS with PEM":     {forge(t, with(h, "alg", "HS256"), p, publicPEM), token.ReasonAlgorithm},
		"HS with DER":     {forge(t, with(h, "alg", "HS256"), p, pkix), token.ReasonAlgorithm},
		"Ed with HS kid":  {forge(t, with(h, "kid", hsKid), p, private), token.ReasonAlgorithm},
		"RS256":           {forge(t, with(h, "alg", "RS256"), p, private), token.ReasonAlgorithm},
		"ES256 of Ed":     {forge(t, with(h, "alg", "ES256"), p, private), token.ReasonAlgorithm},
		"plain secret":    {forge(t, with(h, "alg", "HS256", "kid", hsKid), p, []byte(secret)), token.ReasonSignature},
		"empty HMAC":      {forge(t, with(h, "alg", "HS256", "kid", hsKid), p, []byte{}), token.ReasonSignature},

		"no kid":        {forge(t, with(h, "kid", nil), p, private), token.ReasonUnknownKey},
		"other kid":     {forge(t, with(h, "kid", "k2"), p, private), token.ReasonUnknownKey},
		"kid a path":    {forge(t, with(h, "kid", "../../dev/null"), p, private), token.ReasonUnknownKey},
		"kid of SQL":    {forge(t, with(h, "kid", "x' UNION SELECT 'k"), p, private), token.ReasonUnknownKey},
		"long kid":      {forge(t, with(h, "kid", strings.Repeat("k", 300)), p, private), token.ReasonMalformed},
		"jwk":           {forge(t, with(h, "jwk", malloryJWK), p, mallory), token.ReasonMalformed},
		"jku":           {forge(t, with(h, "jku", "https://mallory.example/jwks"), p, mallory), token.ReasonMalformed},
		"x5u":           {forge(t, with(h, "x5u", "https://mallory.example/x"), p, mallory), token.ReasonMalformed},
		"x5c":           {forge(t, with(h, "x5c", []any{"AA=="}), p, mallory), token.ReasonMalformed},
		"crit":          {forge(t, with(h, "crit", []any{"exp"}), p, private), token.ReasonMalformed},
		"b64":           {forge(t, with(h, "b64", false), p, private), token.ReasonMalformed},
		"unknown":       {forge(t, with(h, "planted", 1), p, private), token.ReasonMalformed},
		"no typ":        {forge(t, with(h, "typ", nil), p, private), token.ReasonMalformed},
		"other typ":     {forge(t, with(h, "typ", "JWT"), p, private), token.ReasonMalformed},
		"alg twice":     {forge(t, `{"alg":"none","alg":"EdDSA","kid":"k1","typ":"ropewalk+jwt"}`, p, private), token.ReasonMalformed},
		"Alg":           {forge(t, `{"Alg":"EdDSA","kid":"k1","typ":"ropewalk+jwt"}`, p, private), token.ReasonMalformed},
		"not signed":    {parts[0] + "." + parts[1] + ".", token.ReasonSignature},
		"other key":     {forge(t, h, p, mallory), token.ReasonSignature},
		"other payload": {change(t, good, 1, `"anna"`, `"eve"`), token.ReasonSignature},
		"other header":  {change(t, good, 0, `"k1"`, ` "k1"`), token.ReasonSignature},

		"no iss":        {forge(t, h, with(p, "iss", nil), private), token.ReasonIssuer},
		"other iss":     {forge(t, h, with(p, "iss", "ropewalk:other"), private), token.ReasonIssuer},
		"iss in caps":   {forge(t, h, with(p, "iss", "Ropewalk:Test"), private), token.ReasonIssuer},
		"iss a list":    {forge(t, h, with(p, "iss", []any{"ropewalk:test"}), private), token.ReasonMalformed},
		"ISS":           {forge(t, h, with(p, "iss", nil, "ISS", "ropewalk:test"), private), token.ReasonIssuer},
		"no aud":        {forge(t, h, with(p, "aud", nil), private), token.ReasonAudience},
		"other aud":     {forge(t, h, with(p, "aud", "shop"), private), token.ReasonAudience},
		"no exp":        {forge(t, h, with(p, "exp", nil), private), token.ReasonMalformed},
		"exp null":      {forge(t, h, `{"iss":"ropewalk:test","aud":"ropewalk:test","jti":"j","iat":1,"exp":null}`, private), token.ReasonMalformed},
		"exp a text":    {forge(t, h, with(p, "exp", "9999999999"), private), token.ReasonMalformed},
		"exp too large": {forge(t, h, with(p, "exp", 1e300), private), token.ReasonMalformed},
		"exp below 0":   {forge(t, h, with(p, "exp", -1), private), token.ReasonMalformed},
		"no iat":        {forge(t, h, with(p, "iat", nil), private), token.ReasonMalformed},
		"no jti":        {forge(t, h, with(p, "jti", nil), private), token.ReasonMalformed},
		"expired":       {forge(t, h, with(p, "exp", now(-time.Second)), private), token.ReasonExpired},
		"limit over":    {forge(t, h, with(p, "limit", now(-time.Second)), private), token.ReasonExpired},
		"limit mad":     {forge(t, h, with(p, "limit", -5), private), token.ReasonMalformed},
		"since mad":     {forge(t, h, with(p, "since", 1e200), private), token.ReasonMalformed},
		"idle mad":      {forge(t, h, with(p, "idle", -1), private), token.ReasonMalformed},
		"nbf soon":      {forge(t, h, with(p, "nbf", now(20*time.Second)), private), ""},
		"nbf later":     {forge(t, h, with(p, "nbf", now(time.Minute)), private), token.ReasonNotYet},
		"iat later":     {forge(t, h, with(p, "iat", now(50*time.Second)), private), token.ReasonNotYet},
		"sub twice":     {forge(t, h, strings.Replace(string(text(t, p)), "{", `{"sub":"eve",`, 1), private), token.ReasonMalformed},
		"not UTF-8":     {forge(t, h, strings.Replace(string(text(t, p)), "anna", "an\xff", 1), private), token.ReasonMalformed},
		"surrogate":     {forge(t, h, strings.Replace(string(text(t, p)), "anna", `an\ud800`, 1), private), token.ReasonMalformed},
		"sub of lines":  {forge(t, h, with(p, "sub", "anna\nlevel=ERROR"), private), token.ReasonMalformed},
		"long sub":      {forge(t, h, with(p, "sub", strings.Repeat("x", 300)), private), token.ReasonTooLarge},
		"nested":        {forge(t, h, with(p, "pub", object{"a": nested(10)}), private), ""},
		"nested deep":   {forge(t, h, with(p, "pub", object{"a": nested(200)}), private), token.ReasonTooLarge},
		"nested mad":    {forge(t, h, with(p, "pub", object{"a": nested(5000)}), private), token.ReasonTooLarge},
		"large claims":  {forge(t, h, with(p, "pub", object{"a": strings.Repeat("x", session.MaxSize+1)}), private), token.ReasonTooLarge},

		"sec moved":    {forge(t, h, with(p, "sec", sec), private), token.ReasonSealed},
		"sec own":      {forge(t, h, with(p, "sec", sec, "jti", stolen.Claims["jti"]), private), ""},
		"sec twice":    {forge(t, h, with(p, "sec", sec, "jti", stolen.Claims["jti"], "pub", object{"admin": false}), private), token.ReasonMalformed},
		"sec zipped":   {forge(t, h, with(p, "sec", zipped, "jti", stolen.Claims["jti"]), private), token.ReasonSealed},
		"sec a word":   {forge(t, h, with(p, "sec", "x"), private), token.ReasonSealed},
		"sec a JWS":    {forge(t, h, with(p, "sec", good), private), token.ReasonSealed},
		"sec an array": {forge(t, h, with(p, "sec", []any{sec}), private), token.ReasonMalformed},
		"sec cut":      {forge(t, h, with(p, "sec", sec[:len(sec)-4], "jti", stolen.Claims["jti"]), private), token.ReasonSealed},
		"sec of others": {forge(t, h, with(p, "sec", foreignJWE(t, jwe[0], `{"jti":"j1","claims":{"admin":true}}`)), private),
			token.ReasonSealed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := c.Decode(t.Context(), tc.tok)
			shown := c.Show(t.Context(), tc.tok)
			if tc.want == "" {
				if err != nil || !shown.Verified || shown.Reason != "" {
					t.Fatal(err, shown)
				}
				return
			}
			if s != nil {
				t.Error("there is a session beside the error")
			}
			refused(t, err, tc.want)
			if shown.Verified || shown.Reason != tc.want || shown.Problem == "" {
				t.Errorf("shown as %+v", shown)
			}
		})
	}
}

// derived returns the key that signs for secret, made by hand: HKDF of one
// block.
func derived(t *testing.T) []byte {
	t.Helper()
	prk := mac(make([]byte, 32), []byte(secret))
	return mac(prk, append([]byte("ropewalk session sign"), 1))
}

// foreignJWE seals with another key under a header that names ours.
func foreignJWE(t *testing.T, header, text string) string {
	t.Helper()
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: make([]byte, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := e.Encrypt([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := obj.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(out, ".")
	return header + "." + rest
}

// TestForeignMesh has two meshes with the same key, by mistake: the tokens of
// one are not good for the other.
func TestForeignMesh(t *testing.T) {
	t.Parallel()
	a := newCodec(t, token.Config{Secret: secret}, token.Options{Mesh: "a"})
	b := newCodec(t, token.Config{Secret: secret}, token.Options{Mesh: "b"})
	_, err := b.Decode(t.Context(), encode(t, a, anna()))
	refused(t, err, token.ReasonIssuer)
	b = newCodec(t, token.Config{Secret: secret, Audience: "shop"}, token.Options{Mesh: "a"})
	_, err = b.Decode(t.Context(), encode(t, a, anna()))
	refused(t, err, token.ReasonAudience)
}

// TestNothingLeaks greps all that comes out for what must not: tokens, keys,
// claims.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	reg := prometheus.NewRegistry()
	file, private := jwkFile(t, "k1")
	c, err := token.New(token.Config{Keys: []token.Key{{File: file}}, Sealing: secret}, token.Options{
		Mesh: "test", Log: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), Registry: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	tok := encode(t, c, session.New("planted-subject", session.Claims{"c": "planted-public"}, session.Claims{"d": "planted-secret"}))
	parts := strings.Split(tok, ".")
	var tried []string
	for i := range parts {
		for _, part := range []string{"", "AAAA", parts[i][1:], parts[i] + "A", b64([]byte(`{"planted":`))} {
			other := append([]string{}, parts...)
			other[i] = part
			tried = append(tried, strings.Join(other, "."))
		}
	}
	for _, tok := range tried {
		_, err := c.Decode(t.Context(), tok)
		e := message.AsError(err)
		fmt.Fprintf(&out, "%v %+v %s", err, e, message.AppendError(nil, e))
	}
	_, err = c.Encode(session.New("x", session.Claims{"planted-name": func() {}}, nil))
	fmt.Fprint(&out, c.Issuers(), c.Keys(), message.CodeOf(err))
	for _, bad := range []token.Config{
		{Secret: "planted-short"}, {OldSecrets: []string{"planted-short"}},
		{Keys: []token.Key{{File: write(t, "k", []byte(`{"kty":"oct","k":"planted"}`))}}},
	} {
		fmt.Fprint(&out, c.Configure(bad))
	}
	shown := c.Show(t.Context(), tok)
	if strings.Contains(fmt.Sprint(shown), "planted-secret") || strings.Contains(fmt.Sprint(shown), parts[2]) {
		t.Errorf("too much is shown: %+v", shown)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&out, families)
	c.Close()
	for _, never := range []string{"planted", parts[0], parts[1], parts[2], b64(private.Seed()), secret} {
		if strings.Contains(out.String(), never) {
			t.Errorf("%q got out", never)
		}
	}
	if b, err := os.ReadFile(file); err != nil || strings.Contains(out.String(), string(b)) {
		t.Error("the key file got out", err)
	}
}
