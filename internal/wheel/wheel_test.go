package wheel_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/internal/wheel"
)

func TestFiresWithinOneTick(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{
		0, time.Millisecond, wheel.DefaultTick, time.Second, 5120 * time.Millisecond,
		5121 * time.Millisecond, 30 * time.Second, 22 * time.Minute, 2 * time.Hour,
	} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := wheel.New(0)
				go w.Run(ctx)
				fired := make(chan time.Time, 1)
				start := time.Now()
				w.Reset(&wheel.Timer{Owner: wheel.Func(func() { fired <- time.Now() })}, d)
				late := (<-fired).Sub(start) - d
				if late < 0 || late > 2*wheel.DefaultTick {
					t.Errorf("fired %v late", late)
				}
			})
		})
	}
}

func TestResetMovesAndStopStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := wheel.New(0)
		go w.Run(ctx)
		var count atomic.Int32
		tm := &wheel.Timer{Owner: wheel.Func(func() { count.Add(1) })}
		w.Reset(tm, time.Second)
		w.Reset(tm, 3*time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if count.Load() != 0 {
			t.Fatal("fired at the time that was replaced")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if count.Load() != 1 {
			t.Fatalf("fired %d times, want 1", count.Load())
		}
		w.Reset(tm, time.Second)
		if !w.Stop(tm) || w.Stop(tm) {
			t.Fatal("Stop must report true once")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if count.Load() != 1 {
			t.Fatal("fired after Stop")
		}
	})
}

// Any mix of sets, moves and stops fires exactly the timers that are still
// set, each no earlier than it should and at most two ticks later.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		delays := rapid.SliceOfN(rapid.IntRange(0, 100_000), 1, 40).Draw(rt, "ms")
		stops := rapid.SliceOfN(rapid.Bool(), len(delays), len(delays)).Draw(rt, "stop")
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := wheel.New(0)
			go w.Run(ctx)
			start := time.Now()
			at := make([]atomic.Int64, len(delays))
			timers := make([]wheel.Timer, len(delays))
			for i, ms := range delays {
				timers[i].Owner = wheel.Func(func() { at[i].Store(int64(time.Since(start))) })
				w.Reset(&timers[i], time.Duration(ms)*time.Millisecond)
			}
			for i, stop := range stops {
				if stop {
					w.Stop(&timers[i])
				}
			}
			time.Sleep(101 * time.Second)
			synctest.Wait()
			for i, ms := range delays {
				d, fired := time.Duration(ms)*time.Millisecond, time.Duration(at[i].Load())
				switch {
				case stops[i] && fired != 0:
					t.Errorf("stopped timer %d fired", i)
				case !stops[i] && (fired < d || fired > d+2*wheel.DefaultTick):
					t.Errorf("timer of %v fired at %v", d, fired)
				}
			}
		})
	})
}

func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	w := wheel.New(0)
	tm := &wheel.Timer{Owner: wheel.Func(func() {})}
	if n := testing.AllocsPerRun(1000, func() { w.Reset(tm, time.Second); w.Stop(tm) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkResetStop(b *testing.B) {
	w := wheel.New(0)
	timers := make([]wheel.Timer, 10_000)
	for i := range timers {
		w.Reset(&timers[i], time.Duration(i)*time.Millisecond)
	}
	tm := &wheel.Timer{Owner: wheel.Func(func() {})}
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(tm, 30*time.Second)
		w.Stop(tm)
	}
}
