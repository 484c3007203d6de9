package main

import (
	"math/bits"
	"time"
)

// histogram counts times in buckets whose width is 1/32 of their value or less:
// quantiles are exact to 3 %. The zero histogram is empty.
type histogram struct {
	counts [64 * steps]uint64
	n      uint64
	sum    time.Duration
	max    time.Duration
}

// steps is the number of buckets to each doubling.
const (
	stepBits = 5
	steps    = 1 << stepBits
)

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// bucket keeps the stepBits bits below the first.
func bucket(v uint64) int {
	if v < steps {
		return int(v)
	}
	exp := bits.Len64(v) - 1 - stepBits
	return (exp+1)*steps + int(v>>exp) - steps
}

// floor returns the smallest value of a bucket.
func floor(b int) uint64 {
	if b < steps {
		return uint64(b)
	}
	exp := b/steps - 1
	return uint64(b%steps+steps) << exp
}

func (h *histogram) mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}

// quantile returns the time that the share q of all times does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	want := uint64(q * float64(h.n))
	var seen uint64
	for b, n := range h.counts {
		seen += n
		if n > 0 && seen > want {
			return min(time.Duration(floor(b+1)-1), h.max)
		}
	}
	return h.max
}
