package route

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
)

// Stage is a point on the way of a message at which middleware runs. Each stage
// has its own ordered list of middleware.
type Stage string

// The stages, in the order in which a call passes them.
const (
	// StageInbound runs for every message that asks for something: call, send,
	// serve and unserve, from a connection or from the process itself, before
	// its address is looked at: Request.Route is still empty. It is the place
	// for what concerns the connection: recover, rate limits by client,
	// authentication.
	StageInbound Stage = "inbound"
	// StageCall runs for every call, and every send to a service, once it is
	// known who could answer and before one is chosen: Request.Route and
	// Match are set. A gather passes it once for each of its targets. It is
	// the place for deadlines, metrics, traces, limits by route.
	StageCall Stage = "call"
	// StageServe runs after the choice, on the way to the server:
	// Request.Server is set, and Route and parameters are as it wrote them. It
	// is the place for what concerns one server, such as a limit of its calls.
	StageServe Stage = "serve"
	// StageDeliver runs for every send to a client, before it is put into the
	// queue of that connection: Request.Server is the client. A broadcast
	// passes it once for each client.
	StageDeliver Stage = "deliver"
	// StageOutbound runs for every part, reply and error on its way to the
	// connection that asked: Request.Message is the answer, Peer the one who
	// gets it. It is empty by default, and then costs nothing; any entry in it
	// costs each answer an allocation.
	StageOutbound Stage = "outbound"
)

// Stages returns all stages in order.
func Stages() []Stage {
	return []Stage{StageInbound, StageCall, StageServe, StageDeliver, StageOutbound}
}

// Kinds of the middleware that comes with Ropewalk; [Stack.Warnings] knows
// which order of them is a mistake.
const (
	KindRecover  = "recover"
	KindDeadline = "deadline"
	KindLog      = "log"
	KindMetrics  = "metrics"
	KindTrace    = "trace"
	KindLimit    = "limit"      // of calls at the same time, with a queue
	KindRate     = "rate-limit" // of calls a second
	KindRetry    = "retry"      // of calls that failed and may be repeated
	KindSecret   = "secret"     // and whatever else finds out who asks

	KindBreaker     = "breaker"     // leaves servers out that fail
	KindHedge       = "hedge"       // asks a second server when the first is slow
	KindFallback    = "fallback"    // answers in place of what failed
	KindCache       = "cache"       // of answers
	KindIdempotency = "idempotency" // answers again what was answered before
	KindShed        = "shed"        // of what matters least, under overload
	KindOrder       = "in-order"    // one call after another
)

// Entry is one middleware of a stage.
type Entry struct {
	// Name is unique in the stage.
	Name string
	// Middleware is called whenever the chain is built, which happens again
	// with every change of the stage: state that has to outlive that, such as
	// a queue or counters, belongs to the function, not to the handler that it
	// returns. It must not use the Stack.
	Middleware Middleware
	// Kind says what it does, in one word; see [KindRecover] and the others.
	// "" means the name.
	Kind string
	// Description is one sentence for people.
	Description string
	// Settings are shown to people as JSON; nil for none. No secrets.
	Settings any
	// State is what of it can be seen and set while it runs; nil for nothing.
	State Stateful
}

// Stateful is middleware with a state that people may see, and may set without
// putting it in anew. Its methods may be called from any goroutine.
type Stateful interface {
	// State is the state as of now, to be shown as JSON. No secrets; bounded.
	State() any
	// SetState changes what a JSON value says, which is not the form of State:
	// each kind documents its own. The error is a *message.Error with
	// [message.CodeInvalidInput], and then nothing has changed.
	SetState(change json.RawMessage) error
}

// Retirer is [Stateful] middleware that is told when it was taken out of the stack.
// Messages that are under way may still pass it.
type Retirer interface {
	// Retire must not block, nor use the Stack.
	Retire()
}

// EntryInfo is an [Entry] as a list shows it.
type EntryInfo struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Description string `json:"description,omitempty"`
	Settings    any    `json:"settings,omitempty"`
	State       any    `json:"state,omitempty"` // of a [Stateful] middleware
}

// StageInfo is one stage and its middleware, outermost first.
type StageInfo struct {
	Stage   Stage       `json:"stage"`
	Entries []EntryInfo `json:"entries"`
}

// Position says where in a stage an entry goes.
type Position struct {
	where where
	name  string
	index int
}

type where uint8

const (
	whereLast where = iota
	whereFirst
	whereBefore
	whereAfter
	whereAt
)

// First is the outermost position: it sees a message before all others.
func First() Position { return Position{where: whereFirst} }

// Last is the innermost position, next to what the stage is about. It is the
// zero Position.
func Last() Position { return Position{} }

// Before is the position outside of the entry with this name.
func Before(name string) Position { return Position{where: whereBefore, name: name} }

// After is the position inside of the entry with this name.
func After(name string) Position { return Position{where: whereAfter, name: name} }

// At is the position with this number, from 0; beyond the end it is the last.
func At(i int) Position { return Position{where: whereAt, index: i} }

// Stack is the middleware of all stages. Make one with [NewStack].
//
// All methods may be called from any goroutine, also while messages pass: a
// message sees the chain either as it was or as it is after a change, never a
// mixture. A message that is under way when its chain changes finishes in the
// old one. Errors are *message.Error: [message.CodeNotFound] for a stage or
// name that is not there, [message.CodeConflict] for a name that is taken,
// [message.CodeInvalidInput] for an entry that is incomplete; the stack is then
// as it was.
type Stack struct {
	mu     sync.Mutex // held by changes
	stages [5]stage   // in the order of Stages
}

type stage struct {
	entries atomic.Pointer[[]Entry] // never changed, only replaced
	chains  []*Chain
}

// NewStack returns a stack whose stages are all empty.
func NewStack() *Stack {
	s := &Stack{}
	for i := range s.stages {
		s.stages[i].entries.Store(&[]Entry{})
		// A chain that nobody calls, so that Insert finds a middleware that
		// returns no handler also before the first real chain is made.
		s.Chain(Stages()[i], HandlerFunc(func(context.Context, *Request, Responder) {}))
	}
	return s
}

// Insert puts an entry into a stage.
func (s *Stack) Insert(to Stage, e Entry, at Position) error {
	return s.change(to, func(list []Entry) ([]Entry, error) { return insert(list, to, e, at) })
}

// Remove takes an entry out of a stage.
func (s *Stack) Remove(from Stage, name string) error {
	return s.change(from, func(list []Entry) ([]Entry, error) {
		i, err := find(list, from, name)
		if err != nil {
			return nil, err
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// Move puts an entry of a stage elsewhere in it. The position is meant in the
// list without the entry.
func (s *Stack) Move(in Stage, name string, to Position) error {
	return s.change(in, func(list []Entry) ([]Entry, error) {
		i, err := find(list, in, name)
		if err != nil {
			return nil, err
		}
		e := list[i]
		return insert(slices.Delete(list, i, i+1), in, e, to)
	})
}

// Replace puts an entry in the place of the one with this name.
func (s *Stack) Replace(in Stage, name string, e Entry) error {
	return s.change(in, func(list []Entry) ([]Entry, error) {
		i, err := find(list, in, name)
		if err != nil {
			return nil, err
		}
		return insert(slices.Delete(list, i, i+1), in, e, At(i))
	})
}

// SetState changes the state of an entry; messages that are under way see it at
// once. The error is also [message.CodeUnimplemented], if the entry has no state
// that can be set, or that of [Stateful.SetState].
func (s *Stack) SetState(in Stage, name string, change json.RawMessage) error {
	st := s.stage(in)
	if st == nil {
		return noStage(in)
	}
	list := *st.entries.Load()
	i, err := find(list, in, name)
	switch {
	case err != nil:
		return err
	case list[i].State == nil:
		return message.NewError(message.CodeUnimplemented, fmt.Sprintf("the middleware %q has no state that can be set", name),
			"`ropewalk middleware list` shows the states that there are; settings are changed by putting it in anew.")
	}
	return list[i].State.SetState(change)
}

func noStage(name Stage) error {
	return message.NewError(message.CodeNotFound, fmt.Sprintf("there is no stage %q", name), fmt.Sprintf("The stages are %v.", Stages()))
}

// List returns all stages in order, also the empty ones.
func (s *Stack) List() []StageInfo {
	out := make([]StageInfo, len(s.stages))
	for i, name := range Stages() {
		list := *s.stages[i].entries.Load()
		out[i] = StageInfo{Stage: name, Entries: make([]EntryInfo, len(list))}
		for j, e := range list {
			out[i].Entries[j] = EntryInfo{Name: e.Name, Kind: e.Kind, Description: e.Description, Settings: e.Settings}
			if e.State != nil {
				out[i].Entries[j].State = e.State.State()
			}
		}
	}
	return out
}

// change replaces the list of a stage by what f makes of a copy of it, and
// builds the chains anew.
func (s *Stack) change(name Stage, f func([]Entry) ([]Entry, error)) error {
	st := s.stage(name)
	if st == nil {
		return noStage(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := f(slices.Clone(*st.entries.Load()))
	if err != nil {
		return err
	}
	next := make([]*built, len(st.chains))
	for i, c := range st.chains {
		if next[i], err = build(list, c.final); err != nil {
			return err
		}
	}
	old := *st.entries.Swap(&list)
	for i, c := range st.chains {
		c.now.Store(next[i])
	}
	retire(old, list)
	return nil
}

// retire tells those entries that are not in the list any more.
func retire(old, list []Entry) {
	for _, e := range old {
		r, ok := e.State.(Retirer)
		if ok && !slices.ContainsFunc(list, func(in Entry) bool { return in.State == e.State }) {
			r.Retire()
		}
	}
}

// stage returns the stage with a name, or nil.
func (s *Stack) stage(name Stage) *stage {
	if i := slices.Index(Stages(), name); i >= 0 {
		return &s.stages[i]
	}
	return nil
}

func find(list []Entry, in Stage, name string) (int, error) {
	i := slices.IndexFunc(list, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return 0, message.NewError(message.CodeNotFound, fmt.Sprintf("stage %s has no middleware %q", in, name),
			"`ropewalk middleware` lists what there is.")
	}
	return i, nil
}

func insert(list []Entry, to Stage, e Entry, at Position) ([]Entry, error) {
	switch {
	case e.Name == "" || e.Middleware == nil:
		return nil, message.NewError(message.CodeInvalidInput, "a middleware needs a name and a function", "Set Entry.Name and Entry.Middleware.")
	case slices.ContainsFunc(list, func(have Entry) bool { return have.Name == e.Name }):
		return nil, message.NewError(message.CodeConflict, fmt.Sprintf("stage %s has a middleware %q already", to, e.Name),
			"Give it another name, or replace the one that is there.")
	}
	if e.Kind == "" {
		e.Kind = e.Name
	}
	i := len(list)
	switch at.where {
	case whereFirst:
		i = 0
	case whereAt:
		i = min(max(at.index, 0), len(list))
	case whereBefore, whereAfter:
		var err error
		if i, err = find(list, to, at.name); err != nil {
			return nil, err
		}
		if at.where == whereAfter {
			i++
		}
	case whereLast:
	}
	return slices.Insert(list, i, e), nil
}
