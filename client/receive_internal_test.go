package client

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// FuzzReceive gives a client that calls, serves and listens any frame: whatever
// comes, it neither panics nor gives a call two outcomes.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		`{"vrb":"reply","rmid":"m"}` + "\n1", `{"vrb":"part","rmid":"m","seq":1}` + "\n1", `{"vrb":"error","rmid":"m"}` + "\n{}",
		`{"vrb":"call","mid":"1","to":"a:/x","frm":"b@client:/","tmo":1}` + "\n{}", `{"vrb":"call","mid":"1","to":"*:/**"}`,
		`{"vrb":"call","mid":"1","to":"http://x"}`, `{"vrb":"cancel","rmid":"1"}`, `{"vrb":"send","to":"a:/x"}`,
		`{"vrb":"send","to":"x@client:/"}`, `{"vrb":"drain"}`, `{"vrb":"nodes"}` + "\n" + `{"nodes":[{"id":"a","name":"a","urls":["ws://a","x"]}]}`, `{"vrb":"later"}`,
		`{"vrb":"error","rmid":"m","frm":"n@node:/"}` + "\n" + `{"code":"shutting_down","message":"x"}`, `{"vrb":"welcome"}`, `{"rmid":"m","bdy":1}`, `{"vrb":"call","mid":7,"seq":"x"}`,
	} {
		f.Add([]byte(s))
	}
	cfg := defaults()
	cfg.log = slog.New(slog.DiscardHandler)
	cfg.lazy = true
	cfg.dial = func(ctx context.Context, _ *place) (transport, *welcome, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	cfg.onSend = func(context.Context, *route.Request) {}
	c, err := start(context.Background(), []*url.URL{{Scheme: "http", Host: "test"}}, cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	svc := service.New("a")
	svc.HandleFunc("/{x}", func(_ context.Context, req *route.Request, res route.Responder) {
		_ = res.Reply(route.Body{Bytes: req.Message.Body})
	})
	if err := c.register(&registration{service: svc, routes: svc.Routes(), ready: make(chan struct{})}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		w := newWaiter()
		o := &outgoing{msg: message.Message{Verb: message.VerbCall, Mid: []byte("m")}}
		fl := &flight{out: o, mid: "m", sink: w}
		o.flight = fl
		c.mu.Lock()
		cn := &conn{
			tr: newPipe(), lane: c.lane, place: c.roster.places[0], node: "n",
			moved: make(chan struct{}), wire: c.session.connect(0), calls: make(map[string]*served),
		}
		if err := c.session.admit(o); err != nil {
			t.Fatal(err)
		}
		_ = c.session.take(cn.wire, nil, 1<<20)
		c.session.written(cn.wire, nil)
		c.mu.Unlock()
		var m message.Message
		if err := message.DecodeSplit(frame, &m); err != nil {
			c.malformed(cn, &m, err)
		} else {
			c.receive(cn, &m)
		}
		c.abandon(fl, errOffline)
		<-w.done
		c.mu.Lock()
		lost := c.session.drop(cn.wire, errOffline)
		c.mu.Unlock()
		finishAll(lost)
		c.abandonServed(cn, errOffline)
	})
}
