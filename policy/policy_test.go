package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// compiled is a policy of some rules.
func compiled(t testing.TB, preset string, rules ...policy.Rule) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(policy.Config{Preset: preset, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rule allows a verb on an address on a condition.
func rule(name, verb, address, when string) policy.Rule {
	return policy.Rule{Name: name, Verbs: []string{verb}, Addresses: []string{address}, When: when}
}

func denying(r policy.Rule) policy.Rule {
	r.Effect = "deny"
	return r
}

func ask(t testing.TB, v policy.Verb, address string) policy.Ask {
	t.Helper()
	a, err := message.ParseStrict(address)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Ask{Verb: v, Address: a}
}

// claims is somebody with public claims.
func claims(c session.Claims) *session.Session { return session.New("anna", c, nil) }

func TestPresets(t *testing.T) {
	t.Parallel()
	for preset, allowed := range map[string]string{
		"read-only": "watch", "editor": "call send watch publish",
		"admin": "call send serve broadcast watch publish code admin session",
		"dev":   "call send serve broadcast watch publish code admin session", "standard": "call send watch", "": "call send watch", "closed": "",
	} {
		p := compiled(t, preset)
		for _, v := range policy.Verbs() {
			d := p.Decide(nil, ask(t, v, "a:/b"))
			want := strings.Contains(" "+allowed+" ", " "+v.String()+" ")
			if d.Allowed != want || !d.Preset || d.Rule != "" || d.By() != "preset" {
				t.Errorf("%q %s: %+v", preset, v, d)
			}
		}
		if p.Decide(nil, ask(t, 0, "a:/b")).Allowed {
			t.Errorf("%q allows no verb", preset)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	const every = "*"
	anna := session.New("anna", session.Claims{
		"tenant": "acme", "n": 7.0, "empty": "", "up": "..", "dot": ".", "slash": "a/b", "star": "*", "rest": "**",
		"param": "{x}", "percent": "a%2fb", "node": "node", "shop": "shop", "list": []any{"acme"},
	}, session.Claims{"room": "7"})
	for _, c := range []struct {
		pattern, address string
		want             bool
	}{
		{"orders:/x", "orders:/x", true},
		{"orders:/x", "orders:/x/", true},
		{"orders:/x", "i-7@orders:[get]/x?q=1", true},
		{"orders:/x", "orders:/X", false},
		{"orders:/x", "Orders:/x", false},
		{"orders:/x", "orders:/x/y", false},
		{"orders:/x", "orders:/", false},
		{"orders:/", "orders:/", true},
		{"orders:/*", "orders:/x", true},
		{"orders:/*", "orders:/", false},
		{"orders:/{id}/lines", "orders:/7/lines", true},
		{"orders:/{id}/lines", "orders:/7/8/lines", false},
		{"orders:/**", "orders:/", true},
		{"orders:/a/**", "orders:/a", true},
		{"orders:/a/**", "orders:/a/b/c", true},
		{"orders:/a/**", "orders:/ab", false},
		{"*:/**", "orders:/a", true},
		{"*:/x", "node:/x", true},
		{"*:/x", "node:/y", false},
		// Claims.
		{"https:/a.example:8080/**", "https:/a.example:8080/x", true},
		{"https://a.example:8080/**", "https://a.example:8080/x", true},
		{"https://a.example:8080/**", "https://a.example/x", false},
		{"https://a.example/**", "http://a.example/x", false},
		{"http:/*/x", "http:/[::1]:80/x", true},
		{"shop:/{claims.tenant}/**", "shop:/acme/x", true},
		{"shop:/{claims.tenant}/**", "shop:/acme", true},
		{"shop:/{claims.tenant}/**", "shop:/acme2/x", false},
		{"shop:/{claims.tenant}/**", "shop:/ACME/x", false},
		{"shop:/{claims.tenant}/**", "shop:/", false},
		{"shop:/{claims.room}", "shop:/7", true},
		{"shop:/{claims.n}", "shop:/7", false},
		{"shop:/{claims.empty}", "shop:/", false},
		{"shop:/{claims.missing}/x", "shop:/{claims.missing}/x", false},
		{"shop:/{claims.slash}", "shop:/a/b", false},
		{"shop:/{claims.star}", "shop:/*", false},
		{"shop:/{claims.rest}", "shop:/**", false},
		{"shop:/{claims.param}", "shop:/{x}", false},
		{"shop:/{claims.percent}", "shop:/a%2fb", false},
		{"shop:/{claims.list}", "shop:/acme", false},
		{"{claims.shop}:/x", "shop:/x", true},
		{"{claims.node}:/**", "node:/x", false},
		{"{claims.star}:/**", "*:/x", false},
		{"home:/{session.subject}/**", "home:/anna/x", true},
		{"home:/{session.subject}/**", "home:/otto/x", false},
		// Spellings.
		{"shop:/{claims.tenant}/**", "shop:/acme/%2e%2e/other", false},
		{"shop:/{claims.tenant}/**", "shop:/acme/..%2fother", false},
		{"shop:/{claims.tenant}/**", "shop:/acme/%252e%252e%252fother", false},
		{"shop:/{claims.tenant}/**", `shop:/acme/..\b`, false},
		{"shop:/{claims.tenant}/**", "shop:/acme/%c0%ae%c0%ae/other", false},
		{"shop:/{claims.tenant}/**", "shop:/acme/%25252525252e", false},
		{"shop:/{claims.tenant}/**", "shop:/%61cme/x", false},
		{"shop:/{claims.tenant}/**", "shop:/acme/100%", true},
		{"shop:/{claims.tenant}/**", "shop:/acme/a%20b", true},
		{"shop:/{claims.tenant}/**", "shop:/acme/a%2fb", true},
		{"shop:/*/x", "shop:/a%2fb/x", false},
		// Several addresses in one.
		{"shop:/**", "shop:/*", true},
		{"shop:/**", "shop:/a/**", true},
		{"shop:/*", "shop:/{id}", true},
		{"shop:/*", "shop:/**", false},
		{"shop:/a", "shop:/*", false},
		{"shop:/a", "*:/a", false},
		{"*:/a", "*:/a", true},
		{"shop:/{claims.tenant}/**", "shop:/*/x", false},
		{"shop:/{claims.tenant}/**", "shop:/acme/*", true},
		{"shop:/{claims.tenant}/**", "shop:/acme/**", true},
		{"shop:/{claims.tenant}/**", "shop:/**", false},
	} {
		p := compiled(t, "closed", rule("r", every, c.pattern, ""))
		d := p.Decide(anna, ask(t, policy.Serve, c.address))
		if d.Allowed != c.want || d.Allowed != (d.Rule == "r") || d.Allowed == d.Preset {
			t.Errorf("%s, %s: %+v", c.pattern, c.address, d)
		}
	}
}

// TestDenyMeets is about rules that deny: they match what they may match.
func TestDenyMeets(t *testing.T) {
	t.Parallel()
	anna := claims(session.Claims{"tenant": "acme", "odd": 7.0})
	for _, c := range []struct {
		pattern, address, when string
		want                   bool // denied
	}{
		{"a:/secret", "a:/secret", "", true},
		{"a:/secret", "a:/Secret", "", false},
		{"a:/secret", "a:/%73ecret", "", true},
		{"a:/secret", "a:/%2573ecret", "", true},
		{"a:/secret", "a:/*", "", true},
		{"a:/secret", "a:/**", "", true},
		{"a:/secret", "*:/secret", "", true},
		{"a:/secret", "b:/*", "", false},
		{"a:/secret", "a:/*/x", "", false},
		{"a:/secret/**", "a:/secret", "", true},
		{"a:/{claims.tenant}/x", "a:/acme/x", "", true},
		{"a:/{claims.tenant}/x", "a:/b/x", "", false},
		{"a:/{claims.missing}/x", "a:/b/x", "", false},
		{"a:/{claims.odd}/x", "a:/b/x", "", true},
		{"a:/{claims.odd}/x", "a:/b/y", "", false},
		{"a:/**", "a:/x", "claims.tenant == 'acme'", true},
		{"a:/**", "a:/x", "claims.tenant == 'b'", false},
		{"a:/**", "a:/x", "claims.missing == 'b'", true},
		{"a:/**", "a:/x", "claims.odd == 'b'", false},
		{"a:/**", "a:/x", "claims.odd.startsWith('b')", true},
		{"a:/**", "a:/x", "claims.tenant", true},
		{"a:/{id}", "a:/7", "params.id == '7'", true},
		{"a:/{id}", "a:/8", "params.id == '7'", false},
		{"a:/{id}", "a:/*", "params.id == '7'", true},
		{"a:/{id}", "a:/*", "claims.tenant == 'b'", false},
	} {
		p := compiled(t, "dev", denying(rule("r", "*", c.pattern, c.when)))
		d := p.Decide(anna, ask(t, policy.Call, c.address))
		if d.Allowed == c.want || !d.Allowed != (d.Rule == "r") {
			t.Errorf("%s, %s, %s: %+v", c.pattern, c.address, c.when, d)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	s := session.New("anna", session.Claims{
		"roles": []any{"editor", "admin"}, "level": 3.0, "tenant": "acme", "org": map[string]any{"id": "o1"}, "ok": true,
		"words": []string{"a", "b"}, "whole": 3, "none": nil, // as a Go program may write them
	}, session.Claims{"shard": "7"})
	s.Issuer = "https://id.example"
	for when, want := range map[string]bool{
		"":                        true,
		"true":                    true,
		"'admin' in claims.roles": true,
		"'owner' in claims.roles": false,
		"has(claims.roles)":       true,
		"has(claims.nothing)":     false,
		"'tenant' in claims":      true,
		"claims.level >= 3":       true,
		"claims.level == 3 && claims.level < 3.5":  true,
		"'b' in claims.words && claims.whole == 3": true,
		"claims.none == null":                      true,
		"claims.level > 3":                         false,
		"claims.ok":                                true,
		"claims.tenant":                            false, // no bool
		"claims.org.id == 'o1'":                    true,
		"claims['shard'] == '7'":                   true,
		"claims.nothing == 'x'":                    false,
		"claims.nothing == 'x' || true":            true,
		"!has(claims.x) || claims.x == 1":          true,
		"claims.roles.exists(r, r == 'admin')":     true,
		"claims.roles.all(r, r.startsWith('e'))":   false,
		"session.authenticated":                    true,
		"session.subject == 'anna'":                true,
		"session.issuer.startsWith('https://id.')": true,
		"session.id != ''":                         true,
		"verb == 'serve'":                          true,
		"verb in ['call', 'send']":                 false,
		"address.name == 'shop'":                   true,
		"address.path == '/acme/7'":                true,
		"address.method == 'get'":                  true,
		"address.instance == 'i'":                  true,
		"params.id == '7'":                         true,
		"params.tenant == claims.tenant":           true,
		"params.other == ''":                       false,
		"listener == 'public'":                     true,
		"ip == '10.1.2.3'":                         true,
		"ip.within('10.0.0.0/8')":                  true,
		"ip.within('192.168.0.0/16')":              false,
		"ip.within('::/0')":                        false,
		"listener.within('10.0.0.0/8')":            false, // no address
		"session.subject.matches('^a[n]+a$')":      true,
		"int(claims.tenant) == 1":                  false, // an error
		"1 / 0 == 1":                               false,
	} {
		p := compiled(t, "closed", rule("r", "serve", "shop:/{tenant}/{id}", when))
		a := ask(t, policy.Serve, "i@shop:[get]/acme/7")
		a.Listener, a.IP = "public", "10.1.2.3"
		if d := p.Decide(s, a); d.Allowed != want {
			t.Errorf("%s: %+v; %+v", when, d, p.Explain(s, a)[0])
		}
	}
}

// TestDots is about addresses that nobody honest needs: no preset and no rule
// allows them.
func TestDots(t *testing.T) {
	t.Parallel()
	p := compiled(t, "dev", rule("all", "*", "*:/**", ""))
	for address, want := range map[string]bool{
		"a:/x/%2e%2e/secret": false, `a:/x\..\secret`: false, "a:/%2e": false, "a:/x%2f..%2fy": false, "a:/%252e%252e/%5c..": false,
		"a:/..;/x": false, "a:/..%00/x": false, "a:/%c0%ae%c0%ae/x": false, "a:/%2525252525": false,
		"a:/.well-known/x": true, "a:/...": true, "a:/x..": true, "a:/%2ehidden": true, "a:/100%": true, "a:/%C3%A9": true,
	} {
		a := ask(t, policy.Call, address)
		d := p.Decide(nil, a)
		if d.Allowed != want || !want && (!d.Preset || d.Why == "") {
			t.Errorf("%s: %+v", address, d)
		}
		if e := d.Error(nil, a); !want && (e.Code != message.CodeForbidden || !strings.Contains(e.Message, "..") || e.Hint == "") {
			t.Errorf("%s: %v, hint %q", address, e, e.Hint)
		}
	}
}

func TestWhichWins(t *testing.T) {
	t.Parallel()
	p := compiled(t, "standard",
		rule("allow 1", "call", "a:/**", ""), rule("allow 2", "call", "a:/x", ""),
		denying(rule("deny 1", "call", "a:/x", "claims.bad == true")), denying(rule("deny 2", "*", "*:/x", "has(claims.bad)")))
	good, bad := claims(session.Claims{"bad": false}), claims(session.Claims{"bad": true})
	if d := p.Decide(good, ask(t, policy.Call, "a:/y")); !d.Allowed || d.Rule != "allow 1" {
		t.Error(d)
	}
	if d := p.Decide(bad, ask(t, policy.Call, "a:/x")); d.Allowed || d.Rule != "deny 1" {
		t.Error(d)
	}
	if d := p.Decide(good, ask(t, policy.Call, "a:/x")); d.Allowed || d.Rule != "deny 2" {
		t.Error(d)
	}
	if d := p.Decide(bad, ask(t, policy.Send, "b:/y")); !d.Allowed || !d.Preset {
		t.Error(d)
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	good := rule("good", "call", "a:/b", "")
	with := func(change func(*policy.Rule)) policy.Config {
		r := good
		r.Name = ""
		change(&r)
		return policy.Config{Rules: []policy.Rule{good, r}}
	}
	when := func(text string) policy.Config { return with(func(r *policy.Rule) { r.When = text }) }
	address := func(text string) policy.Config {
		return with(func(r *policy.Rule) { r.Addresses = []string{"a:/", text} })
	}
	for _, c := range []struct {
		cfg         policy.Config
		path, wants string
	}{
		{policy.Config{Preset: "open"}, "preset", `"open"`},
		{with(func(r *policy.Rule) { r.Name = "good" }), "rules[1].name", "rules[0] has the name"},
		{with(func(r *policy.Rule) { r.Name = "preset" }), "rules[1].name", "no name"},
		{with(func(r *policy.Rule) { r.Name = "a\nb" }), "rules[1].name", "characters"},
		{with(func(r *policy.Rule) { r.Hint = strings.Repeat("x", 301) }), "rules[1].hint", "longer"},
		{with(func(r *policy.Rule) { r.Message = "x" }), "rules[1].message", "refuses nobody"},
		{with(func(r *policy.Rule) { r.Effect = "maybe" }), "rules[1].effect", `"maybe"`},
		{with(func(r *policy.Rule) { r.Verbs = nil }), "rules[1].verbs", "no verb"},
		{with(func(r *policy.Rule) { r.Verbs = []string{"call", "run"} }), "rules[1].verbs[1]", `"run"`},
		{with(func(r *policy.Rule) { r.Addresses = nil }), "rules[1].addresses", "no address"},
		{with(func(r *policy.Rule) { r.Addresses = make([]string, 101) }), "rules[1].addresses", "101"},
		{policy.Config{Rules: make([]policy.Rule, 1001)}, "rules", "1001"},
		{policy.Config{Tests: make([]policy.Test, 10_001)}, "tests", "10001"},
		{policy.Config{Tests: []policy.Test{{Verb: "call", Address: "a:/", Want: "yes"}}}, "tests[0].want", "yes"},
		{policy.Config{Tests: []policy.Test{{Verb: "call", Address: "a", Want: "deny"}}}, "tests[0].address", "no address"},
		{policy.Config{Tests: []policy.Test{{Verb: "call", Address: "a:/", Want: "deny", Rule: "x"}}}, "tests[0].rule", "no rule"},
		{address("orders"), "rules[1].addresses[1]", "name of a service"},
		{address(":/x"), "rules[1].addresses[1]", "name of a service"},
		{address("i@a:/x"), "rules[1].addresses[1]", "instance"},
		{address("a:[get]/x"), "rules[1].addresses[1]", "method"},
		{address("{x}:/x"), "rules[1].addresses[1]", "parameter"},
		{address("a:x"), "rules[1].addresses[1]", "does not begin with /"},
		{address("a://x"), "rules[1].addresses[1]", "empty segment"},
		{address("a:/../x"), "rules[1].addresses[1]", ".."},
		{address("a:/**/x"), "rules[1].addresses[1]", "not its last"},
		{address("a:/x{claims.y}"), "rules[1].addresses[1]", "mixes"},
		{address("a:/{claims.y}z"), "rules[1].addresses[1]", "mixes"},
		{address("a:/{claims.}"), "rules[1].addresses[1]", "name of a claim"},
		{address("a:/{claims.a.b}"), "rules[1].addresses[1]", "name of a claim"},
		{address("a:/{session.id}"), "rules[1].addresses[1]", "{session.subject}"},
		{address("a:/{id}/{id}"), "rules[1].addresses[1]", "twice"},
		{address("a:/" + strings.Repeat("x", 2000)), "rules[1].addresses[1]", "longer"},
		{when("claims.x =="), "rules[1].when", "line 1, column 12"},
		{when("claims.x == 1 &&\n  role == 'x'"), "rules[1].when", "line 2, column 3"},
		{when("role == 'x'"), "rules[1].when", "role"},
		{when("session.name == 'x'"), "rules[1].when", "session"},
		{when("address.query == ''"), "rules[1].when", "address"},
		{when("'text'"), "rules[1].when", "gives string"},
		{when("verb == 1"), "rules[1].when", "no matching overload"},
		{when("verb.matches('(')"), "rules[1].when", "line 1, column"},
		{when("verb.matches(claims.re)"), "rules[1].when", "no literal"},
		{when("matches(verb, listener)"), "rules[1].when", "no literal"},
		{when("verb.matches('(a{1000}){1000}')"), "rules[1].when", "column"},
		{when("verb.matches('(((a{30}){30}){30})')"), "rules[1].when", "column"},
		{when("ip.within('10')"), "rules[1].when", "network"},
		{when("ip.within(claims.net)"), "rules[1].when", "network"},
		{when(strings.Repeat("a", 3000)), "rules[1].when", "longer"},
		{when(strings.Repeat("(", 300) + strings.Repeat(")", 300)), "rules[1].when", "line 1"},
		{when("[1,2,3,4,5,6,7,8].all(a, [1,2,3,4,5,6,7,8].all(b, [1,2,3,4,5,6,7,8].all(c, [1,2,3,4,5,6,7,8].all(d, [1,2,3,4,5,6,7,8].all(e, a+b+c+d+e > 0)))))"),
			"rules[1].when", "too long"},
		{when("claims.a.all(a, claims.a.all(b, claims.a.all(c, a == b && b == c)))"), "rules[1].when", "too long"},
	} {
		_, err := policy.Compile(c.cfg)
		var e *message.Error
		if !errors.As(err, &e) || e.Code != message.CodeInvalidInput || e.Path != c.path || e.Hint == "" {
			t.Errorf("%s %s: %v, hint %q", c.path, c.wants, err, hintOf(e))
			continue
		}
		if !strings.HasPrefix(e.Message, c.path+": ") || !strings.Contains(e.Message, c.wants) {
			t.Errorf("%s: %q, want %q", c.path, e.Message, c.wants)
		}
	}
}

func hintOf(e *message.Error) string {
	if e == nil {
		return ""
	}
	return e.Hint
}

func TestValidateAll(t *testing.T) {
	t.Parallel()
	list := policy.Validate(policy.Config{Preset: "x", Rules: []policy.Rule{{Effect: "y", When: "1"}}})
	var paths []string
	for _, e := range list {
		paths = append(paths, e.Path)
	}
	if got := strings.Join(paths, " "); got != "preset rules[0].effect rules[0].verbs rules[0].addresses rules[0].when" {
		t.Error(got)
	}
	if list := policy.Validate(policy.Config{}); list != nil {
		t.Error(list)
	}
}

func TestGroupsOfVerbs(t *testing.T) {
	t.Parallel()
	p, err := policy.Compile(policy.Config{Preset: "closed", Rules: []policy.Rule{
		{Name: "guests", Verbs: []string{"read-only"}, Addresses: []string{"json:/**"}},
		{Name: "editors", Verbs: []string{"editor"}, Addresses: []string{"json:/**"}, When: "'editor' in claims.roles"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	editor := claims(session.Claims{"roles": []any{"editor"}})
	for _, c := range []struct {
		s    *session.Session
		v    policy.Verb
		want bool
	}{
		{nil, policy.Watch, true}, {nil, policy.Publish, false}, {nil, policy.Code, false},
		{editor, policy.Watch, true}, {editor, policy.Publish, true}, {editor, policy.Code, false}, {editor, policy.Serve, false},
	} {
		if d := p.Decide(c.s, ask(t, c.v, "json:/a/b.json")); d.Allowed != c.want {
			t.Errorf("%s of %v: %+v", c.v, c.s, d)
		}
	}
}
