package middleware

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
)

// load has servers that do so many calls at a time without waiting be called for
// a while, with as many calls as the limit lets through and callers have.
func load(a *adapter, now *time.Time, long time.Duration, capacity float64, callers int) {
	const base = 10 * time.Millisecond
	limit := int(a.limit)
	for end := now.Add(long); now.Before(end); {
		run := min(limit, callers)
		took := time.Duration(float64(base) * max(1, float64(run)/capacity))
		*now = now.Add(took)
		for range run {
			limit = a.ended(*now, took, nil, run)
		}
	}
}

func TestAdaptFindsCapacity(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for _, start := range []int{1, 20, 400} {
		a := Adapt{Max: 1000}.adapter(start)
		for i, capacity := range []float64{50, 10, 100} {
			load(a, &now, 3*time.Minute, capacity, 2000)
			// Twice the best latency is twice as many calls as run without waiting.
			if a.limit < capacity || a.limit > 2.5*capacity {
				t.Errorf("from %d, with %v at a time, step %d: the limit is %.1f", start, capacity, i, a.limit)
			}
		}
	}
}

// What nobody wants needs no higher limit.
func TestAdaptStaysWithoutDemand(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	a := Adapt{Max: 1000}.adapter(20)
	load(a, &now, time.Minute, 50, 5)
	if a.limit != 20 {
		t.Errorf("the limit is %v", a.limit)
	}
}

// Refusals lower the limit; callers without patience do not.
func TestAdaptRefused(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	a := Adapt{Min: 3, Max: 1000}.adapter(100)
	end := func(took time.Duration, code message.Code) {
		for range 50 {
			now = now.Add(10 * time.Millisecond)
			a.ended(now, took, message.NewError(code, "", ""), 10)
		}
	}
	end(10*time.Millisecond, message.CodeNotFound) // an answer
	for range 100 {
		end(time.Millisecond, message.CodeDeadlineExceeded)
		end(time.Millisecond, message.CodeCanceled)
	}
	if a.limit != 100 {
		t.Errorf("after calls without patience the limit is %v", a.limit)
	}
	for range 20 {
		end(time.Second, message.CodeDeadlineExceeded)
		end(time.Millisecond, message.CodeOverloaded)
	}
	if a.limit != 3 {
		t.Errorf("after refusals the limit is %v", a.limit)
	}
}

// Whatever happens, the limit is between its bounds.
func TestAdaptBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.IntRange(1, 10).Draw(t, "min")
		high := low + rapid.IntRange(0, 100).Draw(t, "max")
		a := Adapt{Min: low, Max: high}.adapter(rapid.IntRange(low, high).Draw(t, "calls"))
		now := time.Unix(1_700_000_000, 0)
		codes := append([]message.Code{""}, message.Codes()...)
		for range rapid.IntRange(1, 300).Draw(t, "ends") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "pause")))
			var e *message.Error
			if code := rapid.SampledFrom(codes).Draw(t, "code"); code != "" {
				e = message.NewError(code, "", "")
			}
			took := time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "took"))
			if got := a.ended(now, took, e, rapid.IntRange(1, high).Draw(t, "ran")); got < low || got > high {
				t.Fatalf("%d is not between %d and %d", got, low, high)
			}
		}
	})
}
