package exchange_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// The gathers of one connection ask a bounded number of servers at a time.
func TestGathersInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *exchange.Config) { c.MaxCalls = 2 })
	c, s := w.connect("c1"), w.connect("s1")
	for i := range 20 {
		s.serve(fmt.Sprintf("x:/%d", i))
	}
	c.send(`{"to":"x:/*","mid":"1","str":"all"}`)
	c.send(`{"to":"x:/*","mid":"2","str":"all"}`)
	c.wantError("2", message.CodeTooManyCalls)
	for range 20 {
		s.send(`{"vrb":"reply","rmid":%q}`, s.next(t).Mid)
	}
	if m := c.next(t); m.Verb != message.VerbReply {
		t.Errorf("%s %s", m.Verb, m.Body)
	}
	c.send(`{"to":"x:/*","mid":"3","str":"all"}`)
	s.next(t)
	c.none(t)
}

// A middleware may send a copy of the request on, later, after it kept that.
func TestCopiedRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var going sync.WaitGroup
	err := w.Stack().Insert(route.StageServe, route.Entry{Name: "later", Kind: "later", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			own := *req
			own.Keep()
			going.Go(func() { next.Handle(ctx, &own, res) })
		})
	}}, route.Last())
	if err != nil {
		t.Fatal(err)
	}
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("x:/")
	for i := range 2000 {
		c.send(`{"to":"x:/","mid":"%d","bdy":1}`, i)
		c.send(`{"vrb":"cancel","rmid":"%d"}`, i)
		c.wantError(fmt.Sprint(i), message.CodeCanceled)
		if i%50 == 0 {
			going.Wait()
			for len(s.got) > 0 {
				s.next(t)
			}
		}
	}
	going.Wait()
	if n := s.Info().Answering; n != 0 {
		t.Errorf("%d calls were left with the server", n)
	}
}
