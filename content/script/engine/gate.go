package engine

import (
	"context"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// crowd is how many times as many jobs of a level may be under way as compute at a
	// time: the others wait for the host, and take memory.
	crowd = 8
	// MaxLevel is the highest Level of a Job: so many scripts may wait for each other.
	MaxLevel = 8
)

// gate lets so many jobs compute at a time, and so many wait to be begun. Jobs of
// each level are counted apart: those that wait for jobs of the next one do not
// keep them from being begun.
type gate struct {
	places places // computing
	levels [MaxLevel + 1]level
	queue  int32
}

// level is what is under way of one level, and waits to be.
type level struct {
	jobs    places
	waiting atomic.Int32
}

func newGate(n, queue int) *gate {
	n = max(n, 1)
	g := &gate{places: make(places, n), queue: int32(queue)} //nolint:gosec // settings bound it
	for i := range g.levels {
		g.levels[i].jobs = make(places, crowd*n)
	}
	return g
}

// places are so many as may be taken at a time; of nil there is no end.
type places chan struct{}

func (p places) try() bool {
	if p == nil {
		return true
	}
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

// take waits for a place; its error is ctx's.
func (p places) take(ctx context.Context) error {
	if p == nil {
		return nil
	}
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p places) give() {
	if p != nil {
		<-p
	}
}

// enter waits until a job may begin. Its error is overloaded, or ctx's.
func (g *gate) enter(ctx context.Context, job *Job) (*ticket, error) {
	l := &g.levels[min(max(job.Level, 0), MaxLevel)]
	t := &ticket{gate: g, jobs: l.jobs, computes: true}
	if job.Free {
		t.jobs = nil
	}
	if t.jobs.try() {
		if g.places.try() {
			return t, nil
		}
		t.jobs.give()
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > g.queue {
		return nil, message.NewError(message.CodeOverloaded, "too many scripts wait to be run", "Allow more workers, or run fewer scripts.")
	}
	if err := t.jobs.take(ctx); err != nil {
		return nil, err
	}
	if err := g.places.take(ctx); err != nil {
		t.jobs.give()
		return nil, err
	}
	return t, nil
}

// place is where a job computes. It is used by one goroutine at a time.
type place interface {
	// pause lets another job compute, while this one waits for the host.
	pause()
	// resume waits until it may go on; its error is ctx's.
	resume(ctx context.Context) error
}

// ticket is the place of a job that the gate has let in.
type ticket struct {
	gate     *gate
	jobs     places // of its level; nil: it is not counted
	computes bool
}

func (t *ticket) pause() {
	if t.computes {
		t.computes = false
		t.gate.places.give()
	}
}

func (t *ticket) resume(ctx context.Context) error {
	if t.computes {
		return nil
	}
	if err := t.gate.places.take(ctx); err != nil {
		return err
	}
	t.computes = true
	return nil
}

// leave ends the job.
func (t *ticket) leave() {
	t.pause()
	t.jobs.give()
}
