package middleware

import (
	"cmp"
	"math"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// DefaultAdaptTolerance lets a call take twice as long as the best before
	// fewer are let through: some waiting is what keeps servers busy.
	DefaultAdaptTolerance = 2

	adaptEvery   = 100 * time.Millisecond // the limit is changed at most so often,
	adaptLatest  = time.Second            // and at least so often if calls end
	adaptSamples = 20                     // by so many calls, if there are so many
	adaptLook    = 30 * time.Second       // after so long it looks anew what the best is
	adaptLower   = 0.25                   // and lets only so much of the limit through meanwhile
	adaptBackoff = 0.9                    // of the limit is left when calls are refused
	adaptCut     = 0.5                    // is left at least when they are slow
	adaptGrowth  = 0.05                   // of it is added, and at least 1
)

// Adapt is how a limit follows what servers can take: it grows while calls take
// about as long as the best did, and shrinks when they take longer, are refused
// as overloaded, or find their time over.
type Adapt struct {
	// Min is the lowest limit. Default: 1.
	Min int `json:"min,omitempty"`
	// Max is the highest limit. Default: the limit is always what calls says.
	Max int `json:"max,omitempty"`
	// Tolerance is how many times the best latency is still good, at least 1.
	// The best is measured anew twice a minute. Default: 2.
	Tolerance float64 `json:"tolerance,omitempty"`
}

func (c Adapt) check(calls int) error {
	switch {
	case c == Adapt{}:
		return nil
	case c.Max < 1:
		return invalid("adapt.max", "the highest limit is missing", "Set adapt.max to as many calls as may ever run.")
	case c.Min < 0 || c.Min > c.Max:
		return invalid("adapt.min", "the lowest limit is not between 0 and the highest", "Leave it out for 1.")
	case calls < c.Min || calls > c.Max:
		return invalid("calls", "it is not between the lowest and the highest limit", "Calls is the limit to begin with.")
	case c.Tolerance != 0 && !(c.Tolerance >= 1) || math.IsInf(c.Tolerance, 0):
		return invalid("adapt.tolerance", "the tolerance is less than 1", "Leave it out for 2.")
	}
	return nil
}

// adapter finds the limit of one limiter, which holds its lock.
type adapter struct {
	min, max  float64
	tolerance float64
	limit     float64

	best, before time.Duration // of this look, and the last one; 0: not known
	looked       time.Time     // when this look began
	looking      int           // so many changes long the limit is lower, to see the best

	// Since the last change:
	from    time.Time
	n       int
	sum     time.Duration
	peak    int // calls that ran at a time
	refused int
}

func (c Adapt) adapter(calls int) *adapter {
	if c.Max == 0 {
		return nil
	}
	return &adapter{
		min: float64(max(1, c.Min)), max: float64(c.Max), limit: float64(calls),
		tolerance: cmp.Or(c.Tolerance, DefaultAdaptTolerance),
	}
}

// ended takes the end of a call while so many ran, and returns the limit.
func (a *adapter) ended(now time.Time, took time.Duration, e *message.Error, ran int) int {
	if a.from.IsZero() {
		a.from, a.looked = now, now
	}
	a.peak = max(a.peak, ran)
	switch a.judge(took, e) {
	case verdictGood:
		a.n++
		a.sum += took
	case verdictBad:
		a.refused++
	case verdictNone:
	}
	since := now.Sub(a.from)
	if n := a.n + a.refused; n > 0 && (n >= adaptSamples && since >= adaptEvery || since >= adaptLatest) {
		a.change(now)
	}
	if a.looking > 0 {
		return int(max(a.min, a.limit*adaptLower))
	}
	return int(a.limit)
}

// judge says whether the time of a call counts, or the call was refused.
func (a *adapter) judge(took time.Duration, e *message.Error) verdict {
	switch message.CodeOf(errorOf(e)) { //nolint:exhaustive // the others are answers
	case message.CodeOverloaded:
		return verdictBad
	case message.CodeDeadlineExceeded:
		// Callers who have no patience say nothing about the servers.
		if best := a.bestKnown(); best > 0 && float64(took) < a.tolerance*float64(best) {
			return verdictNone
		}
		return verdictBad
	case message.CodeCanceled, message.CodeServiceDown, message.CodeServiceLost, message.CodeNodeLost,
		message.CodeMeshSplit, message.CodeCircuitOpen, message.CodeShuttingDown, message.CodeRateLimited:
		return verdictNone
	}
	return verdictGood
}

// errorOf makes no error of a nil pointer.
func errorOf(e *message.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func (a *adapter) bestKnown() time.Duration {
	if a.best == 0 || a.before > 0 && a.before < a.best {
		return a.before
	}
	return a.best
}

// change sets the limit by what was seen since the last change.
func (a *adapter) change(now time.Time) {
	mean := a.sum / time.Duration(max(1, a.n))
	switch {
	case a.looking == 2: // these have begun before
	case a.n == 0:
		a.limit *= adaptBackoff
	default:
		if a.best == 0 || mean < a.best {
			a.best = max(1, mean)
		}
		if a.looking == 0 {
			a.follow(mean)
		}
	}
	a.limit = min(max(a.limit, a.min), a.max)
	a.looking = max(0, a.looking-1)
	if now.Sub(a.looked) >= adaptLook {
		a.looked, a.looking = now, 2
		a.before, a.best = a.best, 0
	}
	a.from, a.n, a.sum, a.peak, a.refused = now, 0, 0, 0, 0
}

func (a *adapter) follow(mean time.Duration) {
	good := a.tolerance * float64(a.bestKnown())
	switch {
	case a.refused > 0:
		a.limit *= adaptBackoff
	case float64(mean) > good:
		a.limit *= max(adaptCut, good/float64(mean))
	case float64(a.peak) >= math.Floor(a.limit): // else it was not the limit that kept calls away
		a.limit += max(1, a.limit*adaptGrowth)
	}
}

// LimitState is one count of a [Limiter] as its state shows it.
type LimitState struct {
	Route   string `json:"route,omitempty"` // "" for all together
	Calls   int    `json:"calls"`           // that may run at a time
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

// LimitChange is what [Limiter.SetState] takes.
type LimitChange struct {
	// Calls is how many may run at a time from now on; a limit that adapts goes
	// on from there. Required.
	Calls int `json:"calls"`
	// Route is of which route, where each is counted on its own. Default: all,
	// also those that were not called yet.
	Route string `json:"route,omitempty"`
}
