package session_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func TestNew(t *testing.T) {
	t.Parallel()
	s := session.New("anna", session.Claims{"role": "editor"}, session.Claims{"shard": 7.0})
	if !s.Authenticated() || s.Anonymous() || len(s.ID) != 26 || time.Since(s.Since) > time.Minute {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]any{"role": "editor", "shard": 7.0} {
		if v, ok := s.Claim(name); !ok || v != want {
			t.Errorf("%s is %v, %v", name, v, ok)
		}
	}
	if _, ok := s.Claim("nothing"); ok {
		t.Error("there is a claim without a name")
	}
	if a := session.Anonymous(); a.Authenticated() || !a.Anonymous() || a != session.Anonymous() {
		t.Errorf("anonymous: %+v", a)
	}
	seen := map[string]bool{}
	for range 1000 {
		id := session.NewID()
		if seen[id] || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(n int) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(n) * time.Second)
	}
	for _, c := range []struct{ expires, limit, ends int }{
		{0, 0, 0}, {5, 0, 5}, {0, 5, 5}, {5, 9, 5}, {9, 5, 5}, {5, 5, 5},
	} {
		s := &session.Session{Expires: at(c.expires), Limit: at(c.limit)}
		if !s.Ends().Equal(at(c.ends)) {
			t.Errorf("%+v: ends %v", c, s.Ends())
		}
		if s.Expired(now) {
			t.Errorf("%+v: has ended", c)
		}
		if c.ends != 0 && (!s.Expired(at(c.ends)) || s.Expired(at(c.ends).Add(-1))) {
			t.Errorf("%+v: does not end when it should", c)
		}
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]*session.Session{
		"anonymous": session.Anonymous(), "id": {ID: "id"}, "anna/id": {ID: "id", Subject: "anna", Secret: session.Claims{"pin": 1}},
		"a?/id": {ID: "id", Subject: "a\xff"},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMemo(t *testing.T) {
	t.Parallel()
	s := session.New("anna", nil, nil)
	if s.Memo() != nil {
		t.Error("something is kept")
	}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() { s.SetMemo(i); s.Memo() })
	}
	wg.Wait()
	if _, ok := s.Memo().(int); !ok || s.Copy().Memo() != nil {
		t.Errorf("memo %v, of the copy %v", s.Memo(), s.Copy().Memo())
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	s := session.New("anna", session.Claims{"a": 1.0}, session.Claims{"b": 1.0})
	s.Issuer, s.Expires, s.Limit, s.Idle, s.Held, s.Revision = "i", time.Now(), time.Now(), 1, true, 9
	c := s.Copy()
	if fmt.Sprint(c.ID, c.Subject, c.Issuer, c.Public, c.Secret, c.Since, c.Expires, c.Idle, c.Limit, c.Held, c.Revision) !=
		fmt.Sprint(s.ID, s.Subject, s.Issuer, s.Public, s.Secret, s.Since, s.Expires, s.Idle, s.Limit, s.Held, s.Revision) {
		t.Errorf("%+v is no copy of %+v", c, s)
	}
	c.Public["c"] = true
	if len(s.Public) != 1 {
		t.Error("the copy shares its claims")
	}
}

// tooMuch checks that err says that a session is over the bounds.
func tooMuch(t *testing.T, what string, err error) {
	t.Helper()
	var e *message.Error
	if !errors.As(err, &e) || e.Code != message.CodeInvalidInput || e.Path != "ses" {
		t.Errorf("%s: error %v", what, err)
	}
	if err != nil && len(err.Error()) > 500 {
		t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
	}
}

func nested(n int) any {
	var v any = "leaf"
	for i := range n {
		if i%2 == 0 {
			v = []any{v}
		} else {
			v = map[string]any{"a": v}
		}
	}
	return v
}

func TestCheck(t *testing.T) {
	t.Parallel()
	with := func(c session.Claims) *session.Session { return session.New("anna", c, nil) }
	many := session.Claims{}
	for i := range session.MaxClaims + 1 {
		many[fmt.Sprint("c", i)] = true
	}
	for name, s := range map[string]*session.Session{
		"ok":     with(session.Claims{"a": []any{1.0, "x", nil, true, map[string]any{"b": 1.0}}}),
		"full":   with(session.Claims{"a": strings.Repeat("x", session.MaxSize-3)}),
		"deep":   with(session.Claims{"a": nested(session.MaxDepth - 1)}),
		"nobody": session.Anonymous(),
	} {
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := strings.Repeat("x", session.MaxName+1)
	for name, s := range map[string]*session.Session{
		"many claims":     with(many),
		"large claim":     with(session.Claims{"a": strings.Repeat("x", session.MaxSize)}),
		"giant claim":     with(session.Claims{"a": strings.Repeat("x", 10<<20)}),
		"large together":  session.New("", session.Claims{"a": strings.Repeat("x", 9000)}, session.Claims{"b": strings.Repeat("x", 9000)}),
		"deep":            with(session.Claims{"a": nested(session.MaxDepth)}),
		"very deep":       with(session.Claims{"a": nested(100_000)}),
		"no name":         with(session.Claims{"": 1.0}),
		"long name":       with(session.Claims{long: 1.0}),
		"no JSON":         with(session.Claims{"a": func() {}}),
		"long subject":    session.New(long, nil, nil),
		"long id":         {ID: long},
		"long issuer":     {ID: "a", Issuer: strings.Repeat("x", message.MaxAddress+1)},
		"in both":         session.New("", session.Claims{"a": 1.0}, session.Claims{"a": 2.0}),
		"deep and secret": session.New("", nil, session.Claims{"a": nested(session.MaxDepth)}),
	} {
		tooMuch(t, name, s.Check())
	}
}

func TestLookUpAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	s := session.New("anna", session.Claims{"role": "editor"}, session.Claims{"shard": 7.0})
	s.Wire(true)
	s.Wire(false)
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		s.Claim("shard")
		s.Wire(true)
		s.Wire(false)
		s.Expired(now)
		s.Memo()
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
