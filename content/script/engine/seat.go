package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
)

// task is a job for a seat.
type task struct {
	ctx   context.Context //nolint:containedctx // a task is the call itself
	job   *Job
	host  Host
	at    *ticket // nil in a worker, where the node has it
	place place
	ended chan outcome  // takes how it ended
	late  chan struct{} // closed if it does not end when it should
}

func newTask(ctx context.Context, job *Job, host Host, at *ticket) *task {
	return &task{ctx: ctx, job: job, host: host, at: at, place: at, ended: make(chan outcome, 1), late: make(chan struct{})}
}

// outcome is how a run ended.
type outcome struct {
	result json.RawMessage
	err    error
}

// seat runs one task after the other, in one goroutine: its stack has grown to what
// scripts need. It has a machine from the first task on.
type seat struct {
	tasks chan *task
	m     *machine
}

func newSeat() *seat { return &seat{tasks: make(chan *task, 1)} }

// run runs a task, and has the machine ready for the next one when it returns.
func (s *seat) run(t *task) {
	if err := s.open(); err != nil {
		e := message.NewError(message.CodeInternal, "there is no machine to run scripts", "")
		e.Cause = err
		t.ended <- outcome{err: e}
		return
	}
	result, err := attempt(s.m, t)
	t.ended <- outcome{result, err}
	if again(err) && s.m.reset() {
		return
	}
	s.close()
	_ = s.open() // the next run says why not
}

// open makes a machine if there is none.
func (s *seat) open() (err error) {
	if s.m == nil {
		s.m, err = newMachine()
	}
	return err
}

// knows reports whether a script was the last one here. The seat must be at rest.
func (s *seat) knows(c *Code) bool { return s.m != nil && s.m.last == c }

func (s *seat) close() {
	if s.m != nil {
		s.m.close()
		s.m = nil
	}
}

// attempt runs a task, and makes an error of a panic of the machine.
func attempt(m *machine, t *task) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			e := message.NewError(message.CodeInternal, "the machine that runs scripts failed", "")
			e.Cause = fmt.Errorf("panic: %v", p) //nolint:err113 // for the log
			result, err = nil, e
		}
	}()
	return m.do(t)
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
