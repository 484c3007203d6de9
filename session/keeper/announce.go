package keeper

import (
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/wheel"
	"github.com/ropewalk/ropewalk/session"
)

// settle is how long the connections that share a session wait to hear that one
// of them has changed it. That one has the new session by then, and so is told
// nothing of what it has done itself.
const settle = 200 * time.Millisecond

// announcer tells connections later of what others have done to their session.
type announcer struct {
	keeper *Keeper
	timer  wheel.Timer

	mu      sync.Mutex
	changed map[string]*session.Session // the latest state by id
	moved   []Revocation
}

func (a *announcer) init(k *Keeper) {
	a.keeper, a.changed = k, make(map[string]*session.Session)
	a.timer.Owner = wheel.Func(a.flush)
}

// change announces the state of a session that somebody here has.
func (a *announcer) change(s *session.Session) {
	if !a.keeper.track.has(s.ID) {
		return
	}
	a.mu.Lock()
	first := a.idle()
	if old := a.changed[s.ID]; old == nil || old.Revision < s.Revision {
		a.changed[s.ID] = s
	}
	a.mu.Unlock()
	a.soon(first)
}

// move announces that sessions have ended because they go on under other ids.
func (a *announcer) move(rs []Revocation) {
	a.mu.Lock()
	first := a.idle()
	a.moved = append(a.moved, rs...)
	a.mu.Unlock()
	a.soon(first)
}

// idle tells whether there is nothing to announce. a.mu is held.
func (a *announcer) idle() bool { return len(a.changed) == 0 && len(a.moved) == 0 }

func (a *announcer) soon(first bool) {
	if first {
		a.keeper.wheel.Reset(&a.timer, settle)
	}
}

func (a *announcer) flush() {
	a.mu.Lock()
	changed, moved := a.changed, a.moved
	a.changed, a.moved = make(map[string]*session.Session), nil
	a.mu.Unlock()
	for _, s := range changed {
		a.keeper.track.changed(s)
	}
	if len(moved) > 0 {
		a.keeper.track.revoked(moved)
	}
}
