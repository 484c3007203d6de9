package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Ask is what somebody wants to do.
type Ask struct {
	// Verb is what.
	Verb Verb
	// Address is where. Its query and its sub id do not matter. The texts in it
	// are not kept.
	Address message.Address
	// Listener is the name of the listener that it came in by, "" if by none.
	Listener string
	// IP is where it comes from, without a port; "" if nobody knows.
	IP string
}

// unsure is why an address is refused whatever the rules are.
const unsure = "its path can be read as one with . or .. in it, or is encoded too often"

// byPreset is how a test calls a decision that no rule made.
const byPreset = "preset"

// Decision is the answer to an [Ask]. The zero Decision is a refusal by nobody.
type Decision struct {
	// Allowed tells whether it may be done.
	Allowed bool `json:"allowed"`
	// Preset tells that no rule matches, so that the preset decided.
	Preset bool `json:"preset,omitempty"`
	// Rule is the name of the rule that decided, "" if that was the preset.
	Rule string `json:"rule,omitempty"`
	// Why says what is remarkable about it: a condition that could not be worked
	// out, an address that stands for several. It has no value of a claim.
	Why string `json:"why,omitempty"`

	policy *Policy
	rule   *rule
	advice *atomic.Pointer[advice] // of a refusal that is kept; nil: it is worked out each time
}

// advice is what would help who is refused. To find it takes a look at all rules.
type advice struct {
	code message.Code
	hint string
}

// By is the name of the rule that decided, or "preset".
func (d Decision) By() string {
	if d.Preset {
		return byPreset
	}
	return d.Rule
}

// allows tells whether the preset allows a verb.
func (p *Policy) allows(v Verb) bool {
	switch p.preset {
	case presetDev, presetAdmin:
		return v != 0
	case presetStandard:
		return v == Call || v == Send || v == Watch
	default: // closed has no group
		return slices.Contains(groups[p.preset], v)
	}
}

// Decide works out who may do what, without a [Guard]: it remembers nothing.
func (p *Policy) Decide(s *session.Session, ask Ask) Decision {
	if s == nil {
		s = session.Anonymous()
	}
	var room [maxReadings]string
	list, sure := readings(ask.Address.Path, &room)
	a := newAsked(s, &ask, list)
	var allowing *rule
	for _, r := range p.rules {
		if !r.covers(ask.Verb) || !r.deny && allowing != nil {
			continue
		}
		v, why := r.judge(a, list)
		switch {
		case r.deny && v != no:
			return Decision{Rule: r.name, Why: why, policy: p, rule: r}
		case !r.deny && v == yes && sure:
			allowing = r
		}
	}
	switch {
	case allowing != nil:
		return Decision{Allowed: true, Rule: allowing.name, policy: p, rule: allowing}
	case !sure:
		return Decision{Preset: true, Why: unsure, policy: p}
	}
	return Decision{Allowed: p.allows(ask.Verb), Preset: true, policy: p}
}

// judge tells whether a rule matches. One that allows has to match each reading
// of the address, one that denies any.
func (r *rule) judge(a *asked, readings []string) (v verdict, why string) {
	for i, path := range readings {
		a.path = path
		got, text := r.judgeReading(a)
		switch {
		case r.deny && got == yes:
			return yes, ""
		case r.deny && got == unknown:
			v, why = unknown, text
		case r.deny:
		case got != yes:
			if i > 0 && text == "" {
				text = "somebody who decodes the address reads it otherwise"
			}
			return got, text
		default:
			v = yes
		}
	}
	return v, why
}

// judgeReading tells whether a rule matches an address in one reading: the best
// of what its addresses give.
func (r *rule) judgeReading(a *asked) (v verdict, why string) {
	for _, p := range r.addresses {
		f := p.match(a.target)
		if f == apart {
			continue
		}
		a.params = p.params(a.target)
		got, text := r.when.holds(a)
		switch {
		case got == yes && f == whole:
			return yes, ""
		case got == yes:
			v, why = unknown, p.partly(a)
		case got == unknown:
			v, why = unknown, text
		}
	}
	return v, why
}

// partly says why a pattern matches an address in part.
func (p *pattern) partly(a *asked) string {
	for _, s := range p.segments() {
		if s.kind > one {
			if _, state := s.value(a.session); state == unusable {
				return s.String() + " is nothing that can stand in an address"
			}
		}
	}
	return "the address stands for several, and the rule is about some of them"
}

// Error makes the refusal of a decision that allowed nothing, for whoever asked:
// CodeUnauthenticated if it is not known who that is and a session could help,
// else CodeForbidden. It names the rule and what is needed, and has no value of
// a secret claim. It is nil if d allows.
func (d Decision) Error(s *session.Session, ask Ask) *message.Error {
	if d.Allowed {
		return nil
	}
	if s == nil {
		s = session.Anonymous()
	}
	code, hint := d.advise(s, ask)
	to := ask.Address
	to.Query = "" // people put tokens there, and errors get into logs
	address := clip(to.String())
	e := message.NewError(code, "may not "+ask.Verb.phrase(address)+": "+d.reason(), hint)
	e.Path = address
	e.Details, _ = json.Marshal(map[string]string{"rule": d.By(), "verb": ask.Verb.String()}) //nolint:errchkjson // texts
	return e
}

func (d Decision) reason() string {
	switch {
	case d.rule == nil && d.Why != "":
		return d.Why
	case d.rule == nil:
		return "no rule allows it"
	case d.rule.message != "":
		return fmt.Sprintf("%s (rule %s)", d.rule.message, quote(d.Rule))
	case d.Why != "":
		return fmt.Sprintf("rule %s forbids it: %s", quote(d.Rule), d.Why)
	}
	return fmt.Sprintf("rule %s forbids it", quote(d.Rule))
}

// advise is needed, once for a decision that is kept: who is refused may ask again
// and again.
func (d Decision) advise(s *session.Session, ask Ask) (code message.Code, hint string) {
	if d.advice == nil {
		return d.needed(s, ask)
	}
	if known := d.advice.Load(); known != nil {
		return known.code, known.hint
	}
	code, hint = d.needed(s, ask)
	d.advice.Store(&advice{code, strings.Clone(hint)})
	return code, hint
}

// maxNeeds is how many rules a hint names.
const maxNeeds = 3

// needed says what would help, and whether that is to log in.
func (d Decision) needed(s *session.Session, ask Ask) (code message.Code, hint string) {
	code = message.CodeForbidden
	if d.policy == nil {
		return code, "Ask the owner of the node for the permission."
	}
	if d.Preset && d.Why != "" {
		return code, "Write the path plainly, without escapes that nobody needs."
	}
	var needs []string
	could, login := d.policy.allows(ask.Verb), false
	for _, g := range d.policy.WhoCan(ask.Verb, ask.Address) {
		if g.Deny || g.Preset {
			continue
		}
		could, login = true, login || g.Session
		if len(needs) < maxNeeds {
			needs = append(needs, g.need(s))
		}
	}
	if d.rule != nil {
		login = could && d.rule.ofSession()
	}
	if login && !s.Authenticated() {
		code = message.CodeUnauthenticated
	}
	switch {
	case d.rule != nil && d.rule.hint != "":
		return code, d.rule.hint
	case d.rule != nil && code == message.CodeUnauthenticated:
		return code, "Log in, and try again."
	case d.rule != nil:
		return code, "Ask the owner of the node, who can change the rule."
	case len(needs) == 0:
		return code, "Ask the owner of the node for a rule that allows it."
	}
	return code, strings.Join(needs, " ")
}

// ofSession tells whether what a rule says depends on who it is.
func (r *rule) ofSession() bool {
	if r.when != nil && r.when.uses.session {
		return true
	}
	for _, p := range r.addresses {
		if p.confines() {
			return true
		}
	}
	return false
}
