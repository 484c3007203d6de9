package policy

import (
	"fmt"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// Policy is a compiled configuration. It never changes: any goroutine may use
// it. Make one with [Compile].
type Policy struct {
	preset string
	rules  []*rule
	uses   uses // what conditions of any rule look at
}

// Preset is what holds where no rule matches: "dev", "standard" or "closed".
func (p *Policy) Preset() string { return p.preset }

// rule is a compiled [Rule].
type rule struct {
	name      string
	deny      bool
	verbs     []Verb
	addresses []*pattern
	when      *condition // nil: always
	message   string
	hint      string
}

// covers tells whether the rule is about a verb.
func (r *rule) covers(v Verb) bool {
	for _, mine := range r.verbs {
		if mine.covers(v) {
			return true
		}
	}
	return false
}

// Compile makes a Policy. Its error is the first of those that [Validate]
// returns.
func Compile(c Config) (*Policy, error) {
	p, problems := compileAll(c)
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return p, nil
}

// Validate returns all that is wrong with a configuration, in the order of its
// fields. Each error has CodeInvalidInput, the field in Path, such as
// "rules[3].when", and in its message, and a hint.
func Validate(c Config) []*message.Error {
	_, problems := compileAll(c)
	return problems
}

// compiler collects what is wrong.
type compiler struct {
	names    map[string]string // of rules, to the field that has them
	problems []*message.Error
}

func (c *compiler) add(field string, err error) {
	if err == nil {
		return
	}
	e := *message.AsError(err)
	e.Message, e.Path = field+": "+e.Message, field
	c.problems = append(c.problems, &e)
}

func (c *compiler) wrong(field, text, hint string) { c.add(field, badInput(text, hint)) }

func compileAll(cfg Config) (*Policy, []*message.Error) {
	c := &compiler{names: make(map[string]string)}
	p := &Policy{preset: cfg.Preset}
	switch cfg.Preset {
	case "":
		p.preset = presetStandard
	case presetDev, presetStandard, presetClosed, presetReadOnly, presetEditor, presetAdmin:
	default:
		c.wrong("preset", "there is no preset "+quote(cfg.Preset), `Use "dev", "standard", "closed", "read-only", "editor" or "admin".`)
	}
	if len(cfg.Rules) > MaxRules {
		c.wrong("rules", fmt.Sprintf("there are %d of them; more than %d are not taken", len(cfg.Rules), MaxRules),
			"Make fewer of them, with more addresses and with claims in the addresses.")
		return nil, c.problems
	}
	for i := range cfg.Rules {
		r := c.rule(fmt.Sprintf("rules[%d]", i), &cfg.Rules[i])
		p.rules = append(p.rules, r)
		if r.when != nil {
			p.uses.ip = p.uses.ip || r.when.uses.ip
			p.uses.listener = p.uses.listener || r.when.uses.listener
		}
	}
	c.tests(cfg.Tests)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return p, nil
}

func (c *compiler) rule(at string, from *Rule) *rule {
	r := &rule{name: from.Name, message: from.Message, hint: from.Hint}
	c.name(at, from.Name)
	if r.name == "" {
		r.name = at
	}
	c.text(at+".message", from.Message)
	c.text(at+".hint", from.Hint)
	switch from.Effect {
	case "", "allow":
		if from.Message != "" {
			c.wrong(at+".message", "a rule that allows refuses nobody", "Use hint, which says what is needed, or the effect deny.")
		}
	case "deny":
		r.deny = true
	default:
		c.wrong(at+".effect", "there is no effect "+quote(from.Effect), `Use "allow" or "deny".`)
	}
	if len(from.Verbs) == 0 {
		c.wrong(at+".verbs", "it has no verb", `Name some, such as "serve", or "*" for all.`)
	}
	for i, word := range from.Verbs {
		if group := groups[word]; group != nil {
			r.verbs = append(r.verbs, group...)
			continue
		}
		v, err := parseVerb(word)
		c.add(fmt.Sprintf("%s.verbs[%d]", at, i), err)
		r.verbs = append(r.verbs, v)
	}
	c.addresses(at, r, from.Addresses)
	if from.When != "" {
		var err error
		r.when, err = compile(from.When)
		c.add(at+".when", err)
	}
	return r
}

func (c *compiler) name(at, name string) {
	field := at + ".name"
	c.text(field, name)
	switch {
	case name == "":
	case name == byPreset || strings.HasPrefix(name, "rules["):
		c.wrong(field, quote(name)+" is no name for a rule", "Take another one.")
	case c.names[name] != "":
		c.wrong(field, fmt.Sprintf("%s has the name %s too", c.names[name], quote(name)), "Give each rule a name of its own.")
	}
	c.names[name] = at
}

// text refuses what would be no good in an error or a log.
func (c *compiler) text(field, text string) {
	switch {
	case len(text) > MaxText:
		c.wrong(field, fmt.Sprintf("it is longer than %d bytes", MaxText), "Use a shorter text.")
	case text != printable(text):
		c.wrong(field, "it has characters that are not for one line of text", "Leave out line feeds, tabs and other control characters.")
	}
}

func (c *compiler) addresses(at string, r *rule, list []string) {
	switch {
	case len(list) == 0:
		c.wrong(at+".addresses", "it has no address", `Name some, such as "orders:/**", or "*:/**" for all.`)
	case len(list) > MaxAddresses:
		c.wrong(at+".addresses", fmt.Sprintf("it has %d addresses; more than %d are not taken", len(list), MaxAddresses),
			"Make several rules of it.")
		return
	}
	for i, text := range list {
		p, err := parsePattern(text)
		c.add(fmt.Sprintf("%s.addresses[%d]", at, i), err)
		r.addresses = append(r.addresses, p)
	}
}

func (c *compiler) tests(list []Test) {
	if len(list) > MaxTests {
		c.wrong("tests", fmt.Sprintf("there are %d of them; more than %d are not taken", len(list), MaxTests), "Put them into several files.")
		return
	}
	for i := range list {
		t := &list[i]
		at := fmt.Sprintf("tests[%d]", i)
		if _, err := t.ask(); err != nil {
			c.add(at+"."+err.Path, err)
		}
		if t.Want != wantAllow && t.Want != wantDeny {
			c.wrong(at+".want", quote(t.Want)+" is nothing to want", `Use "allow" or "deny".`)
		}
		if t.Rule != "" && t.Rule != byPreset && c.names[t.Rule] == "" && !strings.HasPrefix(t.Rule, "rules[") {
			c.wrong(at+".rule", "there is no rule "+quote(t.Rule), `Use the name of a rule, or "preset".`)
		}
	}
}
