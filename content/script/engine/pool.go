package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
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
	// Places is how many jobs compute at the same time, at least 1. While a job waits
	// for the host another one has its place; up to eight times as many are under way
	// of each level.
	Places int
	// Queue is how many jobs of a level wait to be begun; those beyond it are refused.
	Queue int
	// Idle is after how long without a job a machine, or a worker, is given up with
	// its memory. Default: a minute.
	Idle time.Duration
	// Logger; nil means slog.Default().
	Logger *slog.Logger
}

func (o *Options) defaults() {
	if o.Idle <= 0 {
		o.Idle = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// pool runs jobs in this process.
type pool struct {
	gate *gate
	lane *lane.Lane
	log  *slog.Logger
	idle time.Duration // of a seat

	mu   sync.Mutex
	free []*seat // those that wait for a task; the last one did so last
}

// NewPool returns an engine that runs jobs in this process. Each finds a machine
// that is like new: the first job of a place makes it, and after each job it is
// made like new while nobody waits. A place that is not used for [Options].Idle is
// given up, with its memory. A job that cannot be interrupted keeps its place until it
// ends; whoever waits for it does not wait that long.
func NewPool(o Options) Engine {
	o.defaults()
	return &pool{
		gate: newGate(o.Places, o.Queue), lane: lane.New(context.Background(), o.Logger), log: o.Logger, idle: o.Idle,
	}
}

func (p *pool) Run(ctx context.Context, job *Job, host Host) (json.RawMessage, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	defer context.AfterFunc(p.lane.Context(), func() { cancel(closing()) })()
	at, err := p.gate.enter(ctx, job)
	if err != nil {
		return nil, err
	}
	t := newTask(ctx, job, host, at)
	if !p.hand(t) {
		at.leave()
		return nil, closing()
	}
	return wait(ctx, t.ended, t.late, job.Limits.Wall+Grace)
}

// hand gives a task to a seat. Whoever calls it was let in by the gate, so that
// there are never more seats than jobs may be under way.
func (p *pool) hand(t *task) bool {
	p.mu.Lock()
	if i := len(p.free) - 1; i >= 0 {
		if at := slices.IndexFunc(p.free, func(s *seat) bool { return s.knows(t.job.Code) }); at >= 0 {
			i = at
		}
		s := p.free[i]
		p.free = slices.Delete(p.free, i, i+1)
		p.mu.Unlock()
		s.tasks <- t // it has room for one
		return true
	}
	p.mu.Unlock()
	return p.lane.Do(func(ctx context.Context) { p.serve(ctx, t) })
}

// serve is the life of a seat.
func (p *pool) serve(ctx context.Context, t *task) {
	s := newSeat()
	defer s.close()
	for t != nil {
		begun := time.Now()
		s.run(t)
		select {
		case <-t.late:
			p.log.Warn("a script could not be interrupted; such scripts should run in processes of their own", "took", time.Since(begun))
		default:
		}
		p.mu.Lock()
		p.free = append(p.free, s)
		p.mu.Unlock()
		t.at.leave()
		t = p.next(ctx, s)
	}
}

// next waits for a task; nil is the end.
func (p *pool) next(ctx context.Context, s *seat) *task {
	timer := time.NewTimer(p.idle)
	defer timer.Stop()
	select {
	case t := <-s.tasks:
		return t
	case <-ctx.Done():
	case <-timer.C:
	}
	p.mu.Lock()
	i := slices.Index(p.free, s)
	if i >= 0 {
		p.free = slices.Delete(p.free, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 {
		return <-s.tasks // it was just being given one
	}
	return nil
}

// wait returns what a run ends with, but does not wait for one that should have
// ended, because its machine or its host does not come back. One that was called
// off ends with the cause of ctx, and not with what its machine took long for.
func wait(ctx context.Context, ended <-chan outcome, late <-chan struct{}, limit time.Duration) (json.RawMessage, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	why := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	select {
	case o := <-ended:
		return o.result, o.err
	case <-late:
		return nil, why(tooLong())
	case <-timer.C:
	case <-ctx.Done():
	}
	timer.Reset(Grace)
	select {
	case o := <-ended:
		return o.result, o.err
	case <-late:
		return nil, why(tooLong())
	case <-timer.C:
		return nil, why(over("wall", "the script took too long"))
	}
}

func tooLong() *Failure {
	return over("cpu", "the script does something that takes too long and cannot be interrupted")
}

func (p *pool) Close() {
	p.lane.Cancel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p.lane.Wait(ctx) != nil {
		p.log.Warn("a script that cannot be interrupted is left to itself")
	}
}

func closing() error {
	return message.NewError(message.CodeShuttingDown, "the scripts are being shut down", "")
}
