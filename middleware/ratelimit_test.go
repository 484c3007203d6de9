package middleware_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// at is a call that was read at a time.
func at(when time.Time, by route.Peer, pattern string) *call {
	c := newCall(pattern)
	c.req.Received, c.req.Peer = when, by
	return c
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	one, two := peer{"p1", "192.0.2.1:1"}, peer{"p2", "192.0.2.1:2"}
	six, near := peer{"p3", "[2001:db8::1]:1"}, peer{"p4", "[2001:db8::ffff]:1"}
	mapped := peer{"p5", "[::ffff:192.0.2.1]:1"}
	in := func(s *session.Session, by route.Peer) *call {
		c := at(time.Unix(1, 0), by, "a:/x")
		c.req.SetSession(s)
		return c
	}
	anna, annaToo, bert := session.New("anna", nil, nil), session.New("anna", nil, nil), session.New("bert", nil, nil)
	cart, nobody, foreign := session.New("", nil, nil), session.Anonymous(), session.New("anna", nil, nil)
	foreign.Issuer = "https://elsewhere.example"
	for _, c := range []struct {
		by     string
		first  *call
		second *call
		same   bool // they share a count
	}{
		{"", at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), six, "b:/y"), true},
		{middleware.RateByAll, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), six, "b:/y"), true},
		{middleware.RateByClient, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), one, "b:/y"), true},
		{middleware.RateByClient, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), two, "a:/x"), false},
		{middleware.RateByClient, at(time.Unix(1, 0), nil, "a:/x"), at(time.Unix(1, 0), two, "a:/x"), false},
		{middleware.RateByIP, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), two, "a:/x"), true},
		{middleware.RateByIP, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), mapped, "a:/x"), true},
		{middleware.RateByIP, at(time.Unix(1, 0), six, "a:/x"), at(time.Unix(1, 0), near, "a:/x"), true},
		{middleware.RateByIP, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), six, "a:/x"), false},
		{middleware.RateBySession, in(anna, one), in(anna, two), true},
		{middleware.RateBySession, in(anna, one), in(annaToo, one), false},
		{middleware.RateBySession, in(cart, one), in(cart, two), true},
		{middleware.RateBySession, in(nobody, one), in(nobody, mapped), true},
		{middleware.RateBySession, in(nobody, one), in(nobody, six), false},
		{middleware.RateByUser, in(anna, one), in(annaToo, six), true},
		{middleware.RateByUser, in(anna, one), in(bert, one), false},
		{middleware.RateByUser, in(anna, one), in(foreign, one), false},
		{middleware.RateByUser, in(cart, one), in(cart, two), true}, // as by ip
		{middleware.RateByUser, in(cart, one), in(cart, six), false},
		{middleware.RateByUser, in(nobody, one), in(anna, one), false},
		{middleware.RateByRoute, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), six, "a:/x"), true},
		{middleware.RateByRoute, at(time.Unix(1, 0), one, "a:/x"), at(time.Unix(1, 0), one, "b:/y"), false},
	} {
		h := middleware.RateLimit(middleware.RateConfig{Rate: 0.5, By: c.by})(reply)
		run(t, h, c.first)
		run(t, h, c.second)
		if c.first.code() != "" || (c.second.code() == message.CodeRateLimited) != c.same {
			t.Errorf("by %q: first %q, second %q", c.by, c.first.code(), c.second.code())
		}
	}
}

func TestRateLimitSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	h := middleware.RateLimit(middleware.RateConfig{Rate: 2, Burst: 3})(reply)
	now := time.Unix(1000, 0)
	for range 3 {
		if c := run(t, h, at(now, nil, "a:/x")); c.code() != "" {
			t.Fatalf("within the burst: %v", c.err)
		}
	}
	c := run(t, h, at(now, nil, "a:/x"))
	if c.code() != message.CodeRateLimited || !c.err.Retryable || c.err.RetryAfter != 500*time.Millisecond {
		t.Fatalf("got %+v", c.err)
	}
	if c := run(t, h, at(now.Add(c.err.RetryAfter), nil, "a:/x")); c.code() != "" {
		t.Errorf("at the time that was named: %v", c.err)
	}
}

// Who comes back often keeps its count although many others pass.
func TestRateLimitForgetsTheIdle(t *testing.T) {
	t.Parallel()
	h := middleware.RateLimit(middleware.RateConfig{Rate: 0.001, Burst: 100, By: middleware.RateByClient, Keys: 20})(reply)
	now, passed := time.Unix(1, 0), 0
	for i := range 1000 {
		if run(t, h, at(now, peer{id: "busy"}, "a:/x")).code() == "" {
			passed++
		}
		run(t, h, at(now, peer{id: fmt.Sprint(i)}, "a:/x"))
	}
	if passed != 100 {
		t.Errorf("%d of the busy one passed, want 100", passed)
	}
}
