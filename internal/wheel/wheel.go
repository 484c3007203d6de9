// Package wheel keeps very many time-outs cheaply: setting, moving and
// stopping one costs a few list operations under a lock, no allocation, and no
// runtime timer. The price is coarseness: a time-out fires up to one tick late.
package wheel

import (
	"context"
	"sync"
	"time"
)

const (
	slotBits = 8
	slots    = 1 << slotBits
	levels   = 4
)

// DefaultTick is fine enough for deadlines of calls.
const DefaultTick = 20 * time.Millisecond

// Expirer is what a time-out happens to.
type Expirer interface {
	// Expire is called on the wheel's goroutine; it must not block. It may
	// Reset or Stop this and other timers.
	Expire()
}

// Func makes an Expirer of a function.
type Func func()

// Expire calls f.
func (f Func) Expire() { f() }

// Timer is one time-out. Embed it by value in whatever times out and set
// Owner before the first Reset. It must not be copied once it is set.
type Timer struct {
	Owner Expirer

	next, prev *Timer
	list       *Timer // head of the slot it is in; nil when it is not set
	due        uint64
}

// Wheel is a hierarchical timing wheel. Make one with [New]; [Wheel.Run] has
// to run for timers to fire.
type Wheel struct {
	tick  time.Duration
	start time.Time

	mu    sync.Mutex
	now   uint64 // ticks that have been handled
	sleep uint64 // the tick until which Run sleeps
	kick  chan struct{}
	ring  [levels][slots]Timer
	used  [levels][slots]bool // a slot that may hold timers
}

// never is a tick that does not come.
const never = ^uint64(0)

// New returns a wheel. A tick of 0 means [DefaultTick].
func New(tick time.Duration) *Wheel {
	if tick <= 0 {
		tick = DefaultTick
	}
	w := &Wheel{tick: tick, start: time.Now(), sleep: never, kick: make(chan struct{}, 1)}
	for l := range w.ring {
		for s := range w.ring[l] {
			head := &w.ring[l][s]
			head.next, head.prev = head, head
		}
	}
	return w
}

// Run fires timers until ctx ends. While no timer is due it sleeps: a program
// with nothing to do is woken for the cascades of far timers only.
func (w *Wheel) Run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		case <-t.C:
		}
		w.advance(w.ticks(time.Since(w.start)))
		w.mu.Lock()
		w.sleep = w.next()
		until := w.sleep
		w.mu.Unlock()
		if until == never {
			t.Stop()
			continue
		}
		t.Reset(time.Until(w.start.Add(time.Duration(until) * w.tick))) //nolint:gosec // a tick within the horizon
	}
}

// next returns the next tick at which there is something to do: timers to fire,
// or a coarse slot to move to finer ones. w.mu is held.
func (w *Wheel) next() uint64 {
	first := never
	for level := range levels {
		shift := slotBits * level
		at := w.now >> shift
		for i := uint64(1); i <= slots; i++ {
			slot := (at + i) % slots
			if !w.used[level][slot] {
				continue
			}
			if head := &w.ring[level][slot]; head.next == head { // all were stopped
				w.used[level][slot] = false
				continue
			}
			first = min(first, (at+i)<<shift)
			break
		}
	}
	return first
}

func (w *Wheel) ticks(d time.Duration) uint64 { return uint64(d / w.tick) } //nolint:gosec // d is not negative

// Reset has t fire after d, rounded up to a tick, instead of when it was set
// to fire before.
func (w *Wheel) Reset(t *Timer, d time.Duration) { w.ResetFrom(t, time.Now(), d) }

// ResetFrom is Reset for callers who have read the clock already: reading it
// costs more than all the rest.
func (w *Wheel) ResetFrom(t *Timer, now time.Time, d time.Duration) {
	due := w.ticks(now.Sub(w.start)+max(d, 0)) + 1
	w.mu.Lock()
	t.unlink()
	t.due = max(due, w.now+1)
	w.place(t)
	wake := t.due < w.sleep
	if wake {
		w.sleep = t.due
	}
	w.mu.Unlock()
	if wake {
		select {
		case w.kick <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Stop keeps t from firing and reports whether it was set. When it was not,
// Expire may be running.
func (w *Wheel) Stop(t *Timer) bool {
	w.mu.Lock()
	set := t.unlink()
	w.mu.Unlock()
	return set
}

func (t *Timer) unlink() bool {
	if t.list == nil {
		return false
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev, t.list = nil, nil, nil
	return true
}

// place puts t into the finest level that still tells its tick apart.
func (w *Wheel) place(t *Timer) {
	left := t.due - w.now
	level := 0
	for level < levels-1 && left >= 1<<(slotBits*(level+1)) {
		level++
	}
	due := t.due
	if horizon := uint64(1)<<(slotBits*levels) - 1; left > horizon {
		due = w.now + horizon // it is placed anew when that slot comes up
	}
	slot := due >> (slotBits * level) % slots
	head := &w.ring[level][slot]
	w.used[level][slot] = true
	t.list, t.prev, t.next = head, head.prev, head
	head.prev.next, head.prev = t, t
}

func (w *Wheel) advance(to uint64) {
	w.mu.Lock()
	for w.now < to {
		w.now++
		for level := 1; level < levels && w.now%(1<<(slotBits*level)) == 0; level++ {
			w.cascade(&w.ring[level][w.now>>(slotBits*level)%slots])
		}
		head := &w.ring[0][w.now%slots]
		for head.next != head {
			t := head.next
			owner := t.Owner // after this the timer may be used for another one
			t.unlink()
			w.mu.Unlock()
			owner.Expire()
			w.mu.Lock()
		}
	}
	w.mu.Unlock()
}

// cascade moves the timers of a coarse slot to finer ones.
func (w *Wheel) cascade(head *Timer) {
	t := head.next
	head.next, head.prev = head, head
	for t != head {
		next := t.next
		t.next, t.prev, t.list = nil, nil, nil
		w.place(t)
		t = next
	}
}
