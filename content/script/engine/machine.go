package engine

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"modernc.org/quickjs"
)

var (
	//go:embed prelude.js
	preludeText string
	//go:embed web.js
	webText string
)

// Lines is how many lines stand before the first line of a job's code: a place
// in a stack that is not beyond them is in the prelude.
const Lines = 1000

// shift moves code behind the lines of the prelude.
var shift = strings.Repeat("\n", Lines)

// prelude is the bytecode of the prelude.
var prelude = sync.OnceValues(func() ([]byte, error) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return nil, err
	}
	defer func() { _ = vm.Close() }()
	return vm.Compile(preludeText, quickjs.EvalGlobal)
})

// machine is a JavaScript machine, for one job. It belongs to one goroutine but
// for its meter.
type machine struct {
	vm     *quickjs.VM
	kernel quickjs.Value
	ready  bool // kernel is there
	run    *run // nil until there is a job
}

// newMachine makes a machine that is ready to be given a job.
func newMachine() (*machine, error) {
	code, err := prelude()
	if err != nil {
		return nil, err
	}
	vm, err := quickjs.NewVM()
	if err != nil {
		return nil, err
	}
	m := &machine{vm: vm}
	// What the prelude takes is taken from the machine before a script runs.
	if err := vm.RegisterHostFunc("__host", m.host); err != nil {
		m.close()
		return nil, err
	}
	start, err := vm.EvalBytecodeValue(code)
	if err != nil {
		m.close()
		return nil, err
	}
	defer start.Free()
	host, err := vm.EvalValue("(() => { const h = __host; delete globalThis.__host; return h })()", quickjs.EvalGlobal)
	if err != nil {
		m.close()
		return nil, err
	}
	defer host.Free()
	m.kernel, err = start.CallValue(quickjs.UndefinedValue, host)
	m.ready = err == nil
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// close frees the machine.
func (m *machine) close() {
	if m.ready {
		m.kernel.Free()
	}
	_ = m.vm.Close()
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
	answers chan answer
	waiting int
}

// answer is what the host said to a question.
type answer struct {
	id   any
	ok   bool
	text string
}

// do runs a job. It is called once in the life of a machine.
// late is closed if the machine does not end when it should.
func (m *machine) do(ctx context.Context, job *Job, host Host, late chan<- struct{}) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, job.Limits.Wall, errWall)
	r := &run{machine: m, ctx: ctx, job: job, to: host, answers: make(chan answer, job.Limits.Calls)}
	r.meter = newMeter(job.Limits.CPU, m.vm.Interrupt, late)
	m.run = r
	defer cancel()
	defer context.AfterFunc(ctx, r.meter.stop)()
	m.vm.SetMemoryLimit(uintptr(job.Limits.Memory))
	m.vm.SetMaxStackSize(uintptr(job.Limits.Depth))
	result, err := r.do()
	if err != nil {
		cancel()
		if f, ok := errors.AsType[*Failure](err); ok && f.Kind == Thrown && f.Name == "" && r.empty() {
			err = outOfMemory()
		}
	}
	// What a script has begun and not waited for is carried out all the same.
	r.asked.Wait()
	return result, err
}

var errWall = errors.New("the time of the run is over")

func (r *run) do() (json.RawMessage, error) {
	text, err := json.Marshal(settings{r.job.Classic, r.job.Export, r.job.Input, r.job.Context, r.job.Session, r.job.Grants})
	if err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	if err := r.enter(func() error { return r.tell("setup", string(text)) }); err != nil {
		return nil, err
	}
	if err := r.enter(r.start); err != nil {
		return nil, err
	}
	for r.result == nil {
		if err := r.enter(r.drain); err != nil {
			return nil, err
		}
		if r.result != nil {
			break
		}
		if r.waiting == 0 {
			return nil, &Failure{Kind: Thrown, Message: "the script waits for a promise that nobody will keep, or has lost it for want of memory"}
		}
		select {
		case a := <-r.answers:
			r.waiting--
			if err := r.enter(func() error { return r.tell("settle", a.id, a.ok, a.text) }); err != nil {
				return nil, err
			}
		case <-r.ctx.Done():
			return nil, r.why(nil)
		}
	}
	return r.result, nil
}

// empty reports whether there is no memory left: the machine then loses errors
// and promises without a word.
func (r *run) empty() bool {
	if !r.meter.enter() {
		return false
	}
	err := r.tell("probe", r.job.Limits.Memory/4)
	return r.meter.leave() && err != nil
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

// tell calls the prelude.
func (r *run) tell(op string, args ...any) error {
	_, err := r.kernel.Call(quickjs.UndefinedValue, append([]any{op}, args...)...)
	return err
}

// start evaluates the code and hands what comes out to the prelude.
func (r *run) start() error {
	v, err := r.vm.EvalValue(shift+r.job.Code, quickjs.EvalGlobal)
	if err != nil {
		return err
	}
	defer v.Free()
	op := "run"
	if r.job.Classic {
		op = "finish"
	}
	return r.tell(op, v)
}

// drain runs what is ready. The library stops after a million steps, which is
// no end but only a pause.
func (r *run) drain() error {
	_, err := r.vm.ExecutePendingJobs()
	if e, ok := errors.AsType[*quickjs.Error](err); ok {
		return e
	}
	return nil
}

// maxStack is how much of a stack is kept, in bytes.
const maxStack = 4 << 10

// asFailure makes a failure of what the machine said.
func asFailure(err error) *Failure {
	e, ok := errors.AsType[*quickjs.Error](err)
	if !ok {
		text := "the script ended without a result"
		if err != nil {
			text = err.Error()
		}
		return &Failure{Kind: Thrown, Message: text}
	}
	f := &Failure{Kind: Thrown, Name: e.Name, Message: e.Message, Stack: e.Stack}
	if f.Message == "" {
		f.Message = strings.TrimPrefix(e.Error(), e.Name+": ")
	}
	if e.Name == "SyntaxError" && e.LineNumber > Lines {
		f.Kind = Syntax
		f.Stack = fmt.Sprintf("    at <eval>:%d:%d\n", e.LineNumber, e.ColumnNumber)
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
	if f.Kind != Thrown {
		return f
	}
	said := f.Name + " " + f.Message
	switch {
	case strings.Contains(said, "out of memory"):
		return outOfMemory()
	case strings.Contains(said, "stack overflow"):
		f.Kind, f.Limit, f.Message = Limit, "depth", "the script calls its functions too deeply"
	case f.Name == "InternalError" && strings.Contains(said, "string too long"):
		f.Kind, f.Limit, f.Message = Limit, "memory", "the script makes a string that is too long"
	}
	return f
}
