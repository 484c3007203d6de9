package middleware_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

func TestDeadline(t *testing.T) {
	t.Parallel()
	cfg := middleware.DeadlineConfig{
		RouteDeadline: middleware.RouteDeadline{Default: seconds(10), Max: seconds(60)},
		Routes: map[string]middleware.RouteDeadline{
			"a:/quick":  {Max: seconds(2)},
			"a:/report": {Default: seconds(120), Max: seconds(600)},
		},
	}
	for _, c := range []struct {
		name  string
		cfg   middleware.DeadlineConfig
		route string
		asked time.Duration
		verb  message.Verb
		want  time.Duration // of a node that gives 30 s, and lets nobody change it
		wide  time.Duration // of one that does
	}{
		{"ok, default", cfg, "a:/x", 0, message.VerbCall, 10 * time.Second, 10 * time.Second},
		{"asked", cfg, "a:/x", 20 * time.Second, message.VerbCall, 20 * time.Second, 20 * time.Second},
		{"too much", cfg, "a:/x", 100 * time.Second, message.VerbCall, 60 * time.Second, 60 * time.Second},
		{"short route", cfg, "a:/quick", 0, message.VerbCall, 2 * time.Second, 2 * time.Second},
		{"short route, asked", cfg, "a:/quick", 5 * time.Second, message.VerbCall, 2 * time.Second, 2 * time.Second},
		{"long route", cfg, "a:/report", 0, message.VerbCall, 30 * time.Second, 120 * time.Second},
		{"no message with an answer", cfg, "a:/x", 0, message.VerbSend, 30 * time.Second, 30 * time.Second},
		{"nothing configured", middleware.DeadlineConfig{}, "a:/x", 0, message.VerbCall, 30 * time.Second, 30 * time.Second},
		{"only a longest time", middleware.DeadlineConfig{RouteDeadline: middleware.RouteDeadline{Max: seconds(60)}}, "a:/x", 0, message.VerbCall, 30 * time.Second, 30 * time.Second},
		{"only a short longest time", middleware.DeadlineConfig{RouteDeadline: middleware.RouteDeadline{Max: seconds(3)}}, "a:/x", 0, message.VerbCall, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := middleware.Deadline(c.cfg)(ignore)
				ask := func() *call {
					in := newCall(c.route)
					in.req.Message.Timeout, in.req.Message.Verb = c.asked, c.verb
					if c.asked > 0 {
						in.req.Deadline = in.req.Received.Add(c.asked)
					}
					return in
				}
				in := run(t, h, ask())
				if got := in.req.Deadline.Sub(in.req.Received); got != c.want {
					t.Errorf("deadline after %v, want %v", got, c.want)
				}
				time.Sleep(c.want - time.Nanosecond)
				synctest.Wait()
				if in.code() != "open" {
					t.Errorf("it ended too early: %v", in.err)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if node := in.req.Message.Timeout; in.code() != message.CodeDeadlineExceeded && c.want < max(node, 30*time.Second) && c.want != node {
					t.Error("it was not ended")
				}
				_ = in.finish(nil)

				wide := &settable{call: ask()}
				h.Handle(t.Context(), wide.req, &wrapped{wide})
				if got := wide.req.Deadline.Sub(wide.req.Received); got != c.wide {
					t.Errorf("settable deadline after %v, want %v", got, c.wide)
				}
				if !wide.set.IsZero() && !wide.set.Equal(wide.req.Deadline) {
					t.Error("the node and the request have other deadlines")
				}
			})
		})
	}
}

// A timer that goes back to the pool must not end the call that gets it next.
func TestDeadlineTimersAreReused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Deadline(middleware.DeadlineConfig{RouteDeadline: middleware.RouteDeadline{Default: seconds(1)}})(ignore)
		for range 100 {
			c := run(t, h, newCall("a:/x"))
			time.Sleep(900 * time.Millisecond)
			_ = c.finish(nil)
			if c.code() != "" {
				t.Fatal(c.err)
			}
		}
	})
}

type settable struct {
	*call

	set time.Time
}

func (s *settable) SetDeadline(t time.Time) { s.set = t }

// wrapped is a Responder as middleware makes them.
type wrapped struct{ route.Responder }

func (w *wrapped) Unwrap() route.Responder { return w.Responder }

// A call of a route that allows more than its node gets what it asked for, as
// long as the route allows that.
func TestDeadlineAskedForMoreThanTheNode(t *testing.T) {
	t.Parallel()
	h := middleware.Deadline(middleware.DeadlineConfig{Routes: map[string]middleware.RouteDeadline{"a:/report": {Max: seconds(600)}}})(ignore)
	for asked, want := range map[time.Duration]time.Duration{20 * time.Second: 20 * time.Second, 300 * time.Second: 300 * time.Second, time.Hour: 600 * time.Second} {
		c := &settable{call: newCall("a:/report")}
		c.req.Message.Timeout = asked
		c.req.Deadline = c.req.Received.Add(min(asked, 30*time.Second)) // that of the node
		h.Handle(t.Context(), c.req, c)
		if got := c.req.Deadline.Sub(c.req.Received); got != want {
			t.Errorf("asked for %v, got %v, want %v", asked, got, want)
		}
	}
}
