package hist_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, top := range []int64{10, 100, 10_000, 1_000_000, 10_000_000_000} {
		var h hist.Hist
		var all []time.Duration
		for range 10_000 {
			d := time.Duration(rng.Int64N(top))
			all = append(all, d)
			h.Add(d)
		}
		slices.Sort(all)
		if h.Count() != 10_000 || h.Max() != all[9_999] {
			t.Errorf("top %d: count %d, max %d; want 10000, %d", top, h.Count(), h.Max(), all[9_999])
		}
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			want := all[min(int(q*10_000), 9_999)]
			got := h.Quantile(q)
			if got < want || float64(got) > float64(want)*(1+1.0/32)+1 {
				t.Errorf("top %d: quantile %g = %d, want %d", top, q, got, want)
			}
		}
	}
}

func TestEdges(t *testing.T) { //nolint:paralleltest // counts allocations
	var h hist.Hist
	if h.Quantile(0.5) != 0 || h.Count() != 0 {
		t.Error("an empty histogram has values")
	}
	for _, d := range []time.Duration{-1, 0, 63, 64, 127, 128, math.MaxInt64} {
		h.Add(d)
	}
	if got := h.Quantile(0); got != 0 {
		t.Errorf("smallest is %d", got)
	}
	if got := h.Quantile(1); got != math.MaxInt64 {
		t.Errorf("largest is %d", got)
	}
	if n := testing.AllocsPerRun(100, func() { h.Add(12345) }); n != 0 {
		t.Errorf("%v allocations a value", n)
	}
}
