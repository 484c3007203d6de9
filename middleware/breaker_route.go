package middleware

import (
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

// circuits are those of one route.
type circuits struct {
	of    *CircuitBreaker
	route string

	mu    sync.Mutex
	all   map[string]*circuit // by server
	open  int                 // of them are not closed
	shown int                 // of these are in the metric, to which other breakers add theirs
	force circuitState        // of all of them; "" for nothing
	swept time.Time
}

func (b *CircuitBreaker) ofRoute(name string) *circuits {
	return &circuits{of: b, route: name, all: map[string]*circuit{}}
}

// get returns the circuit of a server; nil if there are too many.
func (s *circuits) get(server string, now time.Time) *circuit {
	if c := s.all[server]; c != nil {
		return c
	}
	if now.IsZero() {
		now = time.Now()
	}
	s.sweep(now)
	if len(s.all) >= maxCircuits {
		return nil
	}
	c := newCircuit(&s.of.rules, s, server, now)
	s.all[server] = c
	return c
}

// sweep forgets servers that were not called for long: most are gone.
func (s *circuits) sweep(now time.Time) {
	old := s.of.rules.window + 2*s.of.rules.open
	if now.Sub(s.swept) < old {
		return
	}
	s.swept = now
	for id, c := range s.all {
		if c.force == "" && now.Sub(c.used) > old && now.Sub(c.since) > old && c.trying == 0 {
			s.changed(c.state, circuitClosed)
			delete(s.all, id)
		}
	}
}

// changed keeps count of circuits that are not closed.
func (s *circuits) changed(from, to circuitState) {
	if from == to {
		return
	}
	if from == circuitClosed {
		s.open++
	}
	if to == circuitClosed {
		s.open--
	}
	s.show()
}

// show brings the metric up to date.
func (s *circuits) show() {
	now := s.open
	if s.of.retired.Load() {
		now = 0
	}
	if now != s.shown {
		s.of.metrics.open.WithLabelValues(s.route).Add(float64(now - s.shown))
		s.shown = now
	}
}

// shut returns how long a call to a server has to wait, if it would surely be
// refused.
func (s *circuits) shut(server string, now time.Time) time.Duration {
	if c := s.all[server]; c != nil {
		return c.shut(now)
	}
	if s.force == circuitOpen {
		return s.of.rules.open
	}
	return 0
}

func (s *circuits) finished(t *ticket, o route.Outcome) {
	v := s.of.judge(&o)
	now := time.Now()
	s.mu.Lock()
	c := t.of
	before := c.state
	change := c.done(t, v, now)
	after := c.state
	if s.all[c.server] == c {
		s.changed(before, after)
	}
	s.mu.Unlock()
	if change {
		s.of.tell(c, after)
	}
}
