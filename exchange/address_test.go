package exchange_test

import (
	"context"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
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

// adminOnly is a Guard: everybody may do all but admin, which takes a claim.
type adminOnly struct{}

func (adminOnly) Permits(_ route.Peer, s *session.Session, act string, a message.Address) *message.Error {
	if _, ok := s.Claim("admin"); ok || act != exchange.ActAdmin {
		return nil
	}
	return message.NewError(message.CodeForbidden, "may not "+act+" "+a.String(), "Have the claim.")
}

func (g adminOnly) Might(p route.Peer, s *session.Session, act string, a message.Address) bool {
	return g.Permits(p, s, act, a) == nil
}

// What another node shows to those who may change it ends for who may not any
// more, also if the call has a key.
func TestStreamOfAnotherNodeEndsWithThePermission(t *testing.T) {
	t.Parallel()
	for name, hdr := range map[string]string{"plain": `{}`, "idempotency": `{"idempotency-key":"k"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMesh(t, 2, false, guardedBy(adminOnly{}), func(c *exchange.Config) {
				c.Stack = route.NewStack()
				insert(t, c.Stack, route.StageCall, "idempotency", middleware.Idempotency(nil, nil, middleware.IdempotencyConfig{}))
			})
			s := service.New("node")
			s.Handle("/tap", service.Stream(func(ctx context.Context, _ struct{}, send func(string) error) (string, error) {
				if err := send("seen"); err != nil {
					return "", err
				}
				<-ctx.Done()
				return "", context.Cause(ctx)
			}))
			w.nodes[1].local(s)
			w.announce()
			c := w.connect(0)
			c.SetSession(holder("anna", "admin"))
			c.send(`{"to":"%s@node:/tap","mid":"1","hdr":%s,"bdy":{}}`, w.ids[1], hdr)
			c.want(message.VerbPart, "1", `"seen"`)
			c.SetSession(holder("anna"))
			c.wantError("1", message.CodeForbidden)
			w.still()
		})
	}
}
