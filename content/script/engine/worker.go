package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ropewalk/ropewalk/message"
)

// RunWorker is the other end of [NewWorkers]: it runs the jobs that come in, one
// at a time, until in ends. It limits what this process may use, so it is for a
// process that does nothing else.
func RunWorker(in io.Reader, out io.Writer) error {
	w := &worker{pipe: newPipe(in, out), answers: map[int]chan *frame{}, jobs: make(chan *Job), codes: map[uint64]*Code{}}
	ctx, cancel := context.WithCancelCause(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() { cancel(w.read(ctx)) })
	err := w.work(ctx)
	cancel(err)
	if errors.Is(err, errStuck) {
		return err // the process ends with it: nobody waits
	}
	reading.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

var errStuck = errors.New("the script cannot be interrupted")

// worker is a process that runs jobs of another.
type worker struct {
	*pipe
	jobs  chan *Job
	codes map[uint64]*Code // of read

	mu      sync.Mutex
	next    int
	heard   int // answers
	answers map[int]chan *frame
}

// read takes what comes in until it ends.
func (w *worker) read(ctx context.Context) error {
	for {
		f, err := w.receive()
		if err != nil {
			return err
		}
		switch f.Op {
		case "run":
			job, err := w.job(f)
			if err != nil {
				return err
			}
			select {
			case w.jobs <- job:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case "answer":
			w.mu.Lock()
			w.heard++
			ch := w.answers[f.ID]
			delete(w.answers, f.ID)
			w.mu.Unlock()
			if ch != nil {
				ch <- f
			}
		}
	}
}

// job returns the job of a frame, with its script.
func (w *worker) job(f *frame) (*Job, error) {
	if f.Forget {
		clear(w.codes)
	}
	if f.Script != nil {
		w.codes[f.Code] = NewCode(f.Script.Text, f.Script.Classic)
	}
	if f.Job == nil || w.codes[f.Code] == nil {
		return nil, errors.New("a run without a job")
	}
	f.Job.Code = w.codes[f.Code]
	return f.Job, nil
}

// work runs the jobs.
func (w *worker) work(ctx context.Context) error {
	confine()
	s := newSeat()
	if err := s.open(); err != nil { // while nobody waits
		return err
	}
	served := make(chan struct{})
	go func() { //nolint:forbidigo // it may have to be left behind
		defer close(served)
		defer s.close()
		for t := range s.tasks {
			s.run(t)
		}
	}()
	for {
		select {
		case job := <-w.jobs:
			if err := w.run(ctx, s, job); err != nil {
				if !errors.Is(err, errStuck) { // else the machine is still at work
					close(s.tasks)
					<-served
				}
				return err
			}
		case <-ctx.Done():
			close(s.tasks)
			<-served
			return context.Cause(ctx)
		}
	}
}

// run runs one job and sends what came out. If the machine cannot be interrupted
// it does not wait for it: the end of the process is its end.
func (w *worker) run(ctx context.Context, s *seat, job *Job) error {
	confineData(job.Limits.Memory)
	t := newTask(ctx, job, w, nil)
	t.place = w
	s.tasks <- t
	select {
	case o := <-t.ended:
		return w.send(w.report(o))
	case <-t.late:
		if err := w.send(&frame{Op: "failed", Failure: tooLong(), Last: true}); err != nil {
			return err
		}
		return errStuck
	}
}

// report returns the frame that ends a run. A worker whose script has used up
// its memory is not used again: the machine may not have given all back.
func (w *worker) report(o outcome) *frame {
	if o.err == nil {
		return &frame{Op: "done", Result: o.result}
	}
	f := &frame{Op: "failed"}
	if failure, ok := errors.AsType[*Failure](o.err); ok {
		f.Failure, f.Last = failure, failure.Limit == "memory"
		return f
	}
	f.Text, f.Last = o.err.Error(), true
	return f
}

// Invoke asks the host in the other process.
func (w *worker) Invoke(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error) {
	ch := make(chan *frame, 1)
	w.mu.Lock()
	w.next++
	id := w.next
	w.answers[id] = ch
	w.mu.Unlock()
	if err := w.send(&frame{Op: "ask", ID: id, Name: name, Args: args}); err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	select {
	case f := <-ch:
		if !f.OK {
			return nil, message.DecodeError([]byte(f.Text))
		}
		return json.RawMessage(f.Text), nil
	case <-ctx.Done():
		w.mu.Lock()
		delete(w.answers, id)
		w.mu.Unlock()
		return nil, context.Cause(ctx)
	}
}

// pause implements place: the node has it.
func (w *worker) pause() {
	w.mu.Lock()
	f := &frame{Op: "wait", ID: w.heard}
	w.mu.Unlock()
	_ = w.send(f) // if it is gone, the run ends by itself
}

// resume implements place: the node resumes before it sends an answer.
func (w *worker) resume(context.Context) error { return nil }

// Log sends a line to the other process.
func (w *worker) Log(level, text string) {
	_ = w.send(&frame{Op: "log", Name: level, Text: text}) // if it is gone, the run ends by itself
}
