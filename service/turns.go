package service

import (
	"bytes"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// turns keep publishes in order: of those of one client to one address one runs
// at a time, and the others wait for it in the order in which they came, so that
// what was sent last is what there is at last. Guarded by Runner.mu.
type turns struct {
	waiting map[string]*list // behind the job whose turn it is
	n       int              // that wait
}

// turnOf names what a request has its turn in; "" if it has none. Only clients
// have: of what the node itself publishes, such as for a script, one may wait for
// another.
func turnOf(req *route.Request) string {
	m := &req.Message
	if m.EffectiveVerb() != message.VerbPublish || !bytes.Contains(m.From, []byte("@client:")) {
		return ""
	}
	return string(m.From) + " " + req.Address.Path
}

// take reports whether it is the turn of a job; else it waits.
func (t *turns) take(j *job) bool {
	if j.turn == "" {
		return true
	}
	if l := t.waiting[j.turn]; l != nil {
		l.push(j)
		t.n++
		return false
	}
	if t.waiting == nil {
		t.waiting = make(map[string]*list)
	}
	t.waiting[j.turn] = new(list)
	return true
}

// pass ends the turn of a job, and returns the job whose turn it is then.
func (t *turns) pass(j *job) *job {
	l := t.waiting[j.turn]
	if l == nil {
		return nil
	}
	next := l.first
	if next == nil {
		delete(t.waiting, j.turn)
		return nil
	}
	l.remove(next)
	t.n--
	return next
}

// leave takes a job out that waits for its turn, if it does.
func (t *turns) leave(j *job) {
	if l := t.waiting[j.turn]; l != nil && j.in == l {
		l.remove(j)
		t.n--
	}
}

// clear takes all out that wait.
func (t *turns) clear() (all []*job) {
	for _, l := range t.waiting {
		all = append(all, l.clear()...)
	}
	t.n = 0
	return all
}
