package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// policyCmd is about who may do what.
type policyCmd struct {
	Test    policyTestCmd    `cmd:"" help:"Try a table of cases: who may do what, and who may not."`
	WhoCan  policyWhoCanCmd  `cmd:"" help:"List the rules that allow or deny something, and on which conditions."`
	Explain policyExplainCmd `cmd:"" help:"Tell what each rule says to what somebody wants to do."`
}

// Help is printed below the flags.
func (*policyCmd) Help() string {
	return `The rules are those of the configuration that --config names, else the preset "standard" without rules; no node is asked.

Examples:

  ropewalk policy test --config ropewalk.jsonc
  ropewalk policy who-can serve shop:/acme/orders --config ropewalk.jsonc
  ropewalk policy explain serve shop:/acme/orders --subject anna --claim tenant=acme --config ropewalk.jsonc`
}

// permissionFlags say whose rules they are.
type permissionFlags struct {
	configFlag
	Preset string `placeholder:"NAME" help:"What holds where no rule matches, in place of what the file says: dev, standard, read-only, editor, admin or closed."`
}

// load compiles the rules of the file, with the tests of another one if there is
// one.
func (f *permissionFlags) load(w *world, tests string) (*policy.Policy, *standard.Config, error) {
	var cfg standard.Config
	report, err := f.source(w).Read(&cfg)
	if err != nil {
		return nil, nil, err
	}
	if f.Preset != "" {
		cfg.Permissions.Preset = f.Preset
		report.Set("permissions.preset", "--preset")
	}
	if err := checkPermissions(&cfg, report); err != nil {
		return nil, nil, err
	}
	if tests != "" {
		var table struct {
			Tests []policy.Test `json:"tests"`
		}
		if report, err = (config.Source{Path: tests}).Read(&table); err != nil {
			return nil, nil, err
		}
		cfg.Permissions.Tests = table.Tests
		c := &checker{cfg: &cfg, report: report}
		c.policy("")
		if len(c.list) > 0 {
			return nil, nil, &config.Error{Problems: c.list}
		}
	}
	p, err := policy.Compile(cfg.Permissions)
	return p, &cfg, err
}

func checkPermissions(cfg *standard.Config, report *config.Report) error {
	c := &checker{cfg: cfg, report: report}
	c.policy("permissions.")
	if len(c.list) == 0 {
		return nil
	}
	return &config.Error{Problems: c.list}
}

// policy notes what is wrong with the rules, whose fields begin with prefix.
func (c *checker) policy(prefix string) {
	for _, e := range policy.Validate(c.cfg.Permissions) {
		c.add(prefix+e.Path, strings.TrimPrefix(e.Message, e.Path+": "), e.Hint)
	}
}

type policyTestCmd struct {
	permissionFlags
	File string `arg:"" optional:"" help:"A file with the table. Default: that of the configuration, permissions.tests."`
}

// Help is printed below the flags.
func (*policyTestCmd) Help() string {
	return `The table is a list of cases:

  {"tests": [
    {"verb": "serve", "address": "shop:/acme/x", "session": {"subject": "anna", "public": {"tenant": "acme"}}, "want": "allow"},
    {"verb": "serve", "address": "shop:/acme/x", "want": "deny", "rule": "preset"},
  ]}

A session may have subject, issuer, public and secret claims, listener and ip; without one it is somebody about whom nothing
is known. With rule, that rule has to be the one that decides. The exit code is 1 if a case does not come out as wanted.`
}

// Run tries the table.
func (c *policyTestCmd) Run(w *world) error {
	p, cfg, err := c.load(w, c.File)
	if err != nil {
		return err
	}
	if len(cfg.Permissions.Tests) == 0 {
		return usage("there are no cases to try", `Put some into permissions.tests of the configuration, or name a file; see "ropewalk policy test --help".`)
	}
	results := p.Test(cfg.Permissions.Tests)
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	if w.json {
		err = w.line(map[string]any{"passed": len(results) - failed, "failed": failed, "results": results})
	} else {
		err = printResults(w, results, failed)
	}
	if err != nil || failed == 0 {
		return err
	}
	return fail(exitFailed, nil)
}

func printResults(w *world, results []policy.Result, failed int) error {
	for _, r := range results {
		word, because := w.paint(green, "ok  "), "  ("+by(r.Decision)+")"
		if !r.Passed {
			word, because = w.paint(red, "FAIL"), ": "+r.Why
		}
		if err := w.printf("%s  %s%s\n", word, oneLine(r.Name), oneLine(because)); err != nil {
			return err
		}
	}
	if failed > 0 {
		return w.printf("\n%d of %d cases failed\n", failed, len(results))
	}
	return w.printf("\n%d cases passed\n", len(results))
}

// by tells what decided.
func by(d policy.Decision) string {
	if d.Preset {
		return "preset"
	}
	return "rule " + d.Rule
}

// askFlags are what is wanted.
type askFlags struct {
	Verb    string `arg:"" help:"What: call, send, serve, broadcast, watch, publish, code, admin or session."`
	Address string `arg:"" help:"Where, such as shop:/orders/7."`
}

func (f *askFlags) ask() (policy.Ask, error) {
	v, err := policy.ParseVerb(f.Verb)
	if err != nil {
		e := message.AsError(err)
		return policy.Ask{}, usage(e.Message, e.Hint)
	}
	a, err := message.ParseStrict(f.Address)
	if err != nil {
		return policy.Ask{}, fail(exitUsage, err)
	}
	return policy.Ask{Verb: v, Address: a}, nil
}

type policyWhoCanCmd struct {
	permissionFlags
	askFlags
}

// Run lists.
func (c *policyWhoCanCmd) Run(w *world) error {
	ask, err := c.ask()
	if err != nil {
		return err
	}
	p, _, err := c.load(w, "")
	if err != nil {
		return err
	}
	grants := p.WhoCan(ask.Verb, ask.Address)
	if w.json {
		return w.line(grants)
	}
	t := newTable("EFFECT", "RULE", "WHO")
	for _, g := range grants {
		name, effect := g.Rule, "allow"
		if g.Deny {
			effect = "deny"
		}
		if g.Preset {
			name = "preset " + p.Preset()
		}
		t.add(effect, name, whoOf(g, len(grants)))
	}
	return t.print(w)
}

// whoOf says for whom a rule is.
func whoOf(g policy.Grant, of int) string {
	text := "everybody"
	switch {
	case g.Preset && of > 1:
		text = "everybody else"
	case len(g.Needs) > 0:
		text = "if " + strings.Join(g.Needs, " && ")
	}
	params := make([]string, 0, len(g.Params))
	for _, name := range slices.Sorted(maps.Keys(g.Params)) {
		params = append(params, fmt.Sprintf("params[%q] = %q", name, g.Params[name]))
	}
	if len(params) > 0 {
		text += ", with " + strings.Join(params, ", ")
	}
	if g.Part {
		text += ", for a part of it"
	}
	return text
}

type policyExplainCmd struct {
	permissionFlags
	askFlags

	Subject  string            `placeholder:"NAME" help:"Who it is. Default: not authenticated."`
	Issuer   string            `placeholder:"URL" help:"Who says so. Default: this mesh."`
	Claim    map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"A public claim: JSON, or else a text; may be given more than once."`
	Secret   map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"A secret claim; may be given more than once."`
	Listener string            `placeholder:"NAME" help:"The listener that it comes in by."`
	IP       string            `name:"ip" placeholder:"ADDRESS" help:"Where it comes from."`
}

// Help is printed below the flags.
func (*policyExplainCmd) Help() string {
	return `The exit code is 1 if it is denied. Examples:

  ropewalk policy explain serve shop:/acme/orders --subject anna --claim tenant=acme
  ropewalk policy explain publish shop:/prices --claim 'roles=["editor"]' --ip 10.1.2.3`
}

// Run explains. A refusal is an error.
func (c *policyExplainCmd) Run(w *world) error {
	ask, err := c.ask()
	if err != nil {
		return err
	}
	ask.Listener, ask.IP = c.Listener, c.IP
	s, err := c.session()
	if err != nil {
		return err
	}
	p, _, err := c.load(w, "")
	if err != nil {
		return err
	}
	d, steps := p.Decide(s, ask), p.Explain(s, ask)
	var refusal error
	if e := d.Error(s, ask); e != nil {
		refusal = e
	}
	if w.json {
		if err := w.line(map[string]any{"allowed": d.Allowed, "by": d.By(), "steps": steps}); err != nil {
			return err
		}
		return refusal
	}
	t := newTable("RULE", "SAYS", "CONDITION", "WHY")
	for _, step := range steps {
		t.add(stepRow(p, &step)...)
	}
	if err := t.print(w); err != nil {
		return err
	}
	if refusal != nil {
		return refusal
	}
	return w.printf("\nallowed by %s\n", printable(by(d)))
}

func stepRow(p *policy.Policy, step *policy.Step) []string {
	name, says := step.Rule, "-"
	if step.Matched {
		says = "allow"
	}
	if step.Matched && step.Deny {
		says = "deny"
	}
	if step.Decides {
		says += " *"
	}
	if name == "preset" {
		name += " " + p.Preset()
	}
	return []string{name, says, orDash(step.When), step.Why}
}

// session is who wants it.
func (c *policyExplainCmd) session() (*session.Session, error) {
	if c.Subject == "" && len(c.Claim)+len(c.Secret) == 0 {
		return session.Anonymous(), nil
	}
	s := session.New(c.Subject, claimsOf(c.Claim), claimsOf(c.Secret))
	s.Issuer = c.Issuer
	if err := s.Check(); err != nil {
		return nil, fail(exitUsage, err)
	}
	return s, nil
}

// claimsOf reads claims: what is JSON is that, and all else a text.
func claimsOf(given map[string]string) session.Claims {
	claims := make(session.Claims, len(given))
	for name, text := range given {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			v = text
		}
		claims[name] = v
	}
	return claims
}
