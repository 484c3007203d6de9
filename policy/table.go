package policy

import (
	"fmt"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// What a test can want.
const (
	wantAllow = "allow"
	wantDeny  = "deny"
)

// Result is what came of a [Test].
type Result struct {
	// Name is that of the test, or what it asks.
	Name string `json:"name"`
	// Passed tells whether the decision is what the test wants.
	Passed bool `json:"passed"`
	// Decision is what was decided.
	Decision Decision `json:"decision"`
	// Why says what is wrong, if the test did not pass.
	Why string `json:"why,omitempty"`
}

// ask is what a test asks. Its error has CodeInvalidInput, and the field in
// Path.
func (t *Test) ask() (Ask, *message.Error) {
	v, err := ParseVerb(t.Verb)
	if err != nil {
		return Ask{}, in("verb", err)
	}
	a, err := message.ParseStrict(t.Address)
	if err != nil {
		e := message.AsError(err)
		return Ask{}, in("address", badInput(quote(t.Address)+" is no address: "+e.Message, e.Hint))
	}
	if err := t.Session.session().Check(); err != nil {
		return Ask{}, in("session", err)
	}
	return Ask{Verb: v, Address: a, Listener: t.Session.Listener, IP: t.Session.IP}, nil
}

// in says in which field an error is.
func in(field string, err error) *message.Error {
	e := *message.AsError(err)
	e.Path = field
	return &e
}

// Test tries a table of cases.
func (p *Policy) Test(tests []Test) []Result {
	results := make([]Result, len(tests))
	for i := range tests {
		results[i] = p.try(&tests[i])
	}
	return results
}

func (p *Policy) try(t *Test) Result {
	r := Result{Name: t.Name}
	if r.Name == "" {
		r.Name = t.title()
	}
	ask, err := t.ask()
	if err != nil {
		r.Why = err.Message
		return r
	}
	d := p.Decide(t.Session.session(), ask)
	r.Decision = d
	got, by := wantDeny, d.By()
	if d.Allowed {
		got = wantAllow
	}
	switch {
	case got != t.Want:
		r.Why = fmt.Sprintf("want %s, got %s by %s", t.Want, got, name(by))
		if d.Why != "" {
			r.Why += ": " + d.Why
		}
	case t.Rule != "" && t.Rule != by:
		r.Why = fmt.Sprintf("%s by %s, want it by %s", got, name(by), name(t.Rule))
	default:
		r.Passed = true
	}
	return r
}

// name is what a decision is made by, in a sentence.
func name(by string) string {
	if by == byPreset {
		return "the preset"
	}
	return "rule " + quote(by)
}

// title is what a test asks, in a few words.
func (t *Test) title() string {
	who, may := "anybody", "may"
	if t.Session.Subject != "" {
		who = t.Session.Subject
	}
	if t.Want == wantDeny {
		may = "may not"
	}
	return strings.Join([]string{clip(who), may, t.Verb, clip(t.Address)}, " ")
}
