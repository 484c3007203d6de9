package exchange_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

func fallingBack(t testing.TB, routes map[string]middleware.FallbackRoute) route.Entry {
	t.Helper()
	return route.Entry{Name: "fallback", Kind: route.KindFallback, Middleware: middleware.Fallback(nil, nil, middleware.FallbackConfig{Routes: routes})}
}

// A call ends when its caller may not call what it has come to any more, whoever
// answers it and whatever stands between.
func TestStreamEndsWithThePermission(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stage route.Stage
		entry route.Entry
		hdr   string
		call  string // what is called, and comes to vault:/
	}{
		"as called": {call: "vault:/"},
		"another address": {route.StageInbound, fallingBack(t, map[string]middleware.FallbackRoute{
			"shop:/": {To: []string{"vault:/"}, Codes: []string{"no_service"}},
		}), `{}`, "shop:/"},
		"idempotency": {route.StageCall, route.Entry{
			Name: "i", Middleware: middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{}),
		}, `{"idempotency-key":"k"}`, "vault:/"},
		"cache": {route.StageCall, route.Entry{Name: "c", Middleware: middleware.NewCache(nil, nil, middleware.CacheConfig{
			Routes: map[string]middleware.CacheRoute{"vault:/": {}},
		}).Middleware()}, `{}`, "vault:/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, guardedBy(byClaim{free: "shop"}))
			if c.stage != "" {
				if err := w.Stack().Insert(c.stage, c.entry, route.Last()); err != nil {
					t.Fatal(err)
				}
			}
			server, client := w.connect("s1"), w.connect("c1")
			server.serve("vault:/")
			client.SetSession(holder("anna", "vault"))
			hdr := c.hdr
			if hdr == "" {
				hdr = "{}"
			}
			client.send(`{"to":%q,"mid":"1","hdr":%s}`, c.call, hdr)
			asked := server.next(t)
			server.send(`{"vrb":"part","rmid":%q,"bdy":1}`, asked.Mid)
			client.want(message.VerbPart, "1", "1")
			client.SetSession(holder("anna", "lang"))
			client.wantError("1", message.CodeForbidden)
			server.want(message.VerbCancel, string(asked.Mid), "")
			w.idle()
		})
	}
}
