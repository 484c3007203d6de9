package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Grant is one way in which somebody may, or may not, do something.
type Grant struct {
	// Rule is the name of the rule; "" for the preset.
	Rule string `json:"rule,omitempty"`
	// Preset tells that it is what holds where no rule matches.
	Preset bool `json:"preset,omitempty"`
	// Deny tells that it forbids.
	Deny bool `json:"deny,omitempty"`
	// Needs are the conditions, all of which have to hold, in CEL. None: it is
	// so for everybody.
	Needs []string `json:"needs,omitempty"`
	// Params are the parameters of the address in the rule, if its condition
	// looks at them.
	Params map[string]string `json:"params,omitempty"`
	// Part tells that the rule is about some of the addresses only that the
	// address stands for.
	Part bool `json:"part,omitempty"`
	// Session tells that it depends on who it is.
	Session bool `json:"session,omitempty"`
	// Hint is what the rule tells who is refused.
	Hint string `json:"hint,omitempty"`
}

// need says in a sentence what a session would need. A condition that has the
// text of a secret claim of this very session in it is not shown.
func (g Grant) need(s *session.Session) string {
	switch {
	case g.Hint != "":
		return g.Hint
	case g.Part:
		return fmt.Sprintf("Rule %s allows a part of it.", quote(g.Rule))
	case len(g.Needs) == 0:
		return fmt.Sprintf("Rule %s allows it for an address that is spelled plainly.", quote(g.Rule))
	}
	text := strings.Join(strings.Fields(strings.Join(g.Needs, " && ")), " ")
	for _, v := range s.Secret {
		if v, ok := v.(string); ok && v != "" && strings.Contains(text, v) {
			return fmt.Sprintf("Rule %s allows it on a condition.", quote(g.Rule))
		}
	}
	return fmt.Sprintf("Rule %s allows it if %s.", quote(g.Rule), clip(text))
}

// WhoCan returns which rules would allow or deny a verb on an address, and on
// which conditions: first those that deny, then those that allow, then the
// preset.
func (p *Policy) WhoCan(v Verb, a message.Address) []Grant {
	var deny, allow []Grant
	for _, r := range p.rules {
		if !r.covers(v) {
			continue
		}
		for _, at := range r.addresses {
			g, ok := at.grant(&a)
			if !ok {
				continue
			}
			g.Rule, g.Deny, g.Hint = r.name, r.deny, r.hint
			if r.when != nil {
				g.Needs = append(g.Needs, r.when.text)
				g.Session = g.Session || r.when.uses.session
			}
			if r.when == nil || !r.when.uses.params {
				g.Params = nil
			}
			if r.deny {
				deny = append(deny, g)
			} else {
				allow = append(allow, g)
			}
		}
	}
	preset := Grant{Preset: true, Deny: !p.allows(v)}
	return append(slices.Concat(deny, allow), preset)
}

// grant says what has to be so for a pattern to match an address.
func (p *pattern) grant(a *message.Address) (Grant, bool) {
	w := wish{session: &session.Session{Public: make(session.Claims)}}
	t := &target{Address: *a, session: w.session, path: a.Path, wild: hasWild(a)}
	if p.name.kind > one && !w.set(p.name, a.Name, a.Name == wildOne) {
		return Grant{}, false
	}
	rest := strings.TrimSuffix(a.Path, "/")
	for _, s := range p.path {
		if rest == "" || rest[0] != '/' {
			break
		}
		var seg string
		seg, rest = cutSegment(rest)
		if s.kind > one && !w.set(s, seg, t.wild && isWild(seg)) {
			return Grant{}, false
		}
	}
	for _, s := range p.segments() {
		w.fill(s)
	}
	f := p.match(t)
	return Grant{Needs: w.needs, Session: p.confines(), Part: f == part, Params: p.params(t)}, f != apart
}

// wish is a session in which each claim has the value that a pattern would need.
type wish struct {
	session *session.Session
	needs   []string
}

func (w *wish) value(s segment) string {
	if s.kind == subject {
		return w.session.Subject
	}
	text, _ := w.session.Public[s.text].(string)
	return text
}

func (w *wish) put(s segment, value string) {
	if s.kind == subject {
		w.session.Subject = value
		return
	}
	w.session.Public[s.text] = value
}

// set has a segment stand for a value; a wild one says nothing.
func (w *wish) set(s segment, value string, wild bool) bool {
	have := w.value(s)
	switch {
	case wild || have == value:
		return true
	case have != "" || !fitsSegment(value):
		return false
	}
	w.put(s, value)
	w.needs = append(w.needs, fmt.Sprintf("%s == %q", strings.Trim(s.String(), "{}"), value))
	return true
}

// fill has a segment stand for anything, if it does not stand for something.
func (w *wish) fill(s segment) {
	if s.kind > one && w.value(s) == "" {
		w.put(s, "any")
	}
}
