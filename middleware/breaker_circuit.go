package middleware

import (
	"math/rand/v2"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

// circuitState is what a circuit does with calls.
//
//	        failures                 time is over
//	closed ──────────► open ───────────────────────► half-open
//	  ▲                 ▲                             │    │
//	  │                 └───── a trial call fails ────┘    │
//	  └───────────────── all trial calls succeed ──────────┘
type circuitState string

const (
	circuitClosed   circuitState = "closed"
	circuitOpen     circuitState = "open"
	circuitHalfOpen circuitState = "half-open"
)

// verdict is what the end of a call says about its server.
type verdict uint8

const (
	verdictNone verdict = iota // nothing
	verdictGood
	verdictBad
)

// windowSlots is how many parts a window has: it slides by a tenth at a time.
const windowSlots = 10

// tally is how many calls ended in one slot of a window.
type tally struct {
	slot          int64 // since the beginning; an older one is empty
	calls, failed int
}

// rules are when a circuit opens and closes.
type rules struct {
	share  float64
	calls  int
	window time.Duration
	open   time.Duration
	trials int
}

// circuit is one circuit. Whoever calls its methods holds the lock of its set.
type circuit struct {
	rules  *rules
	set    *circuits
	server string

	state  circuitState
	force  circuitState // what an operator has set; "" for nothing
	since  time.Time    // of the state
	until  time.Time    // of an open circuit
	used   time.Time    // when a call ended last
	phase  uint64       // grows with each change of the state
	pass   *ticket      // of all calls while it is closed
	began  time.Time    // the window
	slots  [windowSlots]tally
	trying int // trial calls that have not ended
	good   int // trial calls that succeeded
}

func newCircuit(r *rules, set *circuits, server string, now time.Time) *circuit {
	c := &circuit{rules: r, set: set, server: server, used: now}
	c.become(circuitClosed, now)
	return c
}

// ticket is what a call gets that may pass: it says at the end how it was. The
// calls of a closed circuit share one.
type ticket struct {
	of    *circuit
	phase uint64
	trial bool
}

// become changes the state. What calls say that were let through before does not
// count any more.
func (c *circuit) become(s circuitState, now time.Time) {
	c.state, c.since = s, now
	c.phase++
	c.trying, c.good = 0, 0
	switch s {
	case circuitClosed:
		c.began, c.slots = now, [windowSlots]tally{}
		c.pass = &ticket{of: c, phase: c.phase}
	case circuitOpen:
		// A fifth more or less, so that not all circuits of a mesh try again
		// at the same moment.
		c.until = now.Add(c.rules.open*4/5 + rand.N(c.rules.open*2/5+1)) //nolint:gosec // spreads load, guards nothing
	case circuitHalfOpen:
	}
}

// admit returns a ticket for a call, or how long to wait.
func (c *circuit) admit(now time.Time) (*ticket, time.Duration) {
	switch c.forced() {
	case circuitClosed:
		return c.pass, 0 // nil, if the circuit is open by itself: nothing is counted then
	case circuitOpen:
		return nil, c.rules.open
	case circuitHalfOpen:
	}
	if c.state == circuitOpen {
		if left := c.until.Sub(now); left > 0 {
			return nil, left
		}
		c.become(circuitHalfOpen, now)
	}
	if c.state == circuitClosed {
		return c.pass, 0
	}
	if c.trying+c.good >= c.rules.trials {
		return nil, min(c.rules.open, retrySoon)
	}
	c.trying++
	return &ticket{of: c, phase: c.phase, trial: true}, 0
}

// shut returns how long a call that comes now has to wait, if it would surely be
// refused.
func (c *circuit) shut(now time.Time) time.Duration {
	switch {
	case c.forced() == circuitOpen:
		return c.rules.open
	case c.forced() == "" && c.state == circuitOpen:
		return max(0, c.until.Sub(now))
	}
	return 0
}

// forced returns what an operator has set for the circuit, or for all of its
// route.
func (c *circuit) forced() circuitState {
	if c.force == "" {
		return c.set.force
	}
	return c.force
}

// done takes what the end of a call says. It reports whether the circuit has
// changed its state.
func (c *circuit) done(t *ticket, v verdict, now time.Time) bool {
	c.used = now
	switch {
	case t.phase != c.phase:
		return false // it was let through in another time
	case t.trial:
		return c.tried(v, now)
	case v == verdictNone:
		return false
	}
	calls, failed := c.count(v == verdictBad, now)
	if c.forced() != "" || v != verdictBad || calls < c.rules.calls || float64(failed) < c.rules.share*float64(calls) {
		return false
	}
	c.become(circuitOpen, now)
	return true
}

// tried takes the end of a trial call.
func (c *circuit) tried(v verdict, now time.Time) bool {
	c.trying--
	switch v {
	case verdictBad:
		c.become(circuitOpen, now)
		return true
	case verdictGood:
		if c.good++; c.good >= c.rules.trials {
			c.become(circuitClosed, now)
			return true
		}
	case verdictNone: // its place is free for another
	}
	return false
}

// count counts a call, and returns how many there are in the window.
func (c *circuit) count(failed bool, now time.Time) (calls, bad int) {
	at := c.slotOf(now)
	s := &c.slots[at%windowSlots]
	if s.slot != at {
		*s = tally{slot: at}
	}
	s.calls++
	if failed {
		s.failed++
	}
	return c.sum(now)
}

// sum returns how many calls there are in the window, and how many failed.
func (c *circuit) sum(now time.Time) (calls, bad int) {
	at := c.slotOf(now)
	for i := range c.slots {
		if s := &c.slots[i]; s.slot > at-windowSlots {
			calls += s.calls
			bad += s.failed
		}
	}
	return calls, bad
}

// slotOf numbers the slots since the circuit was closed last, from 1.
func (c *circuit) slotOf(now time.Time) int64 {
	return 1 + int64(max(0, now.Sub(c.began))/(c.rules.window/windowSlots))
}

// Finished implements route.Finisher: the call has ended.
func (t *ticket) Finished(o route.Outcome) { t.of.set.finished(t, o) }

var _ route.Finisher = (*ticket)(nil)
