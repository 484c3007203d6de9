package content

import (
	"context"
	"slices"
)

// task is what a line holds: a cell to be visited, or a watch to be opened.
type task interface {
	// visit is called without a lock.
	visit(ctx context.Context)
	// source names what it waits for; see [Sourced].
	source() string
}

// queue is first in, first out. Each cell and watch is in one once at most.
type queue struct {
	tasks []task
	head  int
}

func (q *queue) push(t task) { q.tasks = append(q.tasks, t) }

func (q *queue) empty() bool { return q.head == len(q.tasks) }

func (q *queue) pop() task {
	t := q.tasks[q.head]
	q.tasks[q.head] = nil
	q.head++
	switch {
	case q.empty():
		q.tasks, q.head = q.tasks[:0], 0
	case q.head >= 1024 && 2*q.head >= len(q.tasks):
		n := copy(q.tasks, q.tasks[q.head:])
		clear(q.tasks[n:])
		q.tasks, q.head = q.tasks[:n], 0
	}
	return t
}

// source is what tasks wait for: a database, a host.
type source struct {
	queue

	name string
	busy int // workers who visit one of its tasks
}

// line is what there is to do, and the workers who do it. The sources have their
// turns, and each may have one worker although all others wait for those that do
// not answer.
type line struct {
	workers int
	sources map[string]*source // that have tasks or workers
	turns   []*source          // that have tasks
}

// crowd is how many times as many workers there may be at most as at a time are
// busy with one source.
const crowd = 4

// enqueue has a worker of a line visit t. r.mu is held.
func (r *runner) enqueue(l *line, t task) {
	if r.closed {
		return
	}
	if l.sources == nil {
		l.sources = make(map[string]*source)
	}
	name := t.source()
	s := l.sources[name]
	if s == nil {
		s = &source{name: name}
		l.sources[name] = s
	}
	if s.empty() {
		l.turns = append(l.turns, s)
	}
	s.push(t)
	r.hire(l, s)
}

// hire gets a source one more worker, if it may have one. r.mu is held.
func (r *runner) hire(l *line, s *source) {
	if l.workers >= r.o.Workers && (s.busy > 0 || l.workers >= crowd*r.o.Workers) {
		return
	}
	l.workers++
	s.busy++
	if !r.lane.Do(func(ctx context.Context) { r.work(ctx, l, s) }) {
		l.workers--
		l.leave(s)
	}
}

// work does what there is to do in a line, first of one source.
func (r *runner) work(ctx context.Context, l *line, s *source) {
	for first := true; ; first = false {
		r.mu.Lock()
		if !first || s.empty() {
			s = r.turn(l, s)
		}
		if s == nil || r.closed {
			l.workers--
			r.mu.Unlock()
			return
		}
		t := l.take(s)
		r.mu.Unlock()
		t.visit(ctx)
	}
}

// turn gives a worker another source, or none.
func (r *runner) turn(l *line, old *source) *source {
	l.leave(old)
	s := l.next(r.o.Workers)
	if old != s && old.busy == 0 && !old.empty() { // those who come are busy elsewhere
		r.hire(l, old)
	}
	return s
}

// next returns the source whose turn it is, for one more worker; nil: none may
// have one.
func (l *line) next(workers int) *source {
	for _, s := range l.turns {
		if l.workers <= workers || s.busy == 0 {
			s.busy++
			return s
		}
	}
	return nil
}

// take takes a task of a source, which has its next turn after all others.
func (l *line) take(s *source) task {
	i := slices.Index(l.turns, s)
	l.turns = slices.Delete(l.turns, i, i+1)
	t := s.pop()
	if !s.empty() {
		l.turns = append(l.turns, s)
	}
	return t
}

// leave notes that a worker is not busy with a source any more.
func (l *line) leave(s *source) {
	if s.busy--; s.busy == 0 && s.empty() {
		delete(l.sources, s.name)
	}
}
