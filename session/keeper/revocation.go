package keeper

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// MaxRevocations bounds the list of revocations: 20 a second for half a day.
	// One takes some 150 bytes. A tenth is for those of a subject or of all.
	MaxRevocations = 1_000_000
	// leeway is how long a revocation outlives the last session that it may be
	// about: clocks of nodes differ.
	leeway = 2 * time.Minute
	// skew is by how much clocks of nodes may differ at a log-in right after a
	// log-out everywhere.
	skew = 5 * time.Second
	// maxWhy is how many bytes are kept of a reason.
	maxWhy = 128
)

// Revocation ends sessions before their time. Exactly one of Session, Subject
// and All says which.
type Revocation struct {
	// Session is the id of one session.
	Session string `json:"session,omitempty"`
	// Subject ends all sessions of somebody that began before Before.
	Subject string `json:"subject,omitempty"`
	// All ends the sessions of everybody that began before Before.
	All bool `json:"all,omitempty"`
	// Before is for Subject and All. Zero: now. A time to come keeps the subject
	// from beginning new ones until then.
	Before time.Time `json:"before,omitzero"`
	// Until is when it may be forgotten, because such sessions would have ended
	// by themselves. Zero: the keeper knows.
	Until time.Time `json:"until,omitzero"`
	// Why is for people; at most 128 bytes of it are kept.
	Why string `json:"why,omitempty"`
}

// name is the key of a revocation: one entry of the list each.
type name struct {
	kind byte // s, u or a
	text string
}

func (r *Revocation) name() (name, bool) {
	switch {
	case r.Session != "" && r.Subject == "" && !r.All:
		return name{'s', r.Session}, len(r.Session) <= session.MaxName
	case r.Subject != "" && r.Session == "" && !r.All:
		return name{'u', r.Subject}, len(r.Subject) <= session.MaxName
	}
	return name{kind: 'a'}, r.All && r.Session == "" && r.Subject == ""
}

// mark is what is kept of a revocation. Times are milliseconds since 1970.
type mark struct {
	before, until int64
	why           string
}

// join is the least mark that is at least a and b: whatever the order in which
// nodes hear of revocations, they come to the same list.
func (a mark) join(b mark) mark {
	j := a
	if b.before > a.before || b.before == a.before && b.why > a.why {
		j.before, j.why = b.before, b.why
	}
	j.until = max(a.until, b.until)
	return j
}

// list is the set of revocations.
type list struct {
	n   atomic.Int64 // of marks, to know without the lock that there are none
	max int

	mu    sync.RWMutex
	marks map[name]mark
}

// hits tells whether a session is revoked, and why.
func (l *list) hits(s *session.Session) (mark, bool) {
	if l.n.Load() == 0 || s.ID == "" {
		return mark{}, false
	}
	since := s.Since.UnixMilli()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if m, ok := l.marks[name{'s', s.ID}]; ok {
		return m, true
	}
	if m, ok := l.marks[name{'u', s.Subject}]; ok && since < m.before {
		return m, true
	}
	m, ok := l.marks[name{kind: 'a'}]
	return m, ok && since < m.before
}

// after returns a time that makes a difference to what the list has for n, and
// is at least at: sessions that began after the last log-out everywhere may have
// been given a time that has not come yet. See afterRevocation.
func (l *list) after(n name, at time.Time) time.Time {
	l.mu.RLock()
	m, ok := l.marks[n]
	l.mu.RUnlock()
	if last := time.UnixMilli(m.before); ok && !last.Before(at) && last.Sub(at) <= skew {
		return last.Add(time.Millisecond)
	}
	return at
}

// add takes revocations and returns those that it did not know yet, as the list
// has them now, and those for which there was no room.
func (l *list) add(rs []Revocation, now time.Time) (news []Revocation, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range rs {
		r := &rs[i]
		n, ok := r.name()
		if !ok || !now.Before(r.Until) {
			continue
		}
		if len(r.Why) > maxWhy {
			r.Why = strings.ToValidUTF8(r.Why[:maxWhy], "") // the cut may be inside a letter
		}
		m := mark{r.Before.UnixMilli(), r.Until.UnixMilli(), r.Why}
		if n.kind == 's' {
			m.before = 0
		}
		old, known := l.marks[n]
		if known {
			if m = old.join(m); m == old {
				continue
			}
		} else if len(l.marks) >= l.room(n) {
			left++
			continue
		}
		l.marks[n] = m
		news = append(news, n.with(m))
	}
	l.n.Store(int64(len(l.marks)))
	return news, left
}

// room is how many marks there may be when n comes: people who log in and out all
// the time must not take the place of who is thrown out.
func (l *list) room(n name) int {
	if n.kind == 's' {
		return l.max - l.max/10
	}
	return l.max
}

func (n name) with(m mark) Revocation {
	r := Revocation{All: n.kind == 'a', Until: time.UnixMilli(m.until), Why: m.why}
	switch n.kind {
	case 's':
		r.Session = n.text
		return r
	case 'u':
		r.Subject = n.text
	}
	r.Before = time.UnixMilli(m.before)
	return r
}

// all returns the list.
func (l *list) all() []Revocation {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]Revocation, 0, len(l.marks))
	for n, m := range l.marks {
		out = append(out, n.with(m))
	}
	return out
}

// prune forgets what is over.
func (l *list) prune(now time.Time) {
	ms := now.UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, m := range l.marks {
		if m.until <= ms {
			delete(l.marks, n)
		}
	}
	l.n.Store(int64(len(l.marks)))
}

var errFullList = message.NewError(message.CodeOverloaded, "the list of revoked sessions is full",
	"Shorten sessions.limit, so that revocations are forgotten earlier.")
