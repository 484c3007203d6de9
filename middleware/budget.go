package middleware

import (
	"cmp"
	"math"
	"sync"
	"time"
)

const (
	// DefaultBudgetShare keeps the load of servers that fail below a quarter more
	// than it would be: repeating all calls would double it, when it hurts most.
	DefaultBudgetShare = 0.2
	// DefaultBudgetPerSecond is for routes with few calls, of which a share is
	// less than one.
	DefaultBudgetPerSecond = 3
)

// budgetSeconds is over how long calls and what is asked on top are counted:
// long enough that the calls of a server that is lost can all be repeated.
const budgetSeconds = 10

// Budget bounds how much is asked of servers on top of what callers ask, of each
// route, over ten seconds. What is beyond is not asked.
type Budget struct {
	// Share is how much more may be asked, as a share of the calls. Default: 0.2,
	// and 0.1 for hedge.
	Share float64 `json:"share,omitempty"`
	// PerSecond is how much more may be asked besides, in calls a second.
	// Default: 3, and 1 for hedge.
	PerSecond float64 `json:"perSecond,omitempty"`
}

func (b Budget) check() error {
	switch {
	case math.IsNaN(b.Share) || math.IsInf(b.Share, 0) || b.Share < 0:
		return invalid("budget.share", "the share is negative", "Set it to 0.2 for a fifth of the calls.")
	case math.IsNaN(b.PerSecond) || math.IsInf(b.PerSecond, 0) || b.PerSecond < 0:
		return invalid("budget.perSecond", "the number is negative", "Leave it out for 3.")
	}
	return nil
}

// purse is the budget of one route at work.
type purse struct {
	share, base float64
	began       time.Time

	mu    sync.Mutex
	slots [budgetSeconds]slot
}

// slot is what was counted in one second.
type slot struct {
	second       int64
	calls, extra int
}

// purses makes the budgets of all routes.
func (b Budget) purses() *byRoute[purse] {
	began := time.Now()
	share, base := cmp.Or(b.Share, DefaultBudgetShare), cmp.Or(b.PerSecond, DefaultBudgetPerSecond)*budgetSeconds
	return newByRoute(func(string) *purse { return &purse{share: share, base: base, began: began} })
}

// called counts a call, which may have come long ago and waited since.
func (p *purse) called(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slot(p.second(at)); s != nil {
		s.calls++
	}
}

// slot returns that of a second; nil if it counts for a later one by now.
func (p *purse) slot(second int64) *slot {
	s := &p.slots[second%budgetSeconds]
	if s.second > second {
		return nil
	}
	if s.second < second {
		*s = slot{second: second}
	}
	return s
}

// take reports whether something more may be asked, and counts it.
func (p *purse) take(at time.Time) bool {
	second := p.second(at)
	p.mu.Lock()
	defer p.mu.Unlock()
	calls, extra := 0, 0
	for i := range p.slots {
		if s := &p.slots[i]; s.second > second-budgetSeconds {
			calls += s.calls
			extra += s.extra
		}
	}
	if float64(extra+1) > p.share*float64(calls)+p.base {
		return false
	}
	if s := p.slot(second); s != nil {
		s.extra++
	}
	return true
}

// second numbers the seconds from 1: a slot of 0 was never used.
func (p *purse) second(at time.Time) int64 {
	return 1 + int64(max(0, at.Sub(p.began))/time.Second)
}
