package session_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func TestWire(t *testing.T) {
	t.Parallel()
	s := session.New("anna", session.Claims{"role": "editor", "list": []any{1.0, nil}}, session.Claims{"pin": "planted-secret"})
	s.Issuer = "https://idp.example"
	s.Since, s.Expires = time.UnixMilli(1_763_776_994_123), time.UnixMilli(1_763_776_994_001)
	s.Limit = s.Expires.Add(time.Hour)
	for _, secrets := range []bool{true, false} {
		b := s.Wire(secrets)
		if bytes.Contains(b, []byte("planted-secret")) != secrets {
			t.Errorf("secrets %v: %s", secrets, b)
		}
		got, err := session.ParseWire(b)
		if err != nil || got.ID != s.ID || got.Subject != "anna" || got.Issuer != s.Issuer || !reflect.DeepEqual(got.Public, s.Public) ||
			!got.Since.Equal(s.Since) || !got.Expires.Equal(s.Expires) {
			t.Errorf("got %+v of %s, %v", got, b, err)
		}
		if secrets && !reflect.DeepEqual(got.Secret, s.Secret) {
			t.Errorf("got secret claims %v", got.Secret)
		}
		if again := s.Wire(secrets); &again[0] != &b[0] {
			t.Error("it is made twice")
		}
	}
	s = session.New("anna", nil, nil)
	if a, b := s.Wire(true), s.Wire(false); &a[0] != &b[0] {
		t.Error("without secret claims there are two forms")
	}
	var none *session.Session
	if session.Anonymous().Wire(true) != nil || none.Wire(false) != nil {
		t.Error("nobody's session has bytes")
	}
}

func TestWireEnds(t *testing.T) {
	t.Parallel()
	s := session.New("anna", nil, nil)
	s.Limit = time.UnixMilli(5000)
	if got, err := session.ParseWire(s.Wire(false)); err != nil || !got.Expires.Equal(s.Limit) {
		t.Errorf("ends %v, %v", got.Expires, err)
	}
}

func TestParseWire(t *testing.T) {
	t.Parallel()
	for _, b := range []string{"", "{}", `{"subject":"anna"}`, "null"} { // without an id it is nobody
		if s, err := session.ParseWire([]byte(b)); err != nil || !s.Anonymous() || s.Authenticated() {
			t.Errorf("%q: %v, %v", b, s, err)
		}
	}
	for name, b := range map[string]string{
		"no JSON":    "{",
		"a list":     "[]",
		"large":      `{"id":"a","public":{"a":"` + strings.Repeat("x", 3*session.MaxSize) + `"}}`,
		"over":       `{"id":"a","public":{"a":"` + strings.Repeat("x", session.MaxSize) + `"}}`,
		"deep":       `{"id":"a","public":{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`,
		"long id":    `{"id":"` + strings.Repeat("x", 1000) + `"}`,
		"both":       `{"id":"a","public":{"a":1},"secret":{"a":2}}`,
		"far future": `{"id":"a","since":1e300}`,
		"far past":   `{"id":"a","expires":-1e300}`,
		"no number":  `{"id":"a","since":1e999}`,
	} {
		s, err := session.ParseWire([]byte(b))
		var e *message.Error
		if !errors.As(err, &e) || e.Code != message.CodeBadMessage || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func FuzzParseWire(f *testing.F) {
	s := session.New("anna", session.Claims{"role": "editor"}, session.Claims{"shard": 7.0})
	s.Expires = time.Now().Add(time.Hour)
	f.Add(s.Wire(true))
	f.Add([]byte(`{"id":"\ud800","since":0.001,"expires":1e10,"public":{"a":{"b":[1e5]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := session.ParseWire(b)
		if err != nil {
			return
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		again, err := session.ParseWire(s.Wire(true))
		if err != nil || again.ID != s.ID || again.Subject != s.Subject || !same(again.Public, s.Public) || !same(again.Secret, s.Secret) ||
			!again.Since.Equal(s.Since) || !again.Expires.Equal(s.Expires) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

func same(a, b session.Claims) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }
