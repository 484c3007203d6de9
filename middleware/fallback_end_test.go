package middleware_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// told is a Finisher that keeps what it is told.
type told []message.Code

func (f *told) Finished(o route.Outcome) {
	if o.Err == nil {
		*f = append(*f, "ok")
		return
	}
	*f = append(*f, o.Err.Code)
}

func (f *told) once(t *testing.T, what string, want message.Code) {
	t.Helper()
	if len(*f) != 1 || (*f)[0] != want {
		t.Errorf("%s was told %v, want once %q", what, *f, want)
	}
}

// What stands around the first address is told that this has failed, and not how
// the call ended in the end.
func TestFallbackEndsAttempts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule          middleware.FallbackRoute
		second        message.Code // of the other address
		first, outer  message.Code // what is told
		secondIsTaken bool
	}{
		"another address": {middleware.FallbackRoute{To: []string{"eu:/x"}, Idempotent: true}, "", "node_lost", "ok", true},
		"both fail":       {middleware.FallbackRoute{To: []string{"eu:/x"}, Idempotent: true}, "overloaded", "node_lost", "node_lost", true},
		"value":           {middleware.FallbackRoute{Value: []byte("0")}, "", "node_lost", "ok", false},
		"nothing":         {middleware.FallbackRoute{Last: seconds(1)}, "", "node_lost", "node_lost", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in taken
			h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{"shop:/x": c.rule}})(&in)
			var outer, first, second told
			a := newAsk("anna", "shop:/x", "")
			a.OnFinish(&outer)
			a.to(h)
			in.calls[0].OnFinish(&first)
			_ = in.calls[0].Fail(failed(message.CodeNodeLost, false))
			first.once(t, "the first", c.first)
			if c.secondIsTaken {
				in.calls[1].OnFinish(&second)
				want := message.Code("ok")
				if c.second == "" {
					reply1(in.calls[1], "1")
				} else {
					_ = in.calls[1].Fail(failed(c.second, true))
					want = c.second
				}
				second.once(t, "the second", want)
			}
			first.once(t, "the first", c.first)
			outer.once(t, "the outside", c.outer)
			var late told
			in.calls[0].OnFinish(&late)
			if len(late) != 1 {
				t.Errorf("who came late was told %v", late)
			}
		})
	}
}

// A first address whose time is over gives back what it holds.
func TestFallbackAfterEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var in taken
		limit := middleware.Limit(slog.New(slog.DiscardHandler), middleware.LimitConfig{Calls: 1})
		h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
			"shop:/x": {To: []string{"eu:/x"}, After: seconds(1), Idempotent: true},
			"shop:/y": {To: []string{"eu:/y"}, After: seconds(1)},
		}})(limit(&in))
		a := newAsk("anna", "shop:/x", "").to(h)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if in.len() != 2 {
			t.Fatalf("%d were asked, want 2: the place of the first is not free", in.len())
		}
		reply1(in.calls[1], "eu")
		// Nothing can answer in its place, so it goes on; how it ends then is what
		// the caller learns.
		b := newAsk("anna", "shop:/y", "").to(h)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		_ = in.calls[2].Fail(failed(message.CodeNodeLost, false))
		if a.got() != "eu" || b.got() != "!node_lost" {
			t.Errorf("got %s and %s", a.got(), b.got())
		}
	})
}

// Nobody is asked for a caller who has left.
func TestFallbackForNobody(t *testing.T) {
	t.Parallel()
	var in taken
	h := middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: map[string]middleware.FallbackRoute{
		"shop:/x": {To: []string{"eu:/x"}},
	}})(&in)
	a := newAsk("anna", "shop:/x", "").to(h)
	_ = a.Fail(context.Canceled)
	_ = in.calls[0].Fail(failed(message.CodeOverloaded, true))
	if in.len() != 1 {
		t.Error("another address was asked")
	}
}
