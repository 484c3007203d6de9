package middleware

import (
	"context"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// DeadlineConfig is the configuration of [Deadline].
type DeadlineConfig struct {
	RouteDeadline

	// Routes are the times of single routes, by "name:/pattern". What a route
	// leaves out it takes from above.
	Routes map[string]RouteDeadline `json:"routes,omitempty"`
}

// RouteDeadline is how long calls may take.
type RouteDeadline struct {
	// Default is for a call that names no time. Default: that of the node.
	Default duration.Duration `json:"default,omitzero"`
	// Max is the longest time a call gets, whatever it asked for. Default: that
	// of the node.
	Max duration.Duration `json:"max,omitzero"`
}

// Validate says what is wrong with the configuration.
func (c DeadlineConfig) Validate() error {
	if err := c.check("default"); err != nil {
		return err
	}
	for name := range c.Routes {
		if err := c.of(name).check("routes." + name + ".default"); err != nil {
			return err
		}
	}
	return nil
}

func (d RouteDeadline) check(field string) error {
	switch {
	case d.Default < 0 || d.Max < 0:
		return invalid(field, "a time is negative", "Leave it out for the node's own.")
	case d.Max > 0 && d.Default > d.Max:
		return invalid(field, "the default time is longer than the longest", "Make default at most max.")
	}
	return nil
}

// of returns the times of one route.
func (c DeadlineConfig) of(name string) RouteDeadline {
	d := c.Routes[name]
	if d.Max == 0 {
		d.Max = c.Max
	}
	if d.Default == 0 {
		d.Default = c.Default
		if d.Max > 0 { // the general default may be too long for this route
			d.Default = min(d.Default, d.Max)
		}
	}
	return d
}

// setter is a Responder that lets the time of its call be changed, longer too.
type setter interface {
	SetDeadline(t time.Time)
}

// Deadline gives calls the time that their route allows. A call whose time is
// over is answered with [message.CodeDeadlineExceeded], and its server is told
// the shorter time. A time longer than the node's own takes effect if the
// node's Responder has a method SetDeadline(time.Time); otherwise the node's
// deadline stays, and only shorter ones count. An invalid configuration
// panics; see [DeadlineConfig.Validate].
//
// It fits the stages call and serve. A call whose deadline stays as it is
// costs a look-up in a map; another one a timer, and no allocation.
func Deadline(cfg DeadlineConfig) route.Middleware {
	must(cfg.Validate())
	general := cfg.of("")
	routes := make(map[string]RouteDeadline, len(cfg.Routes))
	for name := range cfg.Routes {
		routes[name] = cfg.of(name)
	}
	timers := &sync.Pool{}
	timers.New = func() any { return &timer{pool: timers} }
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			times, ok := routes[req.Route]
			if !ok {
				times = general
			}
			if at := times.deadline(req); !at.IsZero() && !at.Equal(req.Deadline) {
				limit(timers, at, req, res)
			}
			next.Handle(ctx, req, res)
		})
	}
}

// deadline returns when a request has to be finished, or the zero time if the
// configuration does not say.
func (d RouteDeadline) deadline(req *route.Request) time.Time {
	asked := req.Message.Timeout
	switch {
	case req.Message.EffectiveVerb() != message.VerbCall:
		return time.Time{}
	case asked <= 0:
		asked = time.Duration(d.Default)
	case d.Max > 0 && asked > time.Duration(d.Max):
		asked = time.Duration(d.Max)
	case d.Max == 0:
		return time.Time{} // the node has seen to it
	}
	if asked == 0 { // no default of ours: the node's, but not longer than max
		if asked = time.Duration(d.Max); asked == 0 || !req.Received.Add(asked).Before(req.Deadline) {
			return time.Time{}
		}
	}
	return req.Received.Add(asked)
}

func limit(timers *sync.Pool, at time.Time, req *route.Request, res route.Responder) {
	if s := setterOf(res); s != nil {
		req.Deadline = at
		s.SetDeadline(at)
		return
	}
	if !req.Deadline.IsZero() && at.After(req.Deadline) {
		return
	}
	req.Deadline = at
	t, _ := timers.Get().(*timer)
	t.start(res, time.Until(at))
	res.OnFinish(t)
}

// setterOf looks for a setter behind what other middleware wrapped.
func setterOf(res route.Responder) setter {
	for {
		switch r := res.(type) {
		case setter:
			return r
		case interface{ Unwrap() route.Responder }:
			res = r.Unwrap()
		default:
			return nil
		}
	}
}

// timer ends one call. It goes back to its pool unless it may still fire.
type timer struct {
	pool *sync.Pool
	res  route.Responder
	time *time.Timer
}

func (t *timer) start(res route.Responder, after time.Duration) {
	t.res = res
	if t.time == nil {
		t.time = time.AfterFunc(after, t.fire)
		return
	}
	t.time.Reset(after)
}

func (t *timer) fire() {
	_ = t.res.Fail(message.NewError(message.CodeDeadlineExceeded, "the call took longer than its route allows",
		"Ask for less at a time, or have the node's operator allow this route more."))
}

// Finished stops the timer.
func (t *timer) Finished(route.Outcome) {
	if t.time.Stop() {
		t.res = nil
		t.pool.Put(t)
	}
}

var _ route.Finisher = (*timer)(nil)
