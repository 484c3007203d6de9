package keeper_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// modeled is what a session has to be.
type modeled struct {
	now     *session.Session // as the keeper returned it last
	subject string
	claims  session.Claims
	since   time.Time
	dead    bool // ended before its time
}

// paper is a credential that somebody has, for ever.
type paper struct {
	of      *modeled
	text    string
	claims  session.Claims // as they were, for tokens
	expires time.Time
}

// step is one of the things that happen; its numbers choose with what.
type step struct {
	What             string
	Node, Which, Arg int
}

// failure is what is wrong.
type failure string

// life is two nodes, and what is known of their sessions.
type life struct {
	t      *testing.T
	step   step
	cfg    keeper.Config
	nodes  [2]*keeper.Keeper
	all    []*modeled
	papers []*paper
}

// TestModel has two nodes begin, open, change, use, refresh, end and revoke
// sessions over two days, and compares with a model: no credential opens more
// than it should, and none that is good is refused.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				list := rapid.SliceOfN(steps, 1, 60).Draw(rt, "steps")
				var failed failure
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						switch p := recover().(type) {
						case nil:
						case failure:
							failed = p
						default:
							panic(p)
						}
					}()
					live(t, list, keeper.Config{Form: form, Lifetime: seconds(600), Idle: seconds(300), Limit: seconds(3000)})
				})
				if failed != "" {
					rt.Fatal(failed)
				}
			})
		})
	}
}

var does = map[string]func(*life){
	"begin": (*life).begin, "open": (*life).open, "claims": (*life).claims, "subject": (*life).subject, "touch": (*life).touch,
	"refresh": (*life).refresh, "end": (*life).end, "revoke": (*life).revokeSubject, "wait": (*life).wait,
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		What: rapid.SampledFrom(slices.Sorted(maps.Keys(does))).Draw(t, "what"),
		Node: rapid.IntRange(0, 1).Draw(t, "node"), Which: rapid.IntRange(0, 1000).Draw(t, "which"), Arg: rapid.IntRange(0, 400).Draw(t, "arg"),
	}
})

func live(t *testing.T, list []step, cfg keeper.Config) {
	l := &life{t: t, cfg: cfg}
	store := keeper.NewMemory(0, 0)
	for i := range l.nodes {
		l.nodes[i] = start(t, cfg, keeper.Parts{Store: store})
	}
	for i, k := range l.nodes {
		k.OnRevoked(func(rs []keeper.Revocation) { l.nodes[1-i].Merge(rs) })
	}
	for _, l.step = range list {
		does[l.step.What](l)
	}
	for _, p := range l.papers {
		l.check(p)
	}
}

func (*life) failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (l *life) node() *keeper.Keeper { return l.nodes[l.step.Node] }

// one is one of the sessions that there were, also those that have ended.
func (l *life) one() *modeled {
	if len(l.all) == 0 {
		l.begin()
	}
	return l.all[l.step.Which%len(l.all)]
}

func (m *modeled) alive() bool { return !m.dead && !m.now.Expired(time.Now()) }

// is checks what a keeper has returned.
func (l *life) is(m *modeled, s *session.Session, credential string) {
	if s.Subject != m.subject || fmt.Sprint(s.Public) != fmt.Sprint(m.claims) {
		l.failf("it is %s with %v, want %s with %v", s.Subject, s.Public, m.subject, m.claims)
	}
	limit := m.since.Add(time.Duration(l.cfg.Limit))
	idle := time.Now().Add(time.Duration(l.cfg.Idle))
	if late := s.Expires.Sub(minTime(idle, limit)); late > 20*time.Millisecond {
		l.failf("it expires %v too late", late)
	}
	m.now = s
	if credential != "" {
		l.papers = append(l.papers, &paper{of: m, text: credential, claims: maps.Clone(m.claims), expires: s.Expires})
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// fails checks that a session that has ended is not brought back.
func (l *life) fails(m *modeled, what string, err error) bool {
	if m.alive() == (err == nil) {
		return err != nil
	}
	l.failf("%s: error %v of a session that is alive: %v", what, err, m.alive())
	return true
}

func (l *life) begin() {
	m := &modeled{subject: []string{"anna", "bob"}[l.step.Arg%2], claims: session.Claims{"n": 0.0}, since: time.Now()}
	s, credential, err := l.node().Begin(l.t.Context(), session.New(m.subject, maps.Clone(m.claims), nil))
	if err != nil || credential == "" {
		l.failf("begin: %v", err)
	}
	l.all = append(l.all, m)
	l.is(m, s, credential)
}

func (l *life) open() {
	if len(l.papers) > 0 {
		l.check(l.papers[l.step.Which%len(l.papers)])
	}
}

// check opens a credential and looks whether that is right.
func (l *life) check(p *paper) {
	s, err := l.node().Open(l.t.Context(), p.text)
	good, claims := p.of.alive(), p.of.claims
	if l.cfg.Form == keeper.FormToken { // a token is what it was
		good, claims = !p.of.dead && time.Now().Before(p.expires), p.claims
	}
	if good != (err == nil) {
		l.failf("open: error %v of a credential that is good: %v", err, good)
	}
	if err == nil && (s.Subject != p.of.subject || fmt.Sprint(s.Public) != fmt.Sprint(claims)) {
		l.failf("opened %s with %v, want %s with %v", s.Subject, s.Public, p.of.subject, claims)
	}
}

func (l *life) claims() {
	m := l.one()
	n := l.step.Arg % 10
	s, credential, err := l.node().Change(l.t.Context(), m.now, session.Patch{Set: session.Claims{"n": float64(n)}})
	if l.fails(m, "change", err) {
		return
	}
	m.claims = session.Claims{"n": float64(n)}
	l.is(m, s, credential)
}

func (l *life) subject() {
	m := l.one()
	who := []string{"", "anna", "bob"}[l.step.Arg%3]
	s, credential, err := l.node().Change(l.t.Context(), m.now, session.Patch{Subject: &who})
	if l.fails(m, "log in", err) {
		return
	}
	if who == m.subject {
		l.is(m, s, credential)
		return
	}
	next := &modeled{subject: who, claims: session.Claims{}, since: time.Now()}
	if m.subject == "" {
		next.claims = m.claims
	}
	m.dead = true
	if s.ID == m.now.ID || credential == "" {
		l.failf("a log-in keeps the id")
	}
	if len(s.Public) == 0 {
		next.claims = nil
	}
	l.all = append(l.all, next)
	l.is(next, s, credential)
}

func (l *life) touch() {
	m := l.one()
	s, credential, err := l.node().Touch(l.t.Context(), m.now)
	if err == nil && s == m.now { // not looked at: it is too early
		return
	}
	if !l.fails(m, "touch", err) {
		l.is(m, s, credential)
	}
}

func (l *life) refresh() {
	m := l.one()
	s, credential, err := l.node().Refresh(l.t.Context(), m.now)
	if !l.fails(m, "refresh", err) {
		l.is(m, s, credential)
	}
}

func (l *life) end() {
	m := l.one()
	if err := l.node().End(l.t.Context(), m.now); err != nil {
		l.failf("%v", err)
	}
	m.dead = true
}

func (l *life) revokeSubject() {
	who := []string{"anna", "bob"}[l.step.Arg%2]
	if err := l.node().Revoke(l.t.Context(), keeper.Revocation{Subject: who}); err != nil {
		l.failf("%v", err)
	}
	for _, m := range l.all {
		m.dead = m.dead || m.subject == who
	}
}

func (l *life) wait() {
	time.Sleep(time.Duration(l.step.Arg) * time.Second)
}
