package exchange_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

func TestUnserveAndDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("math:/a")
	s.serve("math:/b")
	s.serve("text:/up")
	s.send(`{"vrb":"unserve","to":"math:/a","mid":"u"}`)
	s.want(message.VerbReply, "u", "")
	c.send(`{"to":"math:/a","mid":"1"}`)
	c.wantError("1", message.CodeServiceDown)
	s.send(`{"vrb":"unserve","to":"math:/**","mid":"u"}`)
	s.want(message.VerbReply, "u", "")
	c.send(`{"to":"math:/b","mid":"2"}`)
	c.wantError("2", message.CodeServiceDown)
	c.send(`{"to":"text:/up","mid":"3"}`)
	m := s.next(t)
	s.send(`{"vrb":"drain"}`)
	c.send(`{"to":"text:/up","mid":"4"}`)
	c.wantError("4", message.CodeServiceDown)
	s.send(`{"rmid":%q,"bdy":"UP"}`, m.Mid)
	c.want(message.VerbReply, "3", `"UP"`)
}

func TestNodeDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.serve("slow:/")
	c.send(`{"to":"slow:/","mid":"1"}`)
	m := s.next(t)
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(context.Background()) }()
	if m := c.next(t); m.Verb != message.VerbDrain {
		t.Fatalf("the client got %s", m.Verb)
	}
	s.next(t)
	c.send(`{"to":"slow:/","mid":"2"}`)
	c.wantError("2", message.CodeShuttingDown)
	s.send(`{"rmid":%q,"bdy":"done"}`, m.Mid)
	c.want(message.VerbReply, "1", `"done"`)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestStrikes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect("c1")
	for range 100 {
		c.Malformed(&message.Message{}, message.NewError(message.CodeBadFrame, "no", ""))
		c.wantError("", message.CodeBadFrame)
	}
	c.Malformed(&message.Message{}, message.NewError(message.CodeBadFrame, "no", ""))
	if c.closed != exchange.CloseProtocol {
		t.Errorf("closed with %d", c.closed)
	}
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &wire{id: "c1", got: make(chan message.Message, 1)}
	w.Attach(l, 4096)
	m := l.next(t)
	var got exchange.Welcome
	if err := json.Unmarshal(m.Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "c1" || got.Node.Name != "test" || got.Limits.Frame != 4096 || got.Limits.Calls != exchange.DefaultMaxCalls {
		t.Errorf("%+v", got)
	}
	if string(m.To) != "c1@client:/" || !strings.HasSuffix(string(m.From), "@node:/") {
		t.Errorf("to %s from %s", m.To, m.From)
	}
}

func TestNodeValidatesForServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := w.connect("c1"), w.connect("s1")
	s.send(`{"vrb":"serve","mid":"s","to":"shop:/price","bdy":{"validate":true,"in":{"type":"object","properties":{"count":{"type":"integer","minimum":1}},"required":["count"]}}}`)
	s.want(message.VerbReply, "s", "")
	for _, body := range []string{`{"count":0}`, `{}`, `null`, `"x"`} {
		c.send(`{"to":"shop:/price","mid":"1","bdy":%s}`, body)
		if err := c.wantError("1", message.CodeInvalidInput); body == `{"count":0}` && err.Path != "/count" {
			t.Errorf("the error names %q", err.Path)
		}
	}
	s.none(t)
	c.send(`{"to":"shop:/*","mid":"1","bdy":{}}`) // no way round
	c.wantError("1", message.CodeInvalidInput)
	c.send(`{"to":"shop:/*","mid":"1","str":"all","bdy":{}}`)
	if g := c.gathered("1"); g.Answers[0].Err == nil || g.Answers[0].Err.Code != message.CodeInvalidInput {
		t.Errorf("%+v", g)
	}
	s.none(t)
	c.send(`{"to":"shop:/price","mid":"2","bdy":{"count":3}}`)
	m := s.next(t)
	s.send(`{"rmid":%q,"bdy":7}`, m.Mid)
	c.want(message.VerbReply, "2", "7")
	s.send(`{"vrb":"serve","mid":"s","to":"shop:/bad","bdy":{"validate":true,"in":{"type":"nothing"}}}`)
	s.wantError("s", message.CodeBadMessage)
}
