package policy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// shop are rules as a shop has them.
func shop(t testing.TB) *policy.Policy {
	return compiled(t, "standard",
		rule("tenants", "serve", "shop:/{claims.tenant}/**", ""),
		rule("malls", "serve", "mall:/{claims.mall}/**", ""),
		rule("editors", "publish", "shop:/prices", "'editor' in claims.roles"),
		policy.Rule{Name: "printers", Verbs: []string{"serve"}, Addresses: []string{"print:/**"}, When: "claims.code == 'hunter2'"},
		policy.Rule{Name: "desk", Verbs: []string{"serve"}, Addresses: []string{"desk:/{id}"}, When: "params.id == claims.desk", Hint: "Use the desk that you were given."},
		policy.Rule{Name: "inside", Verbs: []string{"admin"}, Addresses: []string{"*:/**"}, When: "ip.within('10.0.0.0/8')"},
		denying(policy.Rule{Name: "closed", Verbs: []string{"*"}, Addresses: []string{"shop:/night/**"}, Message: "the shop is closed", Hint: "Come back at 8."}),
		denying(rule("blocked", "*", "shop:/**", "claims.blocked == true")),
	)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := shop(t)
	anna := session.New("anna", session.Claims{"tenant": "acme", "blocked": false}, session.Claims{"code": "hunter2x"})
	known := session.New("otto", session.Claims{"blocked": false}, session.Claims{"code": "hunter2"})
	for _, c := range []struct {
		who           *session.Session
		verb          policy.Verb
		address       string
		code          message.Code
		rule, message string
		hint          string
	}{
		{
			anna, policy.Serve, "other:/x", message.CodeForbidden, "preset",
			"may not serve other:/x: no rule allows it", "Ask the owner of the node for a rule that allows it.",
		},
		{
			anna, policy.Serve, "shop:/b/x", message.CodeForbidden, "preset",
			"may not serve shop:/b/x: no rule allows it", `Rule "tenants" allows it if claims.tenant == "b".`,
		},
		{
			nil, policy.Publish, "shop:/prices", message.CodeUnauthenticated, "blocked",
			`may not publish to shop:/prices: rule "blocked" forbids it: its condition needs claims.blocked, which the session does not have`,
			"Log in, and try again.",
		},
		{
			nil, policy.Serve, "print:/x", message.CodeUnauthenticated, "preset",
			"may not serve print:/x: no rule allows it", `Rule "printers" allows it if claims.code == 'hunter2'.`,
		},
		{
			session.New("", nil, session.Claims{"code": "hunter"}), policy.Serve, "print:/x", message.CodeUnauthenticated, "preset",
			"may not serve print:/x: no rule allows it", `Rule "printers" allows it on a condition.`,
		},
		{known, policy.Serve, "desk:/7", message.CodeForbidden, "preset", "may not serve desk:/7: no rule allows it", "Use the desk that you were given."},
		{known, policy.Admin, "node:/drain", message.CodeForbidden, "preset", "may not use node:/drain as admin: no rule allows it", `Rule "inside" allows it if ip.within('10.0.0.0/8').`},
		{known, policy.Call, "shop:/night/x?a=t0ken", message.CodeForbidden, "closed", `may not call shop:/night/x: the shop`, "Come back at 8."},
		{known, policy.Call, "shop:/night/x", message.CodeForbidden, "closed", `may not call shop:/night/x: the shop is closed (rule "closed")`, "Come back at 8."},
		{
			claims(session.Claims{"blocked": true}), policy.Call, "shop:/x", message.CodeForbidden, "blocked",
			`may not call shop:/x: rule "blocked" forbids it`, "Ask the owner of the node, who can change the rule.",
		},
		{known, policy.Serve, "mall:/*/x", message.CodeForbidden, "preset", "no rule allows it", `Rule "malls" allows a part of it.`},
		{known, policy.Session, "a:/x", message.CodeForbidden, "preset", "may not see the sessions of callers at a:/x", "Ask the owner"},
		{known, policy.Broadcast, "client:/", message.CodeForbidden, "preset", "may not broadcast to client:/", "Ask the owner"},
	} {
		a := ask(t, c.verb, c.address)
		d := p.Decide(c.who, a)
		e := d.Error(c.who, a)
		if e == nil {
			t.Errorf("%s %s: %+v", c.verb, c.address, d)
			continue
		}
		var details struct{ Rule, Verb string }
		if err := json.Unmarshal(e.Details, &details); err != nil || details.Rule != c.rule || details.Verb != c.verb.String() {
			t.Errorf("%s %s: details %s, %v", c.verb, c.address, e.Details, err)
		}
		path, _, _ := strings.Cut(c.address, "?")
		if e.Code != c.code || !strings.Contains(e.Message, c.message) || !strings.Contains(e.Hint, c.hint) || e.Path != path {
			t.Errorf("%s %s: %s, %q, %q, %q", c.verb, c.address, e.Code, e.Message, e.Hint, e.Path)
		}
	}
	if e := (policy.Decision{Allowed: true}).Error(nil, policy.Ask{}); e != nil {
		t.Error(e)
	}
	if e := (policy.Decision{}).Error(nil, policy.Ask{}); e.Code != message.CodeForbidden || e.Hint == "" {
		t.Error(e)
	}
}

// TestOddAddressInRefusal has somebody put into an address what is not for a log.
func TestOddAddressInRefusal(t *testing.T) {
	t.Parallel()
	a, err := message.ParseAddress("shop:/x\nlevel=error msg=\x1b[31m\u202e\xff" + strings.Repeat("y", 500))
	if err != nil {
		t.Fatal(err)
	}
	ask := policy.Ask{Verb: policy.Serve, Address: a}
	e := shop(t).Decide(claims(nil), ask).Error(nil, ask)
	for _, text := range []string{e.Message, e.Path, e.Hint, string(e.Details)} {
		if strings.ContainsAny(text, "\n\x1b\u202e") || !utf8.ValidString(text) || len(text) > 300 {
			t.Errorf("%q", text)
		}
	}
}

// TestNoSecrets looks for the values of secret claims in what is told.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	s := session.New("anna", nil, session.Claims{"a": secret, "b": []any{secret}, "c": map[string]any{secret: secret}})
	for _, when := range []string{
		"int(claims.a) == 1", "claims[claims.a] == 1", "claims.c[claims.a].x == 1", "timestamp(claims.a) > timestamp(0)", "claims.a > 1",
		"duration(claims.a) == duration('1s')", "claims.a.nothing == 1", "bool(claims.a)", "claims.a + 1 == 2", "claims.b[7] == 1",
		"claims.a == '" + secret + "x'", "claims.b[0] != '" + secret + "'",
	} {
		p := compiled(t, "closed", rule("r", "call", "a:/{claims.a}", when), rule("s", "call", "a:/**", when), denying(rule("d", "call", "a:/deny", when)))
		for _, address := range []string{"a:/x", "a:/deny"} {
			a := ask(t, policy.Call, address)
			d := p.Decide(s, a)
			told := fmt.Sprintf("%+v", d.Error(s, a))
			for _, step := range p.Explain(s, a) {
				told += step.Why
			}
			if strings.Contains(told, secret) {
				t.Errorf("%s: %s", when, told)
			}
		}
	}
}

func TestWhoCan(t *testing.T) {
	t.Parallel()
	p := shop(t)
	for _, c := range []struct {
		verb    policy.Verb
		address string
		want    []string
	}{
		{policy.Serve, "shop:/acme/x", []string{"deny blocked [claims.blocked == true]", `allow tenants [claims.tenant == "acme"]`, "deny preset []"}},
		{policy.Serve, "shop:/night/x", []string{
			"deny closed []", "deny blocked [claims.blocked == true]", `allow tenants [claims.tenant == "night"]`, "deny preset []",
		}},
		{policy.Serve, "shop:/*/x", []string{"deny closed [] part", "deny blocked [claims.blocked == true]", "allow tenants [] part", "deny preset []"}},
		{policy.Serve, "desk:/7", []string{"allow desk [params.id == claims.desk] map[id:7]", "deny preset []"}},
		{policy.Call, "x:/", []string{"allow preset []"}},
	} {
		a, err := message.ParseStrict(c.address)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range p.WhoCan(c.verb, a) {
			effect, name := "allow", g.Rule
			if g.Deny {
				effect = "deny"
			}
			if g.Preset {
				name = "preset"
			}
			line := fmt.Sprintf("%s %s %v", effect, name, g.Needs)
			if g.Part {
				line += " part"
			}
			if len(g.Params) > 0 && len(g.Needs) > 0 && strings.Contains(g.Needs[0], "params") {
				line += fmt.Sprintf(" %v", g.Params)
			}
			got = append(got, line)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s:\n%s", c.verb, c.address, strings.Join(got, "\n"))
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	p := shop(t)
	want := map[string]string{
		"tenants": "the session has nothing for {claims.tenant}", "editors": "it is not about serve", "printers": "its addresses are others",
		"desk": "its addresses are others", "malls": "the session has nothing for {claims.mall}", "inside": "it is not about serve", "closed": "its addresses are others", "blocked": "its condition does not hold", "preset": "",
	}
	steps := p.Explain(claims(session.Claims{"blocked": false}), ask(t, policy.Serve, "shop:/acme/x"))
	if len(steps) != len(want) {
		t.Fatal(steps)
	}
	for _, s := range steps {
		if s.Why != want[s.Rule] || s.Matched != (s.Rule == "preset") || s.Decides != s.Matched {
			t.Errorf("%+v", s)
		}
	}
	steps = p.Explain(nil, ask(t, policy.Serve, "shop:/acme/x"))
	if b := steps[7]; !b.Matched || !b.Decides || !b.Deny || !strings.Contains(b.Why, "claims.blocked") || b.When != "claims.blocked == true" {
		t.Errorf("%+v", b)
	}
	steps = p.Explain(nil, ask(t, policy.Call, "tea:/%2e%2e/x"))
	if last := steps[len(steps)-1]; !last.Decides || !last.Deny || last.Why == "" {
		t.Errorf("%+v", last)
	}
	steps = compiled(t, "", rule("r", "serve", "a:/*", "")).Explain(nil, ask(t, policy.Serve, "a:/x%2fy"))
	if !strings.Contains(steps[0].Why, "decodes") {
		t.Errorf("%+v", steps[0])
	}
	steps = compiled(t, "", rule("r", "serve", "a:/x", "")).Explain(nil, ask(t, policy.Serve, "a:/*"))
	if !strings.Contains(steps[0].Why, "stands for several") {
		t.Errorf("%+v", steps[0])
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	acme := policy.Who{Subject: "anna", Public: session.Claims{"tenant": "acme", "blocked": false}}
	inside := policy.Who{IP: "10.1.2.3", Listener: "main"}
	results := shop(t).Test([]policy.Test{
		{Verb: "serve", Address: "shop:/acme/x", Session: acme, Want: "allow", Rule: "tenants"},
		{Verb: "serve", Address: "shop:/b/x", Session: acme, Want: "deny", Rule: "preset"},
		{Name: "from inside", Verb: "admin", Address: "node:/drain", Session: inside, Want: "allow"},
		{Verb: "serve", Address: "shop:/b/x", Session: acme, Want: "allow"},
		{Verb: "serve", Address: "shop:/acme/x", Session: acme, Want: "allow", Rule: "editors"},
		{Verb: "call", Address: "shop:/x", Want: "allow"},
		{Verb: "run", Address: "shop:/x", Want: "allow"},
	})
	for i, want := range []string{
		"anna may serve shop:/acme/x true ", "anna may not serve shop:/b/x true ", "from inside true ",
		"anna may serve shop:/b/x false want allow, got deny by the preset",
		`anna may serve shop:/acme/x false allow by rule "tenants", want it by rule "editors"`,
		`anybody may call shop:/x false want allow, got deny by rule "blocked": its condition needs claims.blocked, which the session does not have`,
		`anybody may run shop:/x false there is no verb "run"`,
	} {
		if got := fmt.Sprintf("%s %v %s", results[i].Name, results[i].Passed, results[i].Why); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, v := range policy.Verbs() {
		b, err := json.Marshal(v)
		var again policy.Verb
		if err != nil || json.Unmarshal(b, &again) != nil || again != v {
			t.Errorf("%s: %s, %v", v, b, err)
		}
	}
	for _, word := range []string{"", "*", "run", "Call"} {
		if v, err := policy.ParseVerb(word); err == nil || v != 0 {
			t.Errorf("%q: %v", word, v)
		}
	}
	if policy.Verb(99).String() != "" {
		t.Error(policy.Verb(99))
	}
}
