package policy

import (
	"github.com/ropewalk/ropewalk/session"
)

// Step is what one rule, or at the end the preset, says to an [Ask].
type Step struct {
	// Rule is the name of the rule; "preset" at the end.
	Rule string `json:"rule"`
	// Deny tells that the rule, or the preset, forbids.
	Deny bool `json:"deny,omitempty"`
	// Matched tells whether the rule matches.
	Matched bool `json:"matched"`
	// Decides tells that this is what the decision follows.
	Decides bool `json:"decides,omitempty"`
	// Why says why it does not match, or why it does although its condition
	// could not be worked out. It has no value of a claim.
	Why string `json:"why,omitempty"`
	// When is the condition of the rule.
	When string `json:"when,omitempty"`
}

// Explain tells what each rule says, in the order of the configuration, and
// what decides. It decides as [Guard.Check] does, and remembers nothing.
func (p *Policy) Explain(s *session.Session, ask Ask) []Step {
	if s == nil {
		s = session.Anonymous()
	}
	d := p.Decide(s, ask)
	var room [maxReadings]string
	list, sure := readings(ask.Address.Path, &room)
	steps := make([]Step, 0, len(p.rules)+1)
	for _, r := range p.rules {
		step := Step{Rule: r.name, Deny: r.deny, Decides: d.rule == r}
		if r.when != nil {
			step.When = r.when.text
		}
		step.Matched, step.Why = r.explain(&ask, s, list, sure)
		steps = append(steps, step)
	}
	last := Step{Rule: byPreset, Deny: !sure || !p.allows(ask.Verb), Matched: d.Preset, Decides: d.Preset, Why: d.Why}
	if !d.Preset {
		last.Why = "a rule decides"
	}
	return append(steps, last)
}

func (r *rule) explain(ask *Ask, s *session.Session, readings []string, sure bool) (matched bool, why string) {
	if !r.covers(ask.Verb) {
		return false, "it is not about " + ask.Verb.String()
	}
	a := newAsked(s, ask, readings)
	v, why := r.judge(a, readings)
	switch {
	case v == yes && !r.deny && !sure:
		return false, unsure
	case v == yes:
		return true, ""
	case v == unknown:
		return r.deny, why
	case why != "":
		return false, why
	case r.near(a, readings[0]):
		return false, "its condition does not hold"
	}
	return false, r.far(a, readings[0])
}

// near tells whether one of the rule's addresses matches.
func (r *rule) near(a *asked, path string) bool {
	a.path = path
	for _, p := range r.addresses {
		if p.match(a.target) != apart {
			return true
		}
	}
	return false
}

// far says why none of the rule's addresses matches.
func (r *rule) far(a *asked, path string) string {
	a.path = path
	for _, p := range r.addresses {
		for _, s := range p.segments() {
			if s.kind <= one {
				continue
			}
			if _, state := s.value(a.session); state == missing {
				return "the session has nothing for " + s.String()
			}
		}
	}
	return "its addresses are others"
}
