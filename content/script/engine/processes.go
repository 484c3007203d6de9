package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

// maxKnown is how many scripts a worker knows.
const maxKnown = 100

// maxRuns is after how many runs a worker is replaced, so that nothing piles up.
const maxRuns = 10000

// processes runs jobs in processes of their own.
type processes struct {
	gate    *gate
	lane    *lane.Lane
	log     *slog.Logger
	command []string
	env     []string
	keep    time.Duration // an idle worker

	mu     sync.Mutex
	closed bool
	runs   sync.WaitGroup // none is added when closed is set
	idle   []*process     // those that were given back first come first
	reaper *time.Timer    // nil while none is idle
}

// NewWorkers returns an engine that runs jobs in other processes, each of which
// runs command with the environment env, no other, and has to call [RunWorker].
// They are started when they are needed and used again; one that is not used for
// [Options].Idle is ended. A job that goes on after its time is ended by killing
// its process.
func NewWorkers(command, env []string, o Options) Engine {
	o.defaults()
	return &processes{
		gate: newGate(o.Places, o.Queue), lane: lane.New(context.Background(), o.Logger),
		log: o.Logger, command: command, env: env, keep: o.Idle,
	}
}

// process is a worker as the node sees it. It belongs to one run at a time.
type process struct {
	*pipe
	cmd  *exec.Cmd
	in   io.Closer
	runs int
	told int       // answers that it was sent, guarded by mu of the run
	rest time.Time // since when it is idle
	once sync.Once
	// known has the numbers of the scripts that it has been sent.
	known map[uint64]bool
}

// order returns the frame that has the worker run a job.
func (w *process) order(job *Job) *frame {
	c := job.Code
	f := &frame{Op: "run", Job: job, Code: c.number}
	if w.known[c.number] {
		return f
	}
	if len(w.known) >= maxKnown {
		clear(w.known)
		f.Forget = true
	}
	w.known[c.number] = true
	f.Script = &script{c.text, c.classic}
	return f
}

// begin counts a run in, unless there are to be no more.
func (p *processes) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.runs.Add(1)
	return true
}

func (p *processes) Run(ctx context.Context, job *Job, host Host) (json.RawMessage, error) {
	if !p.begin() {
		return nil, closing()
	}
	defer p.runs.Done()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(p.lane.Context(), func() { stop(closing()) })()
	at, err := p.gate.enter(ctx, job)
	if err != nil {
		return nil, err
	}
	defer at.leave()
	limit := job.Limits.Wall + Grace
	ctx, cancel := context.WithTimeoutCause(ctx, limit, over("wall", fmt.Sprintf("the script took longer than %v, and was killed", limit)))
	defer cancel()
	w, err := p.take()
	if err != nil {
		return nil, noWorker(err)
	}
	used := w.runs > 0
	result, silent, err := p.runOn(ctx, w, job, host, at)
	if !used || !silent || ctx.Err() != nil {
		return result, err
	}
	if w, err = p.start(); err != nil { // the other one was killed while it was idle
		return nil, noWorker(err)
	}
	result, _, err = p.runOn(ctx, w, job, host, at)
	return result, err
}

func noWorker(cause error) error {
	e := message.NewError(message.CodeInternal, "there is no worker process to run scripts", "")
	e.Cause = cause
	return e
}

// runOn runs a job in a worker, and keeps that if it is of use. silent says that it
// ended before it had said a word, so that the job has done nothing.
func (p *processes) runOn(ctx context.Context, w *process, job *Job, host Host, at *ticket) (result json.RawMessage, silent bool, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(ctx, w.kill)
	r := &remote{process: w, ctx: ctx, host: host, at: at, silent: true}
	result, last, err := r.run(job)
	whole := unwatch()
	stop(context.Canceled) // those that are still asked
	r.asked.Wait()
	if !whole || last || w.runs >= maxRuns {
		w.kill()
	} else {
		p.give(w)
	}
	return result, r.silent, err
}

// remote is a run in another process.
type remote struct {
	*process
	ctx   context.Context //nolint:containedctx // a run is the call itself
	host  Host
	asked sync.WaitGroup
	// silent is true until the worker has said something.
	silent bool

	mu sync.Mutex
	at *ticket
}

// run has the worker run a job. last says that it is of no more use.
func (r *remote) run(job *Job) (result json.RawMessage, last bool, err error) {
	r.runs++
	if err := r.send(r.order(job)); err != nil {
		return nil, true, r.lost(err)
	}
	asks, lines := 0, 0
	for {
		f, err := r.receive()
		if err != nil {
			return nil, true, r.lost(err)
		}
		r.silent = false
		switch f.Op {
		case "done":
			if len(f.Result) > job.Limits.Output {
				return nil, true, over("output", "the result of the script is too long")
			}
			return f.Result, f.Last, nil
		case "failed":
			if f.Failure != nil {
				return nil, f.Last, f.Failure
			}
			return nil, true, r.lost(errors.New(f.Text))
		case "log":
			if lines++; lines <= job.Limits.Lines+1 {
				r.host.Log(f.Name, f.Text)
			}
		case "wait":
			r.wait(f.ID)
		case "ask":
			// The worker counts too, but it may have been broken into.
			if asks++; asks > job.Limits.Calls {
				return nil, true, over("calls", "the script asks the host too often")
			}
			r.asked.Go(func() { r.answer(f, job.Limits.Bytes) })
		}
	}
}

// answer asks the host for the worker.
func (r *remote) answer(f *frame, limit int) {
	ok, said := invoke(r.ctx, r.host, f.Name, string(f.Args), limit)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.resume(r.ctx) != nil {
		return // the run is over
	}
	r.told++
	_ = r.send(&frame{Op: "answer", ID: f.ID, OK: ok, Text: said}) // if it is gone, so is the run
}

// wait is told that the worker waits, after so many answers.
func (r *remote) wait(answers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answers == r.told { // else it goes on already
		r.at.pause()
	}
}

// lost returns the error of a run whose worker is gone.
func (r *remote) lost(err error) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	e := message.NewError(message.CodeInternal, "the worker process that ran the script ended", "")
	e.Cause = err
	return e
}

// take returns a worker.
func (p *processes) take() (*process, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return w, nil
	}
	p.mu.Unlock()
	return p.start()
}

// give keeps a worker for the next run, for a while.
func (p *processes) give(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		w.kill()
		return
	}
	w.rest = time.Now()
	p.idle = append(p.idle, w)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.keep, p.reap)
	}
}

// reap ends the workers that are idle for too long.
func (p *processes) reap() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.runs.Add(1) // Close waits for the end of the workers
	defer p.runs.Done()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].rest) >= p.keep {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	if len(p.idle) > 0 {
		p.reaper.Reset(p.keep - time.Since(p.idle[0].rest))
	} else {
		p.reaper = nil
	}
	p.mu.Unlock()
	for _, w := range old {
		w.kill()
	}
}

func (p *processes) start() (*process, error) {
	if len(p.command) == 0 {
		return nil, errors.New("no command")
	}
	cmd := exec.Command(p.command[0], p.command[1:]...) //nolint:gosec,noctx // it outlives the run; the command is the configuration's
	cmd.Env = append([]string{}, p.env...)
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	p.log.Debug("a worker for scripts was started", "pid", cmd.Process.Pid, "took", time.Since(begun))
	return &process{pipe: newPipe(out, in), cmd: cmd, in: in, known: map[uint64]bool{}}, nil
}

// kill ends the worker and waits until it has ended.
func (w *process) kill() {
	w.once.Do(func() {
		_ = w.in.Close()
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait() // that it was killed is known
	})
}

func (p *processes) Close() {
	p.mu.Lock()
	p.closed = true
	for _, w := range p.idle {
		w.kill()
	}
	p.idle = nil
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	p.lane.Close() // whoever runs is told
	p.runs.Wait()
}
