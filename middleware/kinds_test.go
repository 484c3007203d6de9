package middleware_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

func TestNew(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	for _, c := range []struct {
		kind, settings string
		shown          string // the settings as people see them
		field          string // "" if it works
		hint           string
	}{
		{"recover", ``, `null`, "", ""},
		{"metrics", `null`, `null`, "", ""},
		{"trace", `{}`, `null`, "", ""},
		{"log", `{"slow":"2s","except":["a:/x"]}`, `{"slow":"2s","except":["a:/x"]}`, "", ""},
		{"secret", `{"secrets":["hush"]}`, `null`, "", ""},
		{"rate-limit", `{"rate":10,"by":"ip"}`, `{"rate":10,"by":"ip"}`, "", ""},
		{"deadline", `{"default":"10s","routes":{"a:/x":{"max":"1m"}}}`, `{"default":"10s","routes":{"a:/x":{"max":"1m0s"}}}`, "", ""},
		{"limit", `{"calls":5,"queue":10,"wait":"1s"}`, `{"calls":5,"queue":10,"wait":"1s"}`, "", ""},
		{"retry", ``, `{}`, "", ""},
		{"retry", `{"times":3,"backoff":"1s","routes":["a:/x"],"except":["a:/y"]}`, `{"times":3,"backoff":"1s","routes":["a:/x"],"except":["a:/y"]}`, "", ""},
		{"breaker", `{"by":"route","codes":["internal"]}`, `{"by":"route","codes":["internal"]}`, "", ""},
		{"hedge", `{"after":"50ms"}`, `{"after":"50ms"}`, "", ""},
		{"hedge", `{"after":"-50ms"}`, ``, "settings", ""},
		{"hedge", `{"percentile":100}`, ``, "percentile", "95"},
		{"hedge", `{"budget":{"share":-1}}`, ``, "budget.share", ""},
		{"breaker", `{"by":"moon"}`, ``, "by", "server or route"},
		{"breaker", `{"share":2}`, ``, "share", "0.5"},
		{"breaker", `{"calls":-1}`, ``, "calls", ""},
		{"breaker", `{"window":"1ms"}`, ``, "window", ""},
		{"breaker", `{"trials":-1}`, ``, "trials", ""},
		{"breaker", `{"codes":["internal","bad luck"]}`, ``, "codes[1]", "errors.md"},
		{"retry", `{"try":"1s","budget":{"share":0.5}}`, `{"try":"1s","budget":{"share":0.5}}`, "", ""},
		{"retry", `{"budget":{"share":-1}}`, ``, "budget.share", "0.2"},
		{"retry", `{"budget":{"perSecond":-1}}`, ``, "budget.perSecond", ""},
		{"retry", `{"times":-1}`, ``, "times", "take the middleware out"},
		{"retry", `{"every":1}`, ``, "settings", "times, backoff, try, budget, routes, except"},
		{"teapot", ``, ``, "kind", "recover, metrics, trace, log, secret, rate-limit, fallback, shed, deadline, in-order, retry, idempotency, cache, hedge, breaker, "},
		{"recover", `{"x":1}`, ``, "settings", "no settings"},
		{"limit", `{"cals":5}`, ``, "settings", "calls, queue, wait, perRoute, adapt"},
		{"deadline", `{"x":5}`, ``, "settings", "default, max, routes"},
		{"limit", `{"calls":"5"}`, ``, "calls", ""},
		{"limit", `{"calls":5} x`, ``, "settings", ""},
		{"limit", `{`, ``, "settings", ""},
		{"limit", ``, ``, "calls", "at least 1"},
		{"limit", `{"calls":5,"adapt":{"max":50}}`, `{"calls":5,"adapt":{"max":50}}`, "", ""},
		{"limit", `{"calls":5,"adapt":{"min":1}}`, ``, "adapt.max", ""},
		{"limit", `{"calls":5,"adapt":{"min":9,"max":8}}`, ``, "adapt.min", ""},
		{"limit", `{"calls":5,"adapt":{"max":4}}`, ``, "calls", ""},
		{"limit", `{"calls":5,"adapt":{"max":9,"tolerance":0.5}}`, ``, "adapt.tolerance", ""},
		{"limit", `{"calls":1,"queue":-1}`, ``, "queue", ""},
		{"limit", `{"calls":1,"wait":"-1s"}`, ``, "settings", ""},
		{"log", `{"slow":"soon"}`, ``, "settings", ""},
		{"secret", `{}`, ``, "secrets", ""},
		{"secret", `{"secrets":["a",""]}`, ``, "secrets", "let everybody in"},
		{"rate-limit", `{"rate":0}`, ``, "rate", ""},
		{"rate-limit", `{"rate":1,"burst":-1}`, ``, "burst", ""},
		{"rate-limit", `{"rate":1,"by":"moon"}`, ``, "by", "all, client, ip, session, user or route"},
		{"rate-limit", `{"rate":1,"keys":-1}`, ``, "keys", ""},
		{"deadline", `{"default":"2m","max":"1m"}`, ``, "default", ""},
		{"deadline", `{"routes":{"a:/x":{"default":"2m","max":"1m"}}}`, ``, "routes.a:/x.default", ""},
	} {
		t.Run(c.kind+c.settings, func(t *testing.T) {
			t.Parallel()
			e, err := middleware.New(c.kind, "", json.RawMessage(c.settings), middleware.Env{Registry: reg})
			if c.field != "" {
				var me *message.Error
				if !errors.As(err, &me) || me.Code != message.CodeInvalidInput || me.Path != c.field || !strings.Contains(me.Hint, c.hint) {
					t.Fatalf("error %+v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Name != c.kind || e.Kind != c.kind || e.Description == "" {
				t.Errorf("entry %+v", e)
			}
			if got, _ := json.Marshal(e.Settings); string(got) != c.shown {
				t.Errorf("settings %s, want %s", got, c.shown)
			}
		})
	}
}

// The usual order in the usual stages is one that the stack finds nothing
// wrong with, and messages pass through all of it.
func TestKindsFitTheStack(t *testing.T) {
	t.Parallel()
	settings := map[string]string{
		"secret": `{"secrets":["s"]}`, "rate-limit": `{"rate":10}`, "limit": `{"calls":1}`,
		"fallback": `{"routes":{"b:/x":{"value":1}}}`, "in-order": `{"routes":["b:/x"]}`, "cache": `{"routes":{"b:/x":{}}}`,
	}
	stack := route.NewStack()
	for _, k := range middleware.Kinds() {
		e, err := middleware.New(k.Name, "my "+k.Name, json.RawMessage(settings[k.Name]), middleware.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if e.Name != "my "+k.Name {
			t.Errorf("name %q", e.Name)
		}
		if err := stack.Insert(k.Stages[0], e, route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	if w := stack.Warnings(); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
	inner := stack.Chain(route.StageCall, reply)
	outer := stack.Chain(route.StageInbound, inner)
	c := newCall("a:/x")
	c.req.Message.Authorization = []byte("s")
	if run(t, outer, c); c.code() != "" {
		t.Error(c.err)
	}
}

func TestBadConfigurationPanics(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"limit":  func() { middleware.Limit(nil, middleware.LimitConfig{}) },
		"rate":   func() { middleware.RateLimit(middleware.RateConfig{}) },
		"secret": func() { middleware.Secret(middleware.SecretConfig{}) },
		"retry":  func() { middleware.Retry(nil, nil, middleware.RetryConfig{Backoff: -1}) },
		"deadline": func() {
			middleware.Deadline(middleware.DeadlineConfig{RouteDeadline: middleware.RouteDeadline{Max: -1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("it was accepted")
				}
			}()
			f()
		})
	}
}
