// Package hist counts latencies in a fixed table, so that recording one costs
// a few nanoseconds and no memory.
package hist

import (
	"math/bits"
	"time"
)

// Each power of two is cut into 64 buckets: a reading is at most 1.6 % too high.
const (
	cutBits = 6
	cuts    = 1 << cutBits
	buckets = (64 - cutBits + 1) * cuts
)

// Hist is a table of latencies. The zero Hist is empty and ready.
type Hist struct {
	count [buckets]uint64
	n     uint64
	max   time.Duration
}

// Add records one latency; a negative one counts as 0.
func (h *Hist) Add(d time.Duration) {
	d = max(d, 0)
	h.count[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

// Count is how many were recorded.
func (h *Hist) Count() uint64 { return h.n }

// Max is the longest that was recorded.
func (h *Hist) Max() time.Duration { return h.max }

// Quantile is the latency that the share q of all did not exceed (0.99: the
// p99), rounded up to its bucket's upper end; 0 if nothing was recorded.
func (h *Hist) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.n)), h.n-1)
	var seen uint64
	for i, c := range h.count {
		if seen += c; seen > rank {
			return min(time.Duration(upper(i)), h.max)
		}
	}
	return h.max
}

// bucket is exact below 64 ns; above, the top 7 bits of v name the bucket.
func bucket(v uint64) int {
	if v < cuts {
		return int(v)
	}
	shift := bits.Len64(v) - cutBits - 1
	return (shift+1)*cuts + int(v>>shift) - cuts
}

// upper is the largest value that falls into bucket i.
func upper(i int) uint64 {
	if i < cuts {
		return uint64(i)
	}
	shift := i/cuts - 1
	return (uint64(i%cuts+cuts)+1)<<shift - 1
}
