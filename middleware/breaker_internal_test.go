package middleware

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// circuitModel is a circuit with a clock of the test, beside what is expected of
// it: all that calls said since it was closed.
type circuitModel struct {
	c     *circuit
	now   time.Time
	state circuitState
	began time.Time // to be closed
	until [2]time.Time
	said  []said
	good  int // trials
	live  []held
}

type said struct {
	at  time.Time
	bad bool
}

type held struct {
	t     *ticket
	trial bool
	old   bool // let through before the last change
}

func newCircuitModel(r rules) *circuitModel {
	set := &circuits{of: NewBreaker(nil, nil, BreakerConfig{}), all: map[string]*circuit{}}
	m := &circuitModel{now: time.Unix(1_700_000_000, 0), state: circuitClosed}
	m.c, m.began = newCircuit(&r, set, "s", m.now), m.now
	return m
}

func (m *circuitModel) turn(s circuitState) {
	m.state, m.good = s, 0
	for i := range m.live {
		m.live[i].old = true
	}
	switch s {
	case circuitClosed:
		m.said, m.began = nil, m.now
	case circuitOpen:
		open := m.c.rules.open
		m.until = [2]time.Time{m.now.Add(open * 4 / 5), m.now.Add(open*6/5 + 1)}
	case circuitHalfOpen:
	}
}

func (m *circuitModel) trials() int {
	n := 0
	for _, h := range m.live {
		if h.trial && !h.old {
			n++
		}
	}
	return n
}

// ask has a call come.
func (m *circuitModel) ask(t *rapid.T) {
	ticket, wait := m.c.admit(m.now)
	if (ticket == nil) == (wait <= 0) {
		t.Fatalf("a ticket %v and a time to wait of %v", ticket, wait)
	}
	if m.state == circuitOpen {
		switch {
		case ticket != nil && m.now.Before(m.until[0]):
			t.Fatalf("let through %v too early", m.until[0].Sub(m.now))
		case ticket == nil && m.now.After(m.until[1]):
			t.Fatalf("not let through %v after the time", m.now.Sub(m.until[1]))
		case ticket == nil:
			return
		}
		m.turn(circuitHalfOpen)
	}
	free := m.state == circuitClosed || m.trials()+m.good < m.c.rules.trials
	if (ticket != nil) != free {
		t.Fatalf("%s, %d trials of which %d are good: ticket %v", m.state, m.trials()+m.good, m.good, ticket)
	}
	if ticket != nil {
		m.live = append(m.live, held{t: ticket, trial: m.state == circuitHalfOpen})
	}
}

// end has one of the calls end.
func (m *circuitModel) end(t *rapid.T) {
	if len(m.live) == 0 {
		t.Skip("no calls")
	}
	i := rapid.IntRange(0, len(m.live)-1).Draw(t, "call")
	v := rapid.SampledFrom([]verdict{verdictGood, verdictBad, verdictBad, verdictNone}).Draw(t, "verdict")
	h := m.live[i]
	m.live = append(m.live[:i], m.live[i+1:]...)
	changed := m.c.done(h.t, v, m.now)
	before := m.state
	switch {
	case h.old || v == verdictNone:
	case h.trial && v == verdictBad:
		m.turn(circuitOpen)
	case h.trial:
		if m.good++; m.good == m.c.rules.trials {
			m.turn(circuitClosed)
		}
	default:
		m.said = append(m.said, said{m.now, v == verdictBad})
		if v == verdictBad && m.tooMany() {
			m.turn(circuitOpen)
		}
	}
	if changed != (m.state != before) {
		t.Fatalf("it changed: %v, but %s became %s", changed, before, m.state)
	}
}

// tooMany counts what was said in the tenths of the window that have begun last.
func (m *circuitModel) tooMany() bool {
	tenth := m.c.rules.window / windowSlots
	now := m.now.Sub(m.began) / tenth
	calls, bad := 0, 0
	for _, s := range m.said {
		if now-s.at.Sub(m.began)/tenth < windowSlots {
			calls++
			if s.bad {
				bad++
			}
		}
	}
	return calls >= m.c.rules.calls && float64(bad) >= m.c.rules.share*float64(calls)
}

func TestCircuitModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newCircuitModel(rules{
			share:  rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(t, "share"),
			calls:  rapid.IntRange(1, 8).Draw(t, "calls"),
			window: time.Second, open: 500 * time.Millisecond,
			trials: rapid.IntRange(1, 4).Draw(t, "trials"),
		})
		t.Repeat(map[string]func(*rapid.T){
			"call": m.ask,
			"end":  m.end,
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 700).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(t *rapid.T) {
				if m.c.state != m.state {
					t.Fatalf("it is %s, not %s", m.c.state, m.state)
				}
				if n := m.trials(); n != m.c.trying || n > m.c.rules.trials {
					t.Fatalf("%d trials under way, it says %d of at most %d", n, m.c.trying, m.c.rules.trials)
				}
			},
		})
	})
}
