package message_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 5e6, time.UTC)

func TestNormaliseVectors(t *testing.T) {
	t.Parallel()
	type vector struct {
		Input       json.RawMessage
		Long, Short string
		Valid       bool
	}
	for _, v := range vectors[vector](t, "vectors-normalise.jsonl") {
		u, err := message.ParseUMF(v.Input, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(u.AppendLong(nil)); got != v.Long {
			t.Errorf("long: got\n%s\nwant\n%s", got, v.Long)
		}
		if got := string(u.AppendShort(nil)); got != v.Short {
			t.Errorf("short: got\n%s\nwant\n%s", got, v.Short)
		}
		if u.Valid() != v.Valid {
			t.Errorf("%s: got valid %v, want %v", v.Input, u.Valid(), v.Valid)
		}
	}
}

func TestUMFFillsIn(t *testing.T) {
	t.Parallel()
	u, err := message.ParseUMF([]byte(`{"to":"a:/","mid":0,"ts":"","version":null,"rmi":"r"}`), noon)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`).Match(u.Mid) {
		t.Errorf("mid %s is no UUID", u.Mid)
	}
	if string(u.Timestamp) != `"2026-11-21T12:00:00.005Z"` || string(u.Version) != `"UMF/1.4.6"` {
		t.Errorf("got timestamp %s, version %s", u.Timestamp, u.Version)
	}
	if u.Valid() || u.Rmid != nil {
		t.Errorf("got %+v", u)
	}
	for _, frame := range []string{"", "5", `"x"`, "[]", "{", `{"to":}`, "{\"to\":\"\xff\"}"} {
		_, err := message.ParseUMF([]byte(frame), noon)
		code(t, err, message.CodeBadFrame)
	}
}

func TestUMFTruth(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"null": false, "false": false, "0": false, "-0": false, "0.0e9": false, "1e-400": false, `""`: false,
		"true": true, "1": true, "1e400": true, "1e-300": true, `"0"`: true, `"\u0000"`: true, "{}": true, "[]": true,
	} {
		u, err := message.ParseUMF([]byte(`{"body":`+value+`}`), noon)
		if err != nil || (u.Body != nil) != want {
			t.Errorf("%s: got %s, %v; want present %v", value, u.Body, err, want)
		}
	}
}

func TestDecodeUMF(t *testing.T) {
	t.Parallel()
	var m message.Message
	const frame = `{"to":"a:/","frm":"b:/","mid":7,"rmid":"r","timestamp":1795283443905,"timeout":5,"hdr":{"h":1},"body":{"x":1},"version":2,"typ":true}`
	if err := message.DecodeUMF([]byte(frame), noon, &m); err != nil {
		t.Fatal(err)
	}
	want := message.Message{
		To: []byte("a:/"), From: []byte("b:/"), Mid: []byte("7"), Rmid: []byte("r"), Timestamp: []byte("1795283443905"),
		Timeout: 5 * time.Second, Headers: []byte(`{"h":1}`), Body: []byte(`{"x":1}`), UMFVersion: []byte("2"), Type: []byte("true"),
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	code(t, message.DecodeUMF(nil, noon, &m), message.CodeBadFrame)
	for frame, path := range map[string]string{
		`{"from":"b:/","body":1}`:                                                     "to",
		`{"to":"a:/","body":1}`:                                                       "frm",
		`{"to":"a:/","from":"b:/","body":0}`:                                          "bdy",
		`{"to":{},"from":"b:/","body":1}`:                                             "to",
		`{"to":"a:/","from":"b:/","body":1,"mid":[]}`:                                 "mid",
		`{"to":"a:/","from":"b:/","body":1,"hdr":"x"}`:                                "hdr",
		`{"to":"a:/","from":"b:/","body":1,"tmo":"5"}`:                                "tmo",
		`{"to":"a:/","from":"b:/","body":1,"mid":"` + strings.Repeat("m", 129) + `"}`: "mid",
	} {
		e := code(t, message.DecodeUMF([]byte(frame), noon, &m), message.CodeBadMessage)
		if e.Path != path {
			t.Errorf("%s: got path %q, want %q", frame, e.Path, path)
		}
	}
}

func TestMessageUMF(t *testing.T) {
	t.Parallel()
	m := all()
	u := m.UMF()
	const want = `{"to":"math:/decimal/mul","frm":"2945p8eigxz@client:/","hdr":{"traceparent":"00-1-2-01"},"mid":"m1","rmid":"r1",` +
		`"sig":"sig","tmo":1.5,"ts":"2026-11-21T17:50:43.905Z","typ":"typ","ver":"UMF/1.4.6","via":"v:/","fwd":"f:/",` +
		`"bdy":{"x":[1,"a\"b}"]},"aut":"token"}`
	if got := string(u.AppendShort(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	m = message.Message{Body: []byte("x"), ContentType: []byte("text/plain")}
	if u := m.UMF(); u.Body != nil {
		t.Errorf("a body that is not JSON became %s", u.Body)
	}
}

type signed struct {
	Why, Secret, Wire, Signature string
	Bytes                        string `json:"signed_bytes"`
}

func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors[signed](t, "vectors-signature.jsonl") {
		secret, wire := []byte(v.Secret), []byte(v.Wire)
		u, err := message.ParseUMF(wire, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(u.AppendLong(nil)); got != v.Bytes {
			t.Errorf("%s: got\n%s\nwant\n%s", v.Why, got, v.Bytes)
		}
		if sig, err := message.Sign(secret, wire); err != nil || sig != v.Signature {
			t.Errorf("%s: got %s, %v; want %s", v.Why, sig, err, v.Signature)
		}
		for _, name := range []string{"sig", "signature"} {
			frame := []byte(`{"` + name + `":"` + v.Signature + `",` + v.Wire[1:])
			if err := message.Verify(secret, frame); err != nil {
				t.Errorf("%s: %v", v.Why, err)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	secret := []byte("secret")
	const plain = `{"to":"a:/","from":"b:/","mid":"m","ts":"t","body":{"n":1}}`
	sig, err := message.Sign(secret, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	with := func(sig string) string { return plain[:len(plain)-1] + `,"sig":` + sig + `}` }
	if err := message.Verify(secret, []byte(with(`"`+sig+`"`))); err != nil {
		t.Error(err)
	}
	for frame, text := range map[string]string{
		plain:                                  "Not a signed UMF message",
		with(`""`):                             "Not a signed UMF message",
		with(`5`):                              "Invalid signed UMF message",
		with(`"x"`):                            "Invalid signed UMF message",
		with(`"` + strings.ToUpper(sig) + `"`): "Invalid signed UMF message",
		strings.Replace(with(`"`+sig+`"`), `"n":1`, `"n":2`, 1): "Invalid signed UMF message",
		strings.Replace(with(`"`+sig+`"`), `"mid":"m",`, "", 1): "Invalid signed UMF message",
	} {
		e := code(t, message.Verify(secret, []byte(frame)), message.CodeUnauthenticated)
		if e.Message != text {
			t.Errorf("%s: got %q, want %q", frame, e.Message, text)
		}
		code(t, message.VerifyTolerant(secret, []byte(frame)), message.CodeUnauthenticated)
	}
	code(t, message.Verify([]byte("other"), []byte(with(`"`+sig+`"`))), message.CodeUnauthenticated)
	code(t, message.Verify(secret, []byte("x")), message.CodeBadFrame)
	code(t, message.VerifyTolerant(secret, []byte("x")), message.CodeBadFrame)
	for _, frame := range []string{`{"to":"a:/","ts":"t"}`, `{"to":"a:/","mid":"m"}`} {
		_, err := message.Sign(secret, []byte(frame))
		code(t, err, message.CodeBadMessage)
	}
	_, err = message.Sign(secret, nil)
	code(t, err, message.CodeBadFrame)
}

// A signer that signs its own order of fields, as hydraTS does. The signature
// was made with openssl: printf '%s' '{"to":"a:/","mid":"m","from":"b:/","body":{}}' |
// openssl dgst -sha256 -hmac secret.
func TestVerifyTolerant(t *testing.T) {
	t.Parallel()
	const frame = `{"to":"a:/","mid":"m","signature":"SIG","from":"b:/","body":{}}`
	f := []byte(strings.Replace(frame, "SIG", ownOrder, 1))
	if err := message.VerifyTolerant([]byte("secret"), f); err != nil {
		t.Error(err)
	}
	code(t, message.Verify([]byte("secret"), f), message.CodeUnauthenticated)
}

const ownOrder = "2acf186978c1309467a5ff1d6018ad0974747a40bcdec85d838321ca397b35b5"

func FuzzUMF(f *testing.F) {
	for _, v := range []string{
		`{"to":"a:/","from":"b:/","mid":7,"ts":"t","body":{"b":1,"1":2},"sig":"x"}`, `{"to":1,"frm":[],"\u0062dy":"","sig":5}`,
		`{"to":"a:/","to":0,"tmo":1e400,"timeout":false,"headers":{},"body":[]}`,
	} {
		f.Add([]byte(v))
	}
	secret := []byte("secret")
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := message.ParseUMF(b, noon)
		if err != nil {
			code(t, err, message.CodeBadFrame)
			return
		}
		short := u.AppendShort(nil)
		again, err := message.ParseUMF(short, noon)
		if err != nil {
			t.Fatalf("%q: wrote %q: %v", b, short, err)
		}
		// What overflowed is null now, and gone.
		if twice := again.AppendShort(nil); !bytes.Equal(short, twice) && !bytes.Contains(short, []byte(":null")) {
			t.Fatalf("%q: first %s, then %s", b, short, twice)
		}
		var m message.Message
		_ = message.DecodeUMF(b, noon, &m)
		u.Signature = nil
		frame := u.AppendLong(nil)
		sig, err := message.Sign(secret, frame)
		if err != nil || bytes.Contains(short, []byte(":null")) {
			return
		}
		if err := message.Verify(secret, append(frame[:len(frame)-1], `,"sig":"`+sig+`"}`...)); err != nil {
			t.Fatalf("%q: %s does not fit: %v", b, sig, err)
		}
	})
}

// TestCanonicalHostile checks that no body makes the work grow much faster than
// itself.
func TestCanonicalHostile(t *testing.T) {
	t.Parallel()
	const depth = 500
	deep := strings.Repeat(`{"b":1,"1":`, depth) + `"` + strings.Repeat("x", 1<<18) + `"` + strings.Repeat("}", depth)
	wide := "{" + strings.Repeat(`"b":1,"7":2,`, 1<<15) + `"3":0}`
	for _, body := range []string{deep, wide} {
		start := time.Now()
		out := canonical(t, []byte(body))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d bytes took %v", len(body), took)
		}
		if !json.Valid(out) {
			t.Error("the result is not JSON")
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[{"d":null,"c":true}]}}`, `{"z":1,"10":2,"9":3,"01":4,"z":5}`, `[1.0,1e3,1e21,1e-7,-0,1e400,5e-324]`,
		`"\ud83d\ude00\ud83d\u2028/\/\u0000"`, `{"\u0061":1,"a":2}`, `{"1":{"1":{"0":0,"":0}},"0":[[],{}]}`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"1":2,"a":3}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !message.ValidJSON(b) {
			return
		}
		once := canonical(t, b)
		if twice := canonical(t, once); !bytes.Equal(once, twice) {
			t.Fatalf("%s: first %s, then %s", b, once, twice)
		}
		if !json.Valid(once) {
			t.Fatalf("%s: got %s", b, once)
		}
		// Both mean the same to encoding/json, as far as it can read numbers
		// at all and tell keys with lone surrogates apart.
		if bytes.Contains(bytes.ToLower(b), []byte(`\ud`)) {
			return
		}
		var x, y any
		if json.Unmarshal(b, &x) == nil && json.Unmarshal(once, &y) == nil && !reflect.DeepEqual(x, y) {
			t.Fatalf("%s: %s means something else", b, once)
		}
	})
}

// canonical returns a body as it is signed.
func canonical(t *testing.T, b []byte) []byte {
	t.Helper()
	u := message.UMF{Body: b}
	const prefix = `{"body":`
	out := u.AppendLong(nil)
	return out[len(prefix) : len(out)-1]
}
