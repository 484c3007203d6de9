package keeper

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/wheel"
	"github.com/ropewalk/ropewalk/session"
)

// EventKind says what happens to a session.
type EventKind uint8

// What happens to the session of a connection.
const (
	// Ending: it ends soon unless it is used or refreshed.
	Ending EventKind = iota + 1
	// Expired: its time is over.
	Expired
	// Revoked: it was ended before its time.
	Revoked
	// Changed: it was changed by another connection, perhaps at another node. Only
	// sessions that the nodes keep are shared in this way.
	Changed
)

// String returns the kind in one word.
func (e EventKind) String() string {
	return [...]string{"", "ending", "expired", "revoked", "changed"}[e]
}

// Event is what happens to a session.
type Event struct {
	Kind EventKind
	// Session is what it is now.
	Session *session.Session
	// Why is the reason of a revocation.
	Why string
}

// Live is the session of a connection, from [Keeper.Track] to [Live.Stop].
type Live struct {
	timer wheel.Timer
	tell  func(Event)
	track *tracker

	// Guarded by tracker.mu.
	session    *session.Session
	next, prev *Live // of the same id, in a ring
	warned     bool
	over       bool // it has ended, or is stopped
}

// tracker knows the sessions of all connections.
type tracker struct {
	keeper *Keeper

	mu   sync.Mutex
	byID map[string]*Live // one of the ring of each id
	n    int
}

func (t *tracker) init(k *Keeper) { t.keeper, t.byID = k, make(map[string]*Live) }

// Track watches over the session of a connection. tell is called with what
// happens to it, by one of a few goroutines of the Keeper, or by whoever is
// inside End, Revoke or Merge, of this or another connection. It must not block,
// nor take a lock that is held during those. Of two events at the same time
// either may come first: of two states the one with the greater Revision counts.
// What the connection does itself by Change, Touch or Refresh it is told only if
// it does not Set the outcome at once. After Expired and Revoked there
// is nothing more until Set. The caller calls Stop at the end.
func (k *Keeper) Track(s *session.Session, tell func(Event)) *Live {
	l := &Live{tell: tell, track: &k.track}
	l.timer.Owner = l
	l.Set(s)
	k.metrics.live.Inc()
	return l
}

// Set says that the connection has another session now, or another state of it.
// An older state of a session that the nodes keep changes nothing.
func (l *Live) Set(s *session.Session) {
	t := l.track
	t.mu.Lock()
	if l.tell == nil { // after Stop
		t.mu.Unlock()
		return
	}
	if l.session != nil && s.Held && l.session.ID == s.ID && s.Revision < l.session.Revision && !l.over {
		t.mu.Unlock()
		return
	}
	t.put(l, s)
	t.mu.Unlock()
	// What was revoked before it was put here, nobody tells but this.
	if m, ok := t.keeper.list.hits(s); ok {
		t.keeper.checkLater(l, &Event{Kind: Revoked, Session: s, Why: m.why})
	}
}

// put gives l a session and sets its timer. t.mu is held.
func (t *tracker) put(l *Live, s *session.Session) {
	if l.session == nil || l.session.ID != s.ID || l.over {
		t.remove(l)
		if s.ID != "" {
			t.insert(l, s.ID)
		}
	}
	l.over, l.warned, l.session = false, false, s
	t.arm(l, time.Now())
}

// insert puts l into the ring of an id. t.mu is held.
func (t *tracker) insert(l *Live, id string) {
	t.n++
	first, ok := t.byID[id]
	if !ok {
		l.next, l.prev = l, l
		t.byID[id] = l
		return
	}
	l.next, l.prev = first.next, first
	first.next.prev = l
	first.next = l
}

// remove takes l out of its ring. t.mu is held.
func (t *tracker) remove(l *Live) {
	if l.next == nil {
		return
	}
	t.n--
	id := l.session.ID
	if l.next == l {
		delete(t.byID, id)
	} else {
		l.prev.next, l.next.prev = l.next, l.prev
		if t.byID[id] == l {
			t.byID[id] = l.next
		}
	}
	l.next, l.prev = nil, nil
}

// arm sets the timer of l to what comes next. t.mu is held.
func (t *tracker) arm(l *Live, now time.Time) {
	end := l.session.Ends()
	if end.IsZero() || l.over {
		t.keeper.wheel.Stop(&l.timer)
		return
	}
	at := end
	if !l.warned {
		at = end.Add(-t.keeper.cfg.Load().warn(l.session))
	}
	t.keeper.wheel.ResetFrom(&l.timer, now, at.Sub(now))
}

// Stop ends the watch. A call of tell may still be under way.
func (l *Live) Stop() {
	t := l.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.tell == nil {
		return
	}
	t.end(l)
	l.tell = nil
	t.keeper.metrics.live.Dec()
}

// end has l be over. t.mu is held.
func (t *tracker) end(l *Live) {
	l.over = true
	t.keeper.wheel.Stop(&l.timer)
	t.remove(l)
}

// Expire implements wheel.Expirer: something is due. Whether a session that the
// nodes keep really ends, the store knows: it may be in use elsewhere.
func (l *Live) Expire() {
	t := l.track
	t.mu.Lock()
	held := l.session.Held
	t.mu.Unlock()
	if held {
		t.keeper.checkLater(l, nil)
		return
	}
	l.due(time.Now())
}

// due tells of what is due by now.
func (l *Live) due(now time.Time) {
	t := l.track
	t.mu.Lock()
	tell, e := l.tell, Event{Session: l.session}
	end := l.session.Ends()
	switch {
	case l.over || tell == nil || end.IsZero():
	case !now.Before(end):
		e.Kind = Expired
		t.end(l)
	case l.warned || now.Before(end.Add(-t.keeper.cfg.Load().warn(l.session))):
		t.arm(l, now)
	default:
		e.Kind = Ending
		l.warned = true
		t.arm(l, now)
	}
	t.mu.Unlock()
	if e.Kind != 0 {
		tell(e)
	}
}

// event tells l that its session is over, unless it has another one by now.
func (l *Live) event(e Event) {
	t := l.track
	t.mu.Lock()
	tell := l.tell
	if l.over || tell == nil || l.session.ID != e.Session.ID {
		t.mu.Unlock()
		return
	}
	e.Session = l.session
	t.end(l)
	t.mu.Unlock()
	tell(e)
}

// changed tells the connections that have a session of its new state.
func (t *tracker) changed(s *session.Session) {
	var tell []func(Event)
	t.mu.Lock()
	if first, ok := t.byID[s.ID]; ok {
		for l := first; ; {
			if l.session.Revision < s.Revision {
				t.put(l, s)
				tell = append(tell, l.tell)
			}
			if l = l.next; l == first {
				break
			}
		}
	}
	t.mu.Unlock()
	for _, f := range tell {
		f(Event{Kind: Changed, Session: s})
	}
}

// revoked tells the connections whose session is revoked. Naming sessions costs
// a look-up each, anything else a look at all of them.
func (t *tracker) revoked(news []Revocation) {
	var hit []*Live
	subjects := make(map[string]bool)
	all := false
	t.mu.Lock()
	for i := range news {
		switch r := &news[i]; {
		case r.All:
			all = true
		case r.Subject != "":
			subjects[r.Subject] = true
		default:
			hit = t.ring(hit, t.byID[r.Session])
		}
	}
	if all || len(subjects) > 0 {
		for _, l := range t.byID {
			if all || subjects[l.session.Subject] {
				hit = t.ring(hit, l)
			}
		}
	}
	sessions := make([]*session.Session, len(hit))
	for i, l := range hit {
		sessions[i] = l.session
	}
	t.mu.Unlock()
	for i, l := range hit {
		if m, ok := t.keeper.list.hits(sessions[i]); ok {
			l.event(Event{Kind: Revoked, Session: sessions[i], Why: m.why})
		}
	}
}

// ring appends the connections with the session of one. t.mu is held.
func (*tracker) ring(to []*Live, first *Live) []*Live {
	if first == nil {
		return to
	}
	to = append(to, first)
	for l := first.next; l != first; l = l.next {
		to = append(to, l)
	}
	return to
}

// has tells whether a connection has a session with this id.
func (t *tracker) has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.byID[id]
	return ok
}

// heard takes a session that was changed, here or at another node.
func (k *Keeper) heard(r *Record) { k.tell.change(r.Session) }

// checkers is how many sessions are looked up in the store at the same time.
const checkers = 8

// checks are sessions that have to be looked at by somebody who may block.
type checks struct {
	wake chan struct{}

	mu   sync.Mutex
	todo []check
}

type check struct {
	live  *Live
	event *Event // to be told as it is; nil: look at the store
}

func (k *Keeper) checkLater(l *Live, e *Event) {
	k.checks.mu.Lock()
	k.checks.todo = append(k.checks.todo, check{l, e})
	k.checks.mu.Unlock()
	select {
	case k.checks.wake <- struct{}{}:
	default:
	}
}

func (k *Keeper) runChecks(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.checks.wake:
		}
		k.checks.mu.Lock()
		todo := k.checks.todo
		k.checks.todo = nil
		k.checks.mu.Unlock()
		var wg sync.WaitGroup
		parts := min(checkers, len(todo))
		for i := range parts {
			wg.Add(1)
			ok := k.lane.Do(func(ctx context.Context) {
				defer wg.Done()
				for j := i; j < len(todo); j += parts {
					k.check(ctx, todo[j])
				}
			})
			if !ok {
				wg.Done()
			}
		}
		wg.Wait()
	}
}

// checkTime bounds a look at the store: after it, what is known here counts.
const checkTime = 5 * time.Second

func (k *Keeper) check(ctx context.Context, c check) {
	if c.event != nil {
		c.live.event(*c.event)
		return
	}
	k.track.mu.Lock()
	s, over := c.live.session, c.live.over
	k.track.mu.Unlock()
	if over || !s.Held {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	r, err := k.store.Get(ctx, s.ID)
	switch {
	case err == nil:
		k.track.changed(r.Session)
	case ctx.Err() != nil && k.lane.Context().Err() != nil:
		return
	case errors.Is(err, ErrNotFound):
		if m, ok := k.list.hits(s); ok {
			c.live.event(Event{Kind: Revoked, Session: s, Why: m.why})
			return
		}
		c.live.event(Event{Kind: Expired, Session: s})
		return
	default:
		k.metrics.storeErrors.Inc()
	}
	c.live.due(time.Now())
}
