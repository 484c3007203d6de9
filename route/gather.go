package route

import (
	"bytes"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Answer is what one target of a gather answered.
type Answer struct {
	Server string        // id of the server
	Node   string        // name of its node, if that is another one
	Name   string        // the service
	Path   string        // the path that was called
	Took   time.Duration // from the call to the answer
	// Body is nil for "no body". It is JSON if ContentType is empty.
	Body        []byte
	ContentType string
	// Err is nil for a good answer.
	Err *message.Error
}

// Missing is a target that had not answered when the gather ended.
type Missing struct {
	Server string
	Node   string
	Name   string
	Path   string
}

// Gathered is the result of a gather: the answers in the order in which they
// came, and who did not answer.
type Gathered struct {
	Answers []Answer
	Missing []Missing
	Servers int // that were asked: answers and missing together
}

// Good returns the number of answers that are not errors.
func (g *Gathered) Good() int {
	n := 0
	for i := range g.Answers {
		if g.Answers[i].Err == nil {
			n++
		}
	}
	return n
}

// Gather collects the answers of one gather and knows when it is over:
//
//	NewGather ──► waiting ──► done ──► Result
//
// A gather without targets is done at once. Add leads to done with the answer
// after which no other can change what the caller gets or asked to wait for:
// all have answered; so many are good as First says; more than half agree (and
// Quorum is met); or Quorum or agreement is out of reach. End leads to done at
// any time.
//
// It is a pure state machine, without I/O and without a clock, and not safe for
// concurrent use: whoever owns the call locks. Once it is done it stays so, and
// takes no more answers.
type Gather struct {
	sel      Selection
	targets  []Target
	answered []int // by target: its place in answers, from 1; 0 if there is none
	answers  []Answer
	good     int
	camps    []camp
	largest  int // camp
	done     bool
	reason   *message.Error // of End
}

// camp is the good answers that are the same.
type camp struct {
	answer int // one of them
	count  int
}

// NewGather returns a gather of the answers of targets by a selection. It keeps
// targets. It is done at once if there are none.
func NewGather(sel Selection, targets []Target) *Gather {
	g := &Gather{sel: sel, targets: targets, answered: make([]int, len(targets))}
	g.done = g.over()
	return g
}

// Done reports whether the gather is over.
func (g *Gather) Done() bool { return g.done }

// Add takes the answer of target i and reports whether the gather is over. The
// first answer of each target counts; what comes after the end does not. Server,
// Node, Name and Path are filled in. Add keeps Body, so it must not change any more.
//
// A good answer whose body claims to be JSON and is not becomes an error: put
// into the result as it is, it would break it.
func (g *Gather) Add(i int, a Answer) bool {
	if g.done || i < 0 || i >= len(g.targets) || g.answered[i] != 0 {
		return g.done
	}
	t := &g.targets[i]
	a.Server, a.Node, a.Name, a.Path = t.Endpoint.ID(), t.Node(), t.Name, t.Path
	if a.Err == nil && a.ContentType == "" && a.Body != nil && !message.ValidJSON(a.Body) {
		a.Err = message.NewError(message.CodeInternal, "the server answered with a body that is not JSON",
			"Give other bodies their content type.")
	}
	if a.Err != nil {
		a.Body, a.ContentType = nil, ""
	}
	g.answers = append(g.answers, a)
	g.answered[i] = len(g.answers)
	if a.Err == nil {
		g.good++
		g.side(len(g.answers) - 1)
	}
	g.done = g.over()
	return g.done
}

// side puts a good answer to those that are the same. The same means the same
// bytes and the same content type: 1 and 1.0 differ, and so do objects whose
// fields are in another order.
func (g *Gather) side(i int) {
	if g.sel.By != ByMajority {
		return
	}
	a := &g.answers[i]
	for c := range g.camps {
		have := &g.answers[g.camps[c].answer]
		if a.ContentType == have.ContentType && bytes.Equal(a.Body, have.Body) && (a.Body == nil) == (have.Body == nil) {
			g.camps[c].count++
			g.largest = max(g.largest, g.camps[c].count)
			return
		}
	}
	g.camps = append(g.camps, camp{answer: i, count: 1})
	g.largest = max(g.largest, 1)
}

// over decides whether another answer could still change the outcome that the
// caller asked for.
func (g *Gather) over() bool {
	left := len(g.targets) - len(g.answers)
	switch {
	case left == 0:
		return true
	case g.good+left < g.sel.Quorum:
		return true
	case g.sel.First > 0 && g.good >= g.sel.First:
		return true
	case g.sel.By != ByMajority:
		return false
	}
	return g.enough(g.largest) && g.good >= g.sel.Quorum || !g.enough(g.largest+left)
}

// enough reports whether n are more than half of the servers.
func (g *Gather) enough(n int) bool { return 2*n > len(g.targets) }

// End ends the gather before it is over. A nil reason, and one with
// [message.CodeDeadlineExceeded], mean that time is up: what has come is the
// result. Any other reason is the error of [Gather.Result]. After the end it
// does nothing.
func (g *Gather) End(reason *message.Error) {
	if !g.done && reason != nil && reason.Code != message.CodeDeadlineExceeded {
		g.reason = reason
	}
	g.done = true
}

// AppendAnswer appends the JSON of the answer of target i to dst, and reports
// whether there is one: the body of the part that a gather with parts sends.
func (g *Gather) AppendAnswer(dst []byte, i int) ([]byte, bool) {
	if i < 0 || i >= len(g.answered) || g.answered[i] == 0 {
		return dst, false
	}
	return g.answers[g.answered[i]-1].AppendJSON(dst), true
}

// Waiting returns the numbers of the targets that have not answered: after the
// end those whose calls are to be canceled.
func (g *Gather) Waiting() []int {
	var out []int
	for i, place := range g.answered {
		if place == 0 {
			out = append(out, i)
		}
	}
	return out
}

// Result returns what has been gathered. The error is a *message.Error: the
// reason of [Gather.End]; [message.CodeNoService] if there were no targets;
// [message.CodeNoQuorum] if fewer good answers came than asked for, or no
// majority agreed, with what did come as Details.
func (g *Gather) Result() (Gathered, error) {
	out := Gathered{Answers: g.answers, Servers: len(g.targets)}
	for _, i := range g.Waiting() {
		t := &g.targets[i]
		out.Missing = append(out.Missing, Missing{Server: t.Endpoint.ID(), Node: t.Node(), Name: t.Name, Path: t.Path})
	}
	switch {
	case g.reason != nil:
		return out, g.reason
	case len(g.targets) == 0:
		return out, message.NewError(message.CodeNoService, "nobody serves what was to be gathered", "`ropewalk services` lists what is served.")
	case g.good < g.sel.Quorum:
		return out, noQuorum(&out, fmt.Sprintf("%d good answers of %d servers, %d are needed", g.good, out.Servers, g.sel.Quorum))
	case g.sel.By == ByMajority && !g.enough(g.largest):
		return out, noQuorum(&out, fmt.Sprintf("at most %d of %d servers gave the same answer", g.largest, out.Servers))
	}
	return out, nil
}

func noQuorum(g *Gathered, text string) error {
	err := message.NewError(message.CodeNoQuorum, text, "Give them more time, or ask for fewer; details lists what came.")
	err.Details = g.AppendJSON(nil)
	return err
}
