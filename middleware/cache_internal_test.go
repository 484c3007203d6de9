package middleware

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	racing "github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"a:/x", "a:/", "a:/{id}/*", "*:/**", "a", ":/", "a:/x/", "a:x", "a@b:/c", "a:/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTarget(s)
		if err != nil {
			return
		}
		if got.path == "" {
			return
		}
		name, path, _ := strings.Cut(got.path, ":")
		if !got.matches(name, path) {
			t.Errorf("%q does not match itself", s)
		}
	})
}

func FuzzField(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"b":2}}`, `{"a":1,"A":2}`, `{"a":`, `[]`, `{"x":{},"a":"b"}`} {
		f.Add(s, "a")
		f.Add(s, "a.b")
	}
	f.Fuzz(func(t *testing.T, body, path string) {
		raw, ok := field([]byte(body), strings.Split(path, "."))
		if !ok || raw == nil || !json.Valid([]byte(body)) {
			return
		}
		var want any = map[string]any{}
		if json.Unmarshal([]byte(body), &want) != nil {
			return
		}
		if !json.Valid(raw) {
			t.Errorf("%q of %q is %q", path, body, raw)
		}
	})
}

func FuzzPriority(f *testing.F) {
	f.Add([]byte(`{"priority":"high"}`))
	f.Add([]byte(`{"priority":7,"priority":"critical"}`))
	s := newShedder(nil, ShedConfig{}, func() time.Duration { return 0 })
	f.Fuzz(func(t *testing.T, headers []byte) {
		req := &route.Request{Message: message.Message{Headers: headers}}
		if p := s.priority(req); p < low || p > high {
			t.Errorf("priority %v of %q", p, headers)
		}
	})
}

// kept answers nothing and keeps nothing.
type kept struct{ n int }

func (*kept) Part(route.Body) error    { return nil }
func (k *kept) Reply(route.Body) error { k.n++; return nil }
func (*kept) Fail(error) error         { return nil }
func (*kept) OnFinish(route.Finisher)  {}

func TestCacheHitAllocs(t *testing.T) {
	if racing.Enabled {
		t.Skip("allocations under -race mean nothing")
	}
	calls := 0
	h := NewCache(nil, nil, CacheConfig{Routes: map[string]CacheRoute{"a:/x": {}}}).Middleware()(
		route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
			calls++
			_ = res.Reply(route.JSON([]byte("1")))
		}))
	req := &route.Request{Route: "a:/x", Address: message.Address{Name: "a", Path: "/x"}}
	req.Message.Verb, req.Message.Body = message.VerbCall, []byte(`{"a":1}`)
	req.SetSession(session.New("anna", nil, nil))
	res := &kept{}
	if n := testing.AllocsPerRun(1000, func() { h.Handle(t.Context(), req, res) }); n > 0 || calls != 1 || res.n != 1001 {
		t.Errorf("%v allocations, %d calls, %d answers", n, calls, res.n)
	}
}
