package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

// Grace is how long a run may go on after its end, before it is given up: one
// function of the language, such as a search in a very long text, cannot be
// interrupted.
const Grace = 250 * time.Millisecond

// patience is how long Close waits for jobs that cannot be interrupted.
const patience = 10 * time.Second

// Options say how an engine works.
type Options struct {
	// Places is how many jobs run at the same time, at least 1.
	Places int
	// Queue is how many jobs wait for a place; those beyond it are refused.
	Queue int
	// Logger; nil means slog.Default().
	Logger *slog.Logger
}

// pool runs jobs in this process.
type pool struct {
	gate *gate
	lane *lane.Lane
	log  *slog.Logger

	mu   sync.Mutex
	idle []*machine // ready for a job, at most keep
	keep int
}

// NewPool returns an engine that runs jobs in this process. Each finds a machine
// that is like new; the first job of a place makes it, and after each it is made
// like new while nobody waits. Until then there is nothing. A job that cannot be
// interrupted keeps its place until it ends; whoever waits for it does not wait
// that long.
func NewPool(o Options) Engine {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &pool{
		gate: newGate(o.Places, o.Queue), lane: lane.New(context.Background(), o.Logger),
		log: o.Logger, keep: o.Places,
	}
}

// outcome is how a run ended.
type outcome struct {
	result json.RawMessage
	err    error
}

func (p *pool) Run(ctx context.Context, job *Job, host Host) (json.RawMessage, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	defer context.AfterFunc(p.lane.Context(), func() { cancel(closing()) })()
	if err := p.gate.enter(ctx); err != nil {
		return nil, err
	}
	ended, late := make(chan outcome, 1), make(chan struct{})
	begun := time.Now()
	if !p.lane.Do(func(context.Context) {
		defer p.gate.leave()
		p.work(ctx, job, host, ended, late)
		select {
		case <-late:
			p.log.Warn("a script could not be interrupted; such scripts should run in processes of their own", "took", time.Since(begun))
		default:
		}
	}) {
		p.gate.leave()
		return nil, closing()
	}
	return wait(ctx, ended, late, job.Limits.Wall+Grace)
}

// wait returns what a run ends with, but does not wait for one that should have
// ended, because its machine or its host does not come back.
func wait(ctx context.Context, ended <-chan outcome, late <-chan struct{}, limit time.Duration) (json.RawMessage, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	why := func() error { return context.Cause(ctx) }
	select {
	case o := <-ended:
		return o.result, o.err
	case <-late:
		return nil, tooLong()
	case <-timer.C:
		why = func() error { return over("wall", "the script took too long") }
	case <-ctx.Done():
	}
	timer.Reset(Grace)
	select {
	case o := <-ended:
		return o.result, o.err
	case <-late:
		return nil, tooLong()
	case <-timer.C:
		return nil, why()
	}
}

func tooLong() *Failure {
	return over("cpu", "the script does something that takes too long and cannot be interrupted")
}

// work runs a job and then has a machine ready for the next one.
func (p *pool) work(ctx context.Context, job *Job, host Host, ended chan<- outcome, late chan<- struct{}) {
	m, err := p.take()
	if err != nil {
		e := message.NewError(message.CodeInternal, "there is no machine to run scripts", "")
		e.Cause = err
		ended <- outcome{err: e}
		return
	}
	result, err := run1(ctx, m, job, host, late)
	ended <- outcome{result, err}
	if again(err) && m.reset() {
		p.give(m)
		return
	}
	m.close()
	if m, err = newMachine(); err == nil { // else take says so
		p.give(m)
	}
}

// again reports whether a machine is used after a job that ended with err: one
// that was stopped is not, and above all not one that had no more memory.
func again(err error) bool {
	if err == nil {
		return true
	}
	f, ok := errors.AsType[*Failure](err)
	return ok && f.Kind != Limit
}

// run1 runs a job, and makes an error of a panic of the machine.
func run1(ctx context.Context, m *machine, job *Job, host Host, late chan<- struct{}) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			e := message.NewError(message.CodeInternal, "the machine that runs scripts failed", "")
			e.Cause = fmt.Errorf("panic: %v", p) //nolint:err113 // for the log
			result, err = nil, e
		}
	}()
	return m.do(ctx, job, host, late)
}

// take returns a machine.
func (p *pool) take() (*machine, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		m := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return m, nil
	}
	p.mu.Unlock()
	return newMachine()
}

// give keeps a machine for the next job.
func (p *pool) give(m *machine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= p.keep || p.lane.Context().Err() != nil {
		m.close()
		return
	}
	p.idle = append(p.idle, m)
}

func (p *pool) Close() {
	p.lane.Cancel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p.lane.Wait(ctx) != nil {
		p.log.Warn("a script that cannot be interrupted is left to itself")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.idle {
		m.close()
	}
	p.idle = nil
}

func closing() error {
	return message.NewError(message.CodeShuttingDown, "the scripts are being shut down", "")
}

// gate lets so many in at a time, and so many wait.
type gate struct {
	places chan struct{}
	queue  int

	mu      sync.Mutex
	waiting int
}

func newGate(places, queue int) *gate {
	return &gate{places: make(chan struct{}, max(places, 1)), queue: queue}
}

// enter waits for a place. Its error is overloaded, or ctx's.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	g.mu.Lock()
	if g.waiting >= g.queue {
		g.mu.Unlock()
		return message.NewError(message.CodeOverloaded, "too many scripts wait to be run", "Allow more workers, or run fewer scripts.")
	}
	g.waiting++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.waiting--
		g.mu.Unlock()
	}()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) leave() { <-g.places }
