// Package gcpace lets a program with a small heap collect garbage less often.
//
// Go starts a collection when the heap has doubled. A node that holds a few
// megabytes and makes a kilobyte of garbage a call would collect dozens of
// times a second to save memory that nobody misses. With a floor, garbage may
// grow to a fixed size first; once the live heap is larger than that, Go's own
// rule holds.
package gcpace

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// Floor is how much garbage is always allowed, in bytes.
	Floor = 16 << 20
	// usual is Go's default: as much garbage as live heap.
	usual = 100
	// most bounds how far a small heap may grow, relative to itself.
	most = 800
	// period is how often the pace is set anew: heaps grow over seconds.
	period = 5 * time.Second
)

// Run keeps the pace until ctx ends. It leaves the pace alone, and returns at
// once, when the environment sets GOGC.
func Run(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	now := most / 2
	before := debug.SetGCPercent(now)
	defer debug.SetGCPercent(before)
	t := time.NewTicker(period)
	defer t.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		metrics.Read(sample)
		if p := percent(sample[0].Value.Uint64()); p != now {
			debug.SetGCPercent(p)
			now = p
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// percent returns the GOGC at which a heap of live bytes may gather Floor
// bytes of garbage.
func percent(live uint64) int {
	if live == 0 {
		return most / 2
	}
	return int(min(max(Floor*100/live, usual), most)) //nolint:gosec // at most 800
}
