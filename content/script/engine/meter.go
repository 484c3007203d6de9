package engine

import (
	"sync"
	"time"
)

// watch is how often a machine that was interrupted is looked after.
const watch = 2 * time.Millisecond

// meter counts how long a machine computes, and interrupts it when that is
// enough. enter and leave stand around every entry into the machine; stop may
// be called from any goroutine.
type meter struct {
	interrupt func()
	late      chan<- struct{}

	mu      sync.Mutex
	left    time.Duration
	since   time.Time
	inside  bool
	spent   bool      // the time is used up
	stopped bool      // somebody called stop
	rung    time.Time // when it was interrupted for the first time
	timer   *time.Timer
}

func newMeter(left time.Duration, interrupt func(), late chan<- struct{}) *meter {
	m := &meter{left: left, interrupt: interrupt, late: late}
	m.timer = time.AfterFunc(time.Hour, m.ring)
	m.timer.Stop()
	return m
}

// ring interrupts the machine, and says when it does not come out.
func (m *meter) ring() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.inside {
		return
	}
	if !m.stopped && time.Since(m.since) < m.left {
		m.timer.Reset(m.left - time.Since(m.since))
		return
	}
	m.spent = m.spent || !m.stopped
	m.interrupt()
	m.timer.Reset(watch)
	if m.rung.IsZero() {
		m.rung = time.Now()
	}
	if m.late != nil && time.Since(m.rung) > Grace {
		close(m.late)
		m.late = nil
	}
}

// enter reports whether the machine may be entered.
func (m *meter) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || m.spent {
		return false
	}
	m.inside, m.since = true, time.Now()
	m.timer.Reset(m.left)
	return true
}

// leave reports whether the machine was not told to end.
func (m *meter) leave() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer.Stop()
	m.inside = false
	m.left -= time.Since(m.since)
	m.spent = m.spent || m.left <= 0
	return !m.stopped && !m.spent
}

// resume is enter for a machine that left while it was inside: it cannot be
// kept out, but is interrupted at once if it has to end.
func (m *meter) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside, m.since = true, time.Now()
	if m.stopped || m.spent {
		m.timer.Reset(0)
		return
	}
	m.timer.Reset(m.left)
}

// stop has the machine end, for another reason than its time.
func (m *meter) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	if m.inside {
		m.timer.Reset(0)
	}
}

// end is the end of the run, wherever the machine is: it is not interrupted from
// then on, since it may be given up with its memory.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped, m.inside = true, false
	m.timer.Stop()
}

// used reports whether the machine has used up its time.
func (m *meter) used() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spent
}
