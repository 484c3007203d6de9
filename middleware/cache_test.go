package middleware_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

func caching(t testing.TB, settings string) *middleware.AnswerCache {
	t.Helper()
	var cfg middleware.CacheConfig
	if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
		t.Fatal(err)
	}
	return middleware.NewCache(nil, nil, cfg)
}

const cacheX = `{"routes":{"a:/x":{"keep":"1m"}}}`

// withClaims is a session of a user with a claim.
func withClaims(user, name string, value any) *session.Session {
	return session.New(user, session.Claims{name: value}, nil)
}

func TestCacheKey(t *testing.T) {
	t.Parallel()
	const public = `{"routes":{"a:/x":{"public":true}}}`
	key := func(parts string) string { return `{"routes":{"a:/x":{"public":true,"key":[` + parts + `]}}}` }
	cart := session.New("", nil, nil)
	aut := func(a *ask, token string) *ask {
		a.req.Message.Authorization = []byte(token)
		return a
	}
	x := func(user, body string) *ask { return newAsk(user, "a:/x", body) }
	for name, c := range map[string]struct {
		settings      string
		first, second *ask
		same          bool
	}{
		"the same":               {cacheX, x("anna", "1"), x("anna", "1"), true},
		"another route":          {cacheX, newAsk("anna", "b:/x", "1"), newAsk("anna", "b:/x", "1"), false},
		"another body":           {cacheX, x("anna", "1"), x("anna", "2"), false},
		"no body":                {cacheX, x("anna", ""), x("anna", "2"), false},
		"another user":           {cacheX, x("anna", "1"), x("bert", "1"), false},
		"nobody":                 {cacheX, x("", "1"), x("anna", "1"), false},
		"both nobody":            {cacheX, x("", "1"), from(x("", "1"), "p2"), true},
		"nobody, two tokens":     {cacheX, aut(x("", "1"), "a"), aut(x("", "1"), "b"), false},
		"one cart":               {cacheX, x("", "1").of(cart), x("", "1").of(cart), true},
		"two carts":              {cacheX, x("", "1").of(cart), x("", "1").of(session.New("", nil, nil)), false},
		"other claims":           {cacheX, x("", "1").of(withClaims("anna", "role", "x")), x("", "1").of(withClaims("anna", "role", "y")), false},
		"equal claims":           {cacheX, x("", "1").of(withClaims("anna", "role", "x")), x("", "1").of(withClaims("anna", "role", "x")), true},
		"secret claims":          {cacheX, x("", "1").of(session.New("anna", nil, session.Claims{"a": 1})), x("anna", "1"), false},
		"a claim that is named":  {`{"routes":{"a:/x":{"claims":["role"]}}}`, x("", "1").of(withClaims("anna", "role", "x")), x("", "1").of(withClaims("anna", "role", "y")), false},
		"a claim that is not":    {`{"routes":{"a:/x":{"claims":["role"]}}}`, x("", "1").of(withClaims("anna", "lang", "x")), x("", "1").of(withClaims("anna", "lang", "y")), true},
		"public":                 {public, x("anna", "1"), x("bert", "1"), true},
		"public by session":      {key(`"session"`), x("anna", "1"), x("anna", "1"), false},
		"public by claim":        {key(`"claim:tenant"`), x("", "1").of(withClaims("anna", "tenant", "t")), x("", "1").of(withClaims("bert", "tenant", "t")), true},
		"public by other claim":  {key(`"claim:tenant"`), x("", "1").of(withClaims("anna", "tenant", "t")), x("", "1").of(withClaims("anna", "tenant", "u")), false},
		"query":                  {public, to("a:/x?p=1"), to("a:/x?p=2"), false},
		"query that counts":      {key(`"query:p"`), to("a:/x?p=1&q=1"), to("a:/x?p=1&q=2"), true},
		"query that is other":    {key(`"query:p"`), to("a:/x?p=1&q=1"), to("a:/x?p=2&q=1"), false},
		"query twice":            {key(`"query:p","query:q"`), to("a:/x?p=1&p=2"), to("a:/x?p=1&q=2"), false},
		"query that is none":     {key(`"query:p"`), to("a:/x?p=%zz"), to("a:/x?p=%zz"), false},
		"path":                   {public, to("a:/x/1"), to("a:/x/2"), false},
		"path that does not":     {key(`"query"`), to("a:/x/1"), to("a:/x/2"), true},
		"method":                 {public, to("a:[get]/x"), to("a:[post]/x"), false},
		"instance":               {public, to("s1@a:/x"), to("s2@a:/x"), false},
		"header":                 {key(`"header:lang"`), x("", "1").header("lang", "de"), x("", "1").header("lang", "fr"), false},
		"header that does not":   {public, x("", "1").header("lang", "de"), x("", "1").header("lang", "fr"), true},
		"field":                  {key(`"body:a.b"`), x("", `{"a":{"b":1},"c":1}`), x("", `{"c":2,"a":{"b":1}}`), true},
		"other field":            {key(`"body:a.b"`), x("", `{"a":{"b":1}}`), x("", `{"a":{"b":2}}`), false},
		"no field":               {key(`"body:a.b"`), x("", `{"a":{"c":1}}`), x("", `{"a":{}}`), true},
		"a field or null":        {key(`"body:a"`), x("", `{"a":null}`), x("", `{}`), false},
		"field twice":            {key(`"body:a"`), x("", `{"a":1,"a":2}`), x("", `{"a":1,"a":2}`), false},
		"field in capitals":      {key(`"body:a"`), x("", `{"a":1,"A":2}`), x("", `{"a":1,"A":2}`), false},
		"no object":              {key(`"body:a"`), x("", `[1]`), x("", `[1]`), false},
		"no JSON":                {key(`"body:a"`), x("", `{`), x("", `{`), false},
		"parts are not run up":   {key(`"header:a","header:b"`), x("", "").header("a", "12"), x("", "").header("a", "1").header("b", "2"), false},
		"strategy":               {public, x("", "1"), strategy(x("", "1"), `{"version":"^2"}`), false},
		"of a gather, by server": {public, x("", "1").matched(t, "/x"), x("", "1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n counting
			h := caching(t, c.settings).Middleware()(&n)
			for _, a := range []*ask{c.first, c.second} {
				if a.req.Route = "a:/x"; a.req.Address.Name == "b" {
					a.req.Route = "b:/x"
				}
				a.to(h)
			}
			want := "2"
			if c.same {
				want = "1"
			}
			if c.first.got() != "1" || c.second.got() != want {
				t.Errorf("got %s and %s", c.first.got(), c.second.got())
			}
		})
	}
}

func to(address string) *ask { return newAsk("", address, "") }

func strategy(a *ask, s string) *ask {
	a.req.Message.Strategy = []byte(s)
	return a
}

func TestCacheKeeps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings string
		answer   func(res route.Responder)
		kept     bool
	}{
		"a reply":             {cacheX, func(res route.Responder) { reply1(res, "r") }, true},
		"a large reply":       {`{"routes":{"a:/x":{}},"answer":1000}`, func(res route.Responder) { reply1(res, strings.Repeat("x", 1000)) }, false},
		"more than there is":  {`{"routes":{"a:/x":{}},"bytes":1000}`, func(res route.Responder) { reply1(res, strings.Repeat("x", 1000)) }, false},
		"an error":            {cacheX, func(res route.Responder) { _ = res.Fail(failed(message.CodeNotFound, false)) }, false},
		"an error, by choice": {`{"routes":{"a:/x":{"errors":"1s"}}}`, func(res route.Responder) { _ = res.Fail(failed(message.CodeNotFound, false)) }, true},
		"another error":       {`{"routes":{"a:/x":{"errors":"1s"}}}`, func(res route.Responder) { _ = res.Fail(failed(message.CodeInternal, false)) }, false},
		"parts": {cacheX, func(res route.Responder) {
			_ = res.Part(route.JSON([]byte("p")))
			reply1(res, "r")
		}, false},
		"a change of the session": {cacheX, func(res route.Responder) {
			_ = res.Reply(route.Body{Session: &session.Patch{End: true}})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			h := caching(t, c.settings).Middleware()(route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
				n++
				c.answer(res)
			}))
			first, second := newAsk("anna", "a:/x", "").to(h), newAsk("anna", "a:/x", "").to(h)
			if (n == 1) != c.kept || first.got() != second.got() || fmt.Sprint(first.parts) != fmt.Sprint(second.parts) {
				t.Errorf("%d executed; first %v %s, second %v %s", n, first.parts, first.got(), second.parts, second.got())
			}
			if (first.change != nil) != (second.change != nil) {
				t.Error("one had its session changed")
			}
		})
	}
}

func TestCacheForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		m, err := middleware.NewCacheMetrics(reg)
		if err != nil {
			t.Fatal(err)
		}
		var n counting
		h := middleware.NewCache(nil, m, middleware.CacheConfig{
			Routes: map[string]middleware.CacheRoute{"a:/x": {Keep: seconds(10)}}, Entries: 2,
		}).Middleware()(&n)
		for _, c := range []struct{ body, want string }{
			{"a", "1"}, {"b", "2"}, {"a", "1"}, {"c", "3"}, {"a", "1"}, {"b", "4"},
		} {
			if got := newAsk("anna", "a:/x", c.body).to(h).got(); got != c.want {
				t.Fatalf("%s: got %s, want %s", c.body, got, c.want)
			}
		}
		time.Sleep(10 * time.Second)
		if got := newAsk("anna", "a:/x", "b").to(h).got(); got != "5" {
			t.Errorf("when it was old: %s", got)
		}
		for reason, want := range map[string]float64{"full": 2, "old": 1} {
			if got := counted(t, reg, "ropewalk_cache_forgotten_total", reason); got != want {
				t.Errorf("%s: %v, want %v", reason, got, want)
			}
		}
	})
}

// Equal calls at the same time are one, whoever of them leaves.
func TestCacheJoins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var in taken
		h := caching(t, cacheX).Middleware()(&in)
		x := func() *ask { return newAsk("anna", "a:/x", "").to(h) }
		first, second := x(), x()
		first.leave()
		if second.got() != "…" || in.len() != 1 {
			t.Fatalf("the second got %s", second.got())
		}
		reply1(in.calls[0], "r")
		if second.got() != "r" || x().got() != "r" || in.len() != 1 {
			t.Fatalf("the second got %s, %d ran", second.got(), in.len())
		}

		// Nobody waits any more: it is canceled, and the next one begins again.
		y := func() *ask { return newAsk("anna", "a:/x", "y").to(h) }
		first = y()
		first.leave()
		if in.calls[1].Reply(route.Body{}) == nil {
			t.Error("a reply to nobody was taken")
		}
		if y(); in.len() != 3 {
			t.Fatal("the next one was not executed")
		}
		// The deadline of the first is not that of the second.
		reply1(in.calls[2], "r")
		slow := newAsk("anna", "a:/x", "z")
		slow.req.Deadline = time.Now().Add(time.Second)
		slow.to(h)
		second, third := newAsk("anna", "a:/x", "z").to(h), newAsk("anna", "a:/x", "z").to(h)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if in.len() != 5 || slow.got() != "!deadline_exceeded" || second.got() != "…" {
			t.Fatalf("%d ran; slow %s, second %s", in.len(), slow.got(), second.got())
		}
		reply1(in.calls[4], "r")
		if second.got() != "r" || third.got() != "r" {
			t.Errorf("second %s, third %s", second.got(), third.got())
		}
		// With the first part it is clear that it is not to be shared.
		first, second = newAsk("anna", "a:/x", "p").to(h), newAsk("anna", "a:/x", "p").to(h)
		_ = in.calls[5].Part(route.JSON([]byte("p")))
		if in.len() != 7 || len(first.parts) != 1 {
			t.Fatal("who waited in vain was not let go")
		}
		reply1(in.calls[5], "1")
		reply1(in.calls[6], "2")
		if first.got() != "1" || second.got() != "2" {
			t.Errorf("first %s, second %s", first.got(), second.got())
		}
	})
}

func TestCacheInvalidates(t *testing.T) {
	t.Parallel()
	const settings = `{
		"routes": {"shop:/items": {"keep":"1h","public":true}, "shop:/item/{id}": {"keep":"1h"}, "blog:/items": {"keep":"1h"}},
		"invalidates": {
			"shop:/item/{id}/set": ["shop:/items", "shop:/item/{id}"],
			"shop:/reset": ["shop:/**"]
		}
	}`
	get := func(h route.Handler, path string) string {
		a := newAsk("anna", "shop:"+path, "")
		if path != "/items" {
			a.matched(t, "/item/{id}")
		}
		return a.to(h).got()
	}
	for name, c := range map[string]struct {
		call, route, code string
		want              string // of /items, /item/1, /item/2, blog:/items
	}{
		"set one":             {"shop:/item/1/set", "/item/{id}/set", "", "new new old old"},
		"failed, who knows":   {"shop:/item/1/set", "/item/{id}/set", "service_lost", "new new old old"},
		"surely not executed": {"shop:/item/1/set", "/item/{id}/set", "overloaded", "old old old old"},
		"reset":               {"shop:/reset", "/reset", "", "new new new old"},
		"another":             {"shop:/buy", "/buy", "", "old old old old"},
		"strange id":          {"shop:/item/*/set", "/item/{id}/set", "", "new new new old"}, // each {id}
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := "old"
			h := caching(t, settings).Middleware()(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
				if !strings.Contains(req.Address.Path, "item") || strings.HasSuffix(req.Address.Path, "/set") {
					state = "new"
					if c.code != "" {
						_ = res.Fail(failed(message.Code(c.code), c.code == "overloaded"))
						return
					}
				}
				reply1(res, state)
			}))
			blog := func() string { return newAsk("anna", "blog:/items", "").to(h).got() }
			all := func() string {
				return strings.Join([]string{get(h, "/items"), get(h, "/item/1"), get(h, "/item/2"), blog()}, " ")
			}
			all()
			newAsk("bert", c.call, "").matched(t, c.route).to(h)
			if got := all(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// What was on its way when it was invalidated is for those who wait, only.
func TestCacheInvalidatesFlights(t *testing.T) {
	t.Parallel()
	var in taken
	c := caching(t, cacheX)
	h := c.Middleware()(&in)
	first := newAsk("anna", "a:/x", "").to(h)
	if err := c.SetState([]byte(`{"forget":["a:/*"]}`)); err != nil {
		t.Fatal(err)
	}
	second := newAsk("anna", "a:/x", "").to(h)
	reply1(in.calls[0], "old")
	reply1(in.calls[1], "new")
	third := newAsk("anna", "a:/x", "").to(h)
	if got := first.got() + second.got() + third.got(); got != "oldnewnew" {
		t.Errorf("got %s", got)
	}
	if got := shown(t, c); !strings.HasPrefix(got, `{"entries":1,"bytes":`) {
		t.Errorf("state %s", got)
	}
	if err := c.SetState([]byte(`{"forget":["*:/**"]}`)); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, c); got != `{"entries":0,"bytes":0}` {
		t.Errorf("state %s", got)
	}
	for _, bad := range []string{`{"forget":["x"]}`, `{"forget":["a:/**/b"]}`, `{}`, `{"all":1}`, `7`} {
		if c.SetState([]byte(bad)) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// shown is a state as people see it.
func shown(t *testing.T, s route.Stateful) string {
	t.Helper()
	b, err := json.Marshal(s.State())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCacheConfig(t *testing.T) {
	t.Parallel()
	for settings, field := range map[string]string{
		`{}`:                                                    "routes",
		`{"routes":{"x":{}}}`:                                   "routes.x",
		`{"routes":{"a:/**/x":{}}}`:                             "routes.a:/**/x",
		`{"routes":{"a:/x":{"key":["pat"]}}}`:                   "routes.a:/x.key",
		`{"routes":{"a:/x":{"key":["body:"]}}}`:                 "routes.a:/x.key",
		`{"routes":{"a:/x":{"key":["param"]}}}`:                 "routes.a:/x.key",
		`{"routes":{"a:/x":{"key":["path:x"]}}}`:                "routes.a:/x.key",
		`{"routes":{"a:/x":{"public":true,"claims":["a"]}}}`:    "routes.a:/x.claims",
		`{"routes":{"a:/x":{}},"entries":-1}`:                   "entries",
		`{"routes":{"a:/x":{}},"bytes":-1}`:                     "bytes",
		`{"routes":{"a:/x":{}},"answer":-1}`:                    "answer",
		`{"routes":{"a:/x":{}},"invalidates":{"a:/y":["a/x"]}}`: "invalidates.a:/y",
	} {
		var cfg middleware.CacheConfig
		if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
			t.Fatal(err)
		}
		if err := message.AsError(cfg.Validate()); err.Path != field || err.Hint == "" {
			t.Errorf("%s: %+v", settings, err)
		}
	}
}

// Whatever users, claims, bodies and order there are: nobody ever gets what was
// made for another, and nothing that was made before the last change.
func TestCacheIsolation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var in taken
		var cfg middleware.CacheConfig
		_ = json.Unmarshal([]byte(`{"routes":{"a:/x":{"keep":"1h"}},"invalidates":{"a:/set":["a:/x"]},"entries":5}`), &cfg)
		h := middleware.NewCache(nil, nil, cfg).Middleware()(&in)
		sessions := []*session.Session{
			session.Anonymous(), session.New("", nil, nil), session.New("anna", nil, nil), session.New("bert", nil, nil),
			withClaims("anna", "role", "x"), withClaims("anna", "rol", "ex"), withClaims("bert", "role", "x"),
		}
		version, answered := 0, 0
		type made struct {
			who     string
			version int // when it was asked for
		}
		asked := map[*ask]made{}
		answer := func(i int) {
			req := in.reqs[i]
			s := req.Session()
			reply1(in.calls[i], fmt.Sprintf("%s %v%v %s %d", s.Subject, s.Public, s.Anonymous(), req.Message.Body, version))
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0, 1:
				s := rapid.SampledFrom(sessions).Draw(t, "who")
				body := rapid.SampledFrom([]string{"1", "2"}).Draw(t, "body")
				a := newAsk("", "a:/x", body).of(s)
				asked[a] = made{fmt.Sprintf("%s %v%v %s", s.Subject, s.Public, s.Anonymous(), body), version}
				a.to(h)
			case 2, 3:
				if answered < in.len() {
					answer(answered)
					answered++
				}
			case 4:
				version++
				before := in.len()
				newAsk("anna", "a:/set", "").to(h)
				for i := before; i < in.len(); i++ { // the last is the change
					in.calls[i], in.calls[answered] = in.calls[answered], in.calls[i]
					in.reqs[i], in.reqs[answered] = in.reqs[answered], in.reqs[i]
					reply1(in.calls[answered], "set")
					answered++
				}
			}
		}
		for ; answered < in.len(); answered++ {
			answer(answered)
		}
		for a, want := range asked {
			i := strings.LastIndexByte(a.got(), ' ')
			var v int
			_, _ = fmt.Sscan(a.got()[i+1:], &v)
			if i < 0 || a.got()[:i] != want.who || v < want.version || a.finals != 1 {
				t.Fatalf("got %q, want %q of at least %d; %d answers", a.got(), want.who, want.version, a.finals)
			}
		}
	})
}

func TestCacheConcurrently(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	c := caching(t, `{"routes":{"a:/x":{"keep":"1h"}},"entries":3}`)
	h := c.Middleware()(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		wg.Go(func() { reply1(res, req.Session().Subject+string(req.Message.Body)) })
	}))
	calls := make([]*ask, 500)
	for i := range calls {
		user, body := fmt.Sprint("u", i%3), fmt.Sprint(i%2)
		calls[i] = newAsk(user, "a:/x", body)
		wg.Go(func() { calls[i].to(h) })
		switch i % 10 {
		case 3:
			wg.Go(calls[i].leave)
		case 7:
			wg.Go(func() { _ = c.SetState([]byte(`{"forget":["a:/x"]}`)) })
		}
	}
	for _, a := range calls {
		<-a.done
	}
	wg.Wait()
	for i, a := range calls {
		if want := fmt.Sprintf("u%d%d", i%3, i%2); a.got() != want && (i%10 != 3 || a.got() != "!canceled") {
			t.Errorf("call %d got %s, want %s", i, a.got(), want)
		}
	}
}
