package engine

import (
	"context"
	"sync"

	"github.com/ropewalk/ropewalk/message"
)

// crowd is how many times as many jobs may be under way as compute at a time: the
// others wait for the host, and take memory.
const crowd = 8

// gate lets so many jobs compute at a time, and so many wait to be begun.
type gate struct {
	jobs   chan struct{} // under way
	places chan struct{} // computing
	queue  int

	mu      sync.Mutex
	waiting int
}

func newGate(places, queue int) *gate {
	places = max(places, 1)
	return &gate{jobs: make(chan struct{}, crowd*places), places: make(chan struct{}, places), queue: queue}
}

// enter waits until a job may begin. Its error is overloaded, or ctx's.
func (g *gate) enter(ctx context.Context) (*ticket, error) {
	t := &ticket{gate: g, computes: true}
	select {
	case g.jobs <- struct{}{}:
		select {
		case g.places <- struct{}{}:
			return t, nil
		default:
			<-g.jobs
		}
	default:
	}
	g.mu.Lock()
	if g.waiting >= g.queue {
		g.mu.Unlock()
		return nil, message.NewError(message.CodeOverloaded, "too many scripts wait to be run", "Allow more workers, or run fewer scripts.")
	}
	g.waiting++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.waiting--
		g.mu.Unlock()
	}()
	select {
	case g.jobs <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case g.places <- struct{}{}:
		return t, nil
	case <-ctx.Done():
		<-g.jobs
		return nil, context.Cause(ctx)
	}
}

// empty waits until no job is under way, and lets none begin meanwhile.
func (g *gate) empty() {
	for range cap(g.jobs) {
		g.jobs <- struct{}{}
	}
	for range cap(g.jobs) {
		<-g.jobs
	}
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
	computes bool
}

func (t *ticket) pause() {
	if t.computes {
		t.computes = false
		<-t.gate.places
	}
}

func (t *ticket) resume(ctx context.Context) error {
	if t.computes {
		return nil
	}
	select {
	case t.gate.places <- struct{}{}:
		t.computes = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave ends the job.
func (t *ticket) leave() {
	t.pause()
	<-t.gate.jobs
}
