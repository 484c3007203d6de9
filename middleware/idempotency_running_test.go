package middleware_test

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// The calls that run are bounded by what they take, together and of one user.
func TestIdempotencyRunning(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 10_000)
	cfg := middleware.IdempotencyConfig{Running: 40_000, Entries: 10, PerUser: 5}
	for name, c := range map[string]struct {
		calls []*ask
		want  string // what becomes of each: r runs or waits, o overloaded
	}{
		"of one user": {[]*ask{
			keyed("anna", "a:/x", large, "1"), keyed("anna", "a:/x", large, "2"), keyed("bert", "a:/x", large, "1"), keyed("anna", "a:/x", "", "3"),
		}, "rorr"},
		"of all": {[]*ask{
			keyed("anna", "a:/x", large, "1"), keyed("bert", "a:/x", large, "1"), keyed("carl", "a:/x", large, "1"), keyed("dora", "a:/x", large, "1"),
			keyed("dora", "a:/x", "", "2"),
		}, "rrror"},
		"those that wait": {[]*ask{
			keyed("anna", "a:/x", large[:5000], "1"), keyed("anna", "a:/x", large[:5000], "1"), keyed("anna", "a:/x", large[:5000], "1"),
			keyed("anna", "a:/x", large[:5000], "1"), keyed("bert", "a:/x", large, "1"), keyed("carl", "a:/x", large, "1"), keyed("dora", "a:/x", large, "1"),
		}, "rrrorro"},
		"one alone": {[]*ask{
			keyed("anna", "a:/x", strings.Repeat(large, 10), "1"), keyed("anna", "a:/x", "", "2"), keyed("bert", "a:/x", "", "1"),
			keyed("anna", "a:/x", strings.Repeat(large, 10), "1"),
		}, "rooo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in taken
			h := middleware.Idempotency(nil, nil, cfg)(&in)
			got := ""
			for _, a := range c.calls {
				switch a.to(h).got() {
				case "…":
					got += "r"
				case "!overloaded":
					got += "o"
				default:
					got += a.got()
				}
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			for _, call := range in.calls {
				reply1(call, "x")
			}
		})
	}
}

// Parts of answers count; one for which there is no room is not kept, and reaches
// who asked first all the same.
func TestIdempotencyRunningParts(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{Running: 3600})(&in)
	first, second := keyed("anna", "a:/x", "1", "k").to(h), keyed("bert", "a:/x", "1", "k").to(h)
	part := route.JSON([]byte(strings.Repeat("x", 1000)))
	for _, i := range []int{0, 1, 0} {
		_ = in.calls[i].Part(part)
	}
	third := keyed("carl", "a:/x", "1", "k").to(h)
	reply1(in.calls[0], "end")
	reply1(in.calls[1], "end")
	if len(first.parts) != 2 || first.got() != "end" || len(second.parts) != 1 || second.got() != "end" || in.len() < 2 {
		t.Errorf("got %d parts and %s, %d parts and %s", len(first.parts), first.got(), len(second.parts), second.got())
	}
	if third.got() != "…" { // what there was no room for does not count
		t.Errorf("a third one got %s", third.got())
	}
	again, other := keyed("anna", "a:/x", "1", "k").to(h), keyed("bert", "a:/x", "1", "k").to(h)
	if again.got() != "!conflict" || other.got() != "end" || len(other.parts) != 1 {
		t.Errorf("asked again: %s, and %s", again.got(), other.got())
	}
	reply1(in.calls[2], "end")
}

// However a call ends, it gives back all that it has held.
func TestIdempotencyRunningGivesBack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(h route.Handler, first *ask, res route.Responder){
		"reply":    func(_ route.Handler, _ *ask, res route.Responder) { reply1(res, "x") },
		"error":    func(_ route.Handler, _ *ask, res route.Responder) { _ = res.Fail(failed(message.CodeInternal, false)) },
		"not done": func(_ route.Handler, _ *ask, res route.Responder) { _ = res.Fail(failed(message.CodeOverloaded, true)) },
		"nobody waits": func(_ route.Handler, first *ask, res route.Responder) {
			first.leave()
			reply1(res, "x")
		},
		"parts": func(_ route.Handler, _ *ask, res route.Responder) {
			for range 3 {
				_ = res.Part(route.JSON([]byte(strings.Repeat("x", 40_000))))
			}
			reply1(res, "x")
		},
		"others waited": func(h route.Handler, _ *ask, res route.Responder) {
			for range 200 { // more than may
				keyed("anna", "a:/x", "1", "k").to(h)
			}
			reply1(res, "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in taken
			h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{Running: 60_000, PerUser: 10_000})(&in)
			first := keyed("anna", "a:/x", "1", "k").to(h)
			nearlyAll := strings.Repeat("x", 59_600)
			if other := keyed("bert", "a:/x", nearlyAll, "k").to(h); other.got() != "!overloaded" {
				t.Fatalf("while one runs: %s", other.got())
			}
			end(h, first, in.calls[0])
			if other := keyed("bert", "a:/x", nearlyAll, "k").to(h); other.got() != "…" {
				t.Fatalf("after it: %s", other.got())
			}
			reply1(in.calls[1], "x")
		})
	}
}

// Calls that may not wait, since too many do, hold nothing.
func TestIdempotencyRunningTooManyWait(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{Running: 200_000, PerUser: 10_000})(&in)
	body := strings.Repeat("x", 1000)
	results := map[string]int{}
	for range 1000 {
		results[keyed("anna", "a:/x", body, "k").to(h).got()]++
	}
	other := keyed("bert", "a:/x", strings.Repeat(body, 50), "k").to(h)
	if results["…"] != 101 || results["!overloaded"] != 899 || other.got() != "…" {
		t.Errorf("there were %v, another one got %s", results, other.got())
	}
	for _, call := range in.calls {
		reply1(call, "x")
	}
}
