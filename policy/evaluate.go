package policy

import (
	"maps"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// verdict is what a condition says.
type verdict uint8

const (
	no verdict = iota
	yes
	unknown // it cannot be worked out
)

// asked are the variables of a condition: one ask, in one reading, with the
// parameters of one pattern.
type asked struct {
	*target

	ask    *Ask
	params map[string]string
	claims map[string]any // made when it is needed
}

// newAsked returns the variables of an ask whose path can be read in some ways.
func newAsked(s *session.Session, ask *Ask, readings []string) *asked {
	t := &target{Address: ask.Address, session: s, path: ask.Address.Path, wild: hasWild(&ask.Address)}
	for _, path := range readings[1:] {
		t.wild = t.wild || hasWild(&message.Address{Path: path})
	}
	return &asked{ask: ask, target: t}
}

// ResolveName implements cel.Activation.
func (a *asked) ResolveName(name string) (any, bool) {
	switch name {
	case "claims":
		if a.claims == nil {
			a.claims = allClaims(a.session)
		}
		return a.claims, true
	case "params":
		if a.params == nil {
			a.params = make(map[string]string)
		}
		return a.params, true
	case "session.authenticated":
		return a.session.Authenticated(), true
	}
	s, ok := a.text(name)
	return s, ok
}

func (a *asked) text(name string) (string, bool) {
	switch name {
	case "session.subject":
		return a.session.Subject, true
	case "session.id":
		return a.session.ID, true
	case "session.issuer":
		return a.session.Issuer, true
	case "verb":
		return a.ask.Verb.String(), true
	case "address.name":
		return a.Name, true
	case "address.path":
		return a.path, true
	case "address.method":
		return strings.ToLower(a.Method), true
	case "address.instance":
		return a.Instance, true
	case "listener":
		return a.ask.Listener, true
	case "ip":
		return a.ask.IP, true
	}
	return "", false
}

// Parent implements cel.Activation.
func (*asked) Parent() cel.Activation { return nil }

// allClaims are the public and the secret ones, as [session.Session.Claim]
// finds them.
func allClaims(s *session.Session) map[string]any {
	all := make(map[string]any, len(s.Public)+len(s.Secret))
	maps.Copy(all, s.Secret)
	maps.Copy(all, s.Public)
	return all
}

// holds works the condition out. The text says why it could not; it has no
// value of any claim.
func (c *condition) holds(a *asked) (verdict, string) {
	if c == nil {
		return yes, ""
	}
	if c.uses.address && a.wild {
		return unknown, "its condition depends on which of the addresses it is"
	}
	out, _, err := c.program.Eval(a)
	if err != nil {
		return unknown, c.why(a, err)
	}
	switch out {
	case types.True:
		return yes, ""
	case types.False:
		return no, ""
	}
	return unknown, "its condition gives neither true nor false"
}

// why says in our words why a condition could not be worked out: those of the
// library may have values in them.
func (c *condition) why(a *asked, err error) string {
	var lacking []string
	for _, name := range c.uses.claims {
		if _, ok := a.session.Claim(name); !ok {
			lacking = append(lacking, "claims."+name)
		}
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "no such key") && len(lacking) > 0:
		return "its condition needs " + strings.Join(lacking, " and ") + ", which the session does not have"
	case strings.Contains(text, "no such key"):
		return "its condition needs something that the session does not have"
	case strings.Contains(text, "cost limit"):
		return "its condition took too long"
	case strings.Contains(text, "no such overload"):
		return "its condition expects a claim of another type"
	}
	return "its condition could not be worked out"
}

var _ interpreter.Activation = (*asked)(nil)
