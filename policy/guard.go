package policy

import (
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/session"
)

// Guard answers what may be done, by a [Policy] that can be replaced at any
// time. All of its methods may be called by any goroutine, and none blocks.
//
// It remembers its decisions with the session, which never changes, so that
// most of them cost a look-up: see [Guard.Check].
type Guard struct {
	now atomic.Pointer[rulebook]

	mu    sync.Mutex
	watch map[*func()]struct{}
}

// rulebook is a policy and what was decided by it.
type rulebook struct {
	*Policy

	version uint64
	nobody  memo // for session.Anonymous, which all guards of a process share
}

// standard is the preset standard without rules.
var standard = &Policy{preset: presetStandard}

// NewGuard returns a Guard. A nil Policy is that of an empty [Config].
func NewGuard(p *Policy) *Guard {
	g := &Guard{}
	g.Swap(p)
	return g
}

// Swap replaces the policy. All that is decided from now on follows the new
// one; what is under way has to be asked again by who lets it go on. It returns
// the new version.
func (g *Guard) Swap(p *Policy) uint64 {
	if p == nil {
		p = standard
	}
	for {
		old := g.now.Load()
		next := &rulebook{Policy: p, version: 1}
		if old != nil {
			next.version = old.version + 1
		}
		next.nobody.limit = maxKeptNobody
		if g.now.CompareAndSwap(old, next) {
			g.tell()
			return next.version
		}
	}
}

// Watch has changed called after each [Guard.Swap], until stop is called. changed
// must not block, nor call the Guard's Watch or stop.
func (g *Guard) Watch(changed func()) (stop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watch == nil {
		g.watch = map[*func()]struct{}{}
	}
	g.watch[&changed] = struct{}{}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.watch, &changed)
	}
}

func (g *Guard) tell() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for changed := range g.watch {
		(*changed)()
	}
}

// Version counts the policies that there were, from 1.
func (g *Guard) Version() uint64 { return g.now.Load().version }

// Policy returns the policy that holds now.
func (g *Guard) Policy() *Policy { return g.now.Load().Policy }

// Check decides. nil is the anonymous session. If the same was asked before of
// the same session, and the policy is still the same, it takes some 100 ns and
// allocates nothing; else, as long as the rules take.
func (g *Guard) Check(s *session.Session, ask Ask) Decision {
	if s == nil {
		s = session.Anonymous()
	}
	book := g.now.Load()
	if len(book.rules) == 0 && book.allows(ask.Verb) && plain(ask.Address.Path) {
		return Decision{Allowed: true, Preset: true, policy: book.Policy}
	}
	m := book.memoOf(s)
	if m == nil { // nothing is known about this session yet
		m = &memo{of: book, limit: maxKept}
		s.SetMemo(m)
	}
	k := book.key(&ask)
	hash := k.hash()
	if d := m.find(&k, hash); d != nil {
		return *d
	}
	d := book.Decide(s, ask)
	if !d.Allowed {
		d.advice = new(atomic.Pointer[advice])
	}
	m.keep(&k, hash, d)
	return d
}

// memoOf returns what was decided about a session by this book, or nil.
func (b *rulebook) memoOf(s *session.Session) *memo {
	if s == session.Anonymous() {
		return &b.nobody
	}
	if m, ok := s.Memo().(*memo); ok && m.of == b {
		return m
	}
	return nil
}
