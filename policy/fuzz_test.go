package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// FuzzCompile reads configurations; what is taken decides without a panic, and
// the guard as the policy does.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`{"preset":"dev","rules":[{"verbs":["*"],"addresses":["*:/**"],"when":"claims.a == 1"}]}`,
		`{"rules":[{"name":"x","effect":"deny","verbs":["call","serve"],"addresses":["a:/{claims.t}/{id}/**","{session.subject}:/"],"when":"has(claims.x) && params.id in claims.ids"}]}`,
		`{"preset":"closed","rules":[{"verbs":["session"],"addresses":["a:/"],"when":"claims.l.exists(x, x.matches('^a')) || ip.within('::/0')"}],
		"tests":[{"verb":"call","address":"a:/","session":{"subject":"s","public":{"t":"x"}},"want":"deny","rule":"rules[0]"}]}`,
	} {
		f.Add([]byte(s), "a:/x/7/y")
	}
	s := session.New("anna", session.Claims{"t": "x", "ids": []any{"7"}, "a": 1.0}, session.Claims{"l": []any{"ab"}})
	f.Fuzz(func(t *testing.T, text []byte, address string) {
		var cfg policy.Config
		if json.Unmarshal(text, &cfg) != nil {
			return
		}
		p, err := policy.Compile(cfg)
		if err != nil {
			var e *message.Error
			if !errors.As(err, &e) || e.Path == "" || e.Hint == "" || !strings.HasPrefix(e.Message, e.Path+": ") {
				t.Errorf("%v, path %q, hint %q", err, e.Path, e.Hint)
			}
			return
		}
		p.Test(cfg.Tests)
		a, err := message.ParseAddress(address)
		if err != nil {
			return
		}
		g := policy.NewGuard(p)
		for _, v := range policy.Verbs() {
			ask := policy.Ask{Verb: v, Address: a}
			d := p.Decide(s, ask)
			for range 2 {
				if got := g.Check(s, ask); !same(got, d) {
					t.Errorf("%+v, then %+v", d, got)
				}
			}
			d.Error(s, ask)
			p.WhoCan(v, a)
			decides := 0
			for _, step := range p.Explain(s, ask) {
				if step.Decides {
					decides++
				}
			}
			if decides != 1 {
				t.Errorf("%d steps decide %s %s", decides, v, address)
			}
		}
	})
}

// FuzzPattern reads addresses of rules; a pattern that is taken without
// wildcards is an address that it matches.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a:/b/**", "*:/{id}/*", "{claims.a}:/{session.subject}", "a:/", "a:/%2e", "a:/b/", "https://a:1/**"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Compile(policy.Config{Preset: "closed", Rules: []policy.Rule{rule("r", "call", text, "")}})
		if err != nil {
			return
		}
		a, err := message.ParseStrict(text)
		if err != nil {
			return
		}
		p.WhoCan(policy.Call, a)
		d := p.Decide(nil, policy.Ask{Verb: policy.Call, Address: a})
		if plain := !strings.ContainsAny(text, `*{}%\;`) && !strings.Contains(text, "/."); plain && !d.Allowed {
			t.Errorf("%q: %+v", text, d)
		}
	})
}
