package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// machine is a JavaScript machine that is ready for a job, and gets ready again
// for the next one. It belongs to one goroutine but for its meter.
type machine struct {
	*vm
	kernel value
	image  *image // all its memory when it was ready for the first time
	run    *run   // nil until there is a job

	last   *Code  // the one of the last run
	loaded *image // with last read and not yet run; nil: none
	script value  // what last is there
}

// newMachine makes a machine that is ready to be given a job.
func newMachine() (*machine, error) {
	m := &machine{}
	v, err := newVM(m.host)
	if err != nil {
		return nil, err
	}
	m.vm = v
	if err := m.prepare(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// prepare runs the prelude.
func (m *machine) prepare() error {
	start, err := m.eval(prelude)
	if err != nil {
		return err
	}
	defer m.free(start)
	host, err := m.hostFunction()
	if err != nil {
		return err
	}
	if m.kernel, err = m.vm.call(start, host); err != nil {
		return err
	}
	if m.image = m.memory.keep(nil); m.image == nil {
		return errors.New("the machine is larger than it may be")
	}
	return nil
}

// eval runs a script and returns its last value.
func (m *machine) eval(c *Code) (value, error) {
	f, err := c.function(m.vm)
	if err != nil {
		return f, err
	}
	return m.vm.start(f)
}

// reset makes the machine ready for the next job: it is then, to the last byte of
// its memory, what it was before the first, or before the last if its script was
// there already. It reports false if it cannot be used again.
func (m *machine) reset() bool {
	if !m.whole() {
		return false
	}
	m.run = nil
	if m.loaded != nil {
		m.back(m.loaded)
	} else {
		m.back(m.image)
	}
	m.trim()
	return true
}

// unload makes the machine what it was before there was a script, unless it is c.
func (m *machine) unload(c *Code) {
	if m.loaded != nil && m.last != c {
		m.loaded = nil
		m.back(m.image)
	}
}

// load has a script ready to be run. When it is the one of the run before, too, it
// stays: it is read as a function, of which nothing is run yet. A classic script is
// none.
func (m *machine) load(c *Code) error {
	again := m.last == c
	m.last = c
	if m.loaded != nil || c.classic {
		return nil
	}
	var err error
	if m.script, err = m.eval(c); err != nil || !again {
		return err
	}
	m.loaded = m.memory.keep(m.image)
	return nil
}

// run is one job in a machine.
type run struct {
	*machine
	ctx   context.Context //nolint:containedctx // a run is the call itself
	job   *Job
	to    Host
	meter *meter

	result  json.RawMessage
	failure *Failure
	calls   int
	lines   int
	asked   sync.WaitGroup
	at      place
	answers chan answer
	waiting int
}

// answer is what the host said to a question.
type answer struct {
	id   int32
	ok   bool
	text string
}

// maxGarbage is how much a script may allocate before garbage is looked for, in
// bytes: most end before.
const maxGarbage = 4 << 20

// do runs a job. Before the next one the machine has to be reset.
// t.late is closed if the machine does not end when it should.
func (m *machine) do(t *task) (json.RawMessage, error) {
	job := t.job
	ctx, cancel := context.WithTimeoutCause(t.ctx, job.Limits.Wall, errWall)
	r := &run{machine: m, ctx: ctx, job: job, to: t.host, at: t.place, answers: make(chan answer, job.Limits.Calls)}
	r.meter = newMeter(job.Limits.CPU, m.interrupt, t.late)
	m.run = r
	defer cancel()
	defer r.meter.end() // also after a panic
	defer context.AfterFunc(ctx, r.meter.stop)()
	m.unload(job.Code)
	m.limit(job.Limits.Memory, job.Limits.Depth, min(job.Limits.Memory/4, maxGarbage))
	result, err := r.do()
	if err != nil {
		cancel()
		if f, ok := errors.AsType[*Failure](err); ok && f.Kind == Thrown && f.Name == "" && r.memory.refused != 0 {
			err = outOfMemory()
		}
	}
	// What a script has begun and not waited for is carried out all the same.
	if r.waiting > 0 {
		r.at.pause()
	}
	r.asked.Wait()
	return result, err
}

var errWall = errors.New("the time of the run is over")

func (r *run) do() (json.RawMessage, error) {
	text, err := json.Marshal(settings{r.job.Code.classic, r.job.Export, r.job.Input, r.job.Context, r.job.Session, r.job.Grants})
	if err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	if err := r.enter(func() error { return r.load(r.job.Code) }); err != nil {
		return nil, err
	}
	if err := r.enter(func() error { return r.say("setup", string(text)) }); err != nil {
		return nil, err
	}
	if err := r.enter(r.start); err != nil {
		return nil, err
	}
	for r.result == nil {
		if err := r.enter(r.vm.drain); err != nil {
			return nil, err
		}
		if r.result != nil {
			break
		}
		if r.waiting == 0 {
			return nil, &Failure{Kind: Thrown, Message: "the script waits for a promise that nobody will keep"}
		}
		a, ok := r.answered()
		if !ok {
			return nil, r.why(nil)
		}
		r.waiting--
		if err := r.enter(func() error { return r.settle(a) }); err != nil {
			return nil, err
		}
	}
	return r.result, nil
}

// answered waits for an answer of the host; not ok: the time is over.
func (r *run) answered() (a answer, ok bool) {
	select {
	case a = <-r.answers:
		return a, true
	default:
	}
	r.at.pause()
	select {
	case a = <-r.answers:
		return a, r.at.resume(r.ctx) == nil
	case <-r.ctx.Done():
		return a, false
	}
}

// settings are what of a job the prelude gets.
type settings struct {
	Classic bool            `json:"classic,omitempty"`
	Export  string          `json:"export"`
	Input   json.RawMessage `json:"input,omitempty"`
	Context json.RawMessage `json:"context,omitempty"`
	Session json.RawMessage `json:"session,omitempty"`
	Grants  []string        `json:"grants,omitempty"`
}

// enter has f use the machine, and says whether the run goes on.
func (r *run) enter(f func() error) error {
	if !r.meter.enter() {
		return r.why(nil)
	}
	err := f()
	on := r.meter.leave()
	if r.failure != nil {
		return r.why(nil)
	}
	if r.result != nil {
		return nil
	}
	if err != nil || !on {
		return r.why(err)
	}
	return nil
}

// why returns the error that the run ends with; err is what the machine said.
func (r *run) why(err error) error {
	if r.meter.used() {
		return over("cpu", fmt.Sprintf("the script computed for longer than %v", r.job.Limits.CPU))
	}
	if errors.Is(context.Cause(r.ctx), errWall) {
		return over("wall", fmt.Sprintf("the script took longer than %v", r.job.Limits.Wall))
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if r.failure != nil {
		return known(r.failure)
	}
	return known(asFailure(err))
}

// tell calls the prelude, which takes the arguments.
func (r *run) tell(op string, args ...value) error {
	name, err := r.string(op)
	if err != nil {
		return err
	}
	v, err := r.vm.call(r.kernel, append([]value{name}, args...)...)
	r.free(v)
	return err
}

// say is tell with a text.
func (r *run) say(op, text string) error {
	v, err := r.string(text)
	if err != nil {
		return err
	}
	return r.tell(op, v)
}

// settle tells the prelude an answer.
func (r *run) settle(a answer) error {
	v, err := r.string(a.text)
	if err != nil {
		return err
	}
	return r.tell("settle", integer(a.id), boolean(a.ok), v)
}

// start evaluates the code and hands what comes out to the prelude.
func (r *run) start() error {
	if !r.job.Code.classic {
		return r.tell("run", r.script)
	}
	v, err := r.eval(r.job.Code)
	if err != nil {
		return err
	}
	return r.tell("finish", v)
}

// maxStack is how much of a stack is kept, in bytes.
const maxStack = 4 << 10

// asFailure makes a failure of what the machine said.
func asFailure(err error) *Failure {
	e, ok := errors.AsType[*thrown](err)
	if !ok {
		text := "the script ended without a result"
		if err != nil {
			text = err.Error()
		}
		return &Failure{Kind: Thrown, Message: text}
	}
	f := &Failure{Kind: Thrown, Name: e.name, Message: e.message, Stack: e.stack}
	if f.Message == "" {
		f.Message = strings.TrimPrefix(e.text, e.name+": ")
	}
	if e.name == "SyntaxError" && e.line > Lines {
		f.Kind = Syntax
		f.Stack = fmt.Sprintf("    at <eval>:%d:%d\n", e.line, e.column)
	}
	return f
}

func outOfMemory() *Failure {
	return over("memory", "the script needs more memory than it may have")
}

// known finds the errors by which the machine says that a limit was reached,
// and shortens what is too long.
func known(f *Failure) *Failure {
	if len(f.Stack) > maxStack {
		f.Stack = f.Stack[:strings.LastIndexByte(f.Stack[:maxStack], '\n')+1]
	}
	f.Name, f.Message, f.Code, f.Hint = clip(f.Name), clip(f.Message), clip(f.Code), clip(f.Hint)
	internal := f.Name == "InternalError"
	switch {
	case f.Kind != Thrown:
	case internal && strings.Contains(f.Message, "out of memory"):
		return outOfMemory()
	case (internal || f.Name == "SyntaxError") && strings.Contains(f.Message, "stack overflow"):
		f.Kind, f.Limit, f.Message = Limit, "depth", "the script calls its functions too deeply"
	case internal && strings.Contains(f.Message, "string too long"):
		f.Kind, f.Limit, f.Message = Limit, "memory", "the script makes a string that is too long"
	}
	return f
}
