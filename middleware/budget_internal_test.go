package middleware

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever comes when, in no ten seconds is more taken than the calls of these
// ten seconds allow, and while there is room it is given.
func TestBudgetModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.SampledFrom([]float64{0.1, 0.5, 2}).Draw(t, "share")
		base := rapid.SampledFrom([]float64{0.1, 0.5, 2}).Draw(t, "per second")
		purse := Budget{Share: share, PerSecond: base}.purses().get("a:/x")
		now := purse.began
		type event struct {
			second int64
			taken  bool
		}
		var all []event
		t.Repeat(map[string]func(*rapid.T){
			"call": func(t *rapid.T) { // which may have waited in a queue
				at := now.Add(-time.Duration(rapid.SampledFrom([]int{0, 1, 10}).Draw(t, "waited")) * time.Second)
				purse.called(at)
				all = append(all, event{second: purse.second(at)})
			},
			"take": func(t *rapid.T) {
				second, calls, taken := purse.second(now), 0, 0
				for _, e := range all {
					if e.second > second-budgetSeconds {
						if e.taken {
							taken++
						} else {
							calls++
						}
					}
				}
				want := float64(taken+1) <= share*float64(calls)+base*budgetSeconds
				if got := purse.take(now); got != want {
					t.Fatalf("taken: %v, with %d calls and %d taken", got, calls, taken)
				}
				if want {
					all = append(all, event{second: second, taken: true})
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
			},
		})
	})
}
