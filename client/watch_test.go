package client_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// content answers a subscribe of a state topic.
func (l *link) content(to message.Message, id string, offset uint64, body string) {
	m := message.Message{Verb: message.VerbReply, Rmid: to.Mid, Topic: []byte(id), Epoch: []byte("e"), Offset: offset}
	if body != "" {
		m.Body = []byte(body)
	}
	l.send(m)
}

func (l *link) update(id string, offset uint64, body string) {
	l.send(message.Message{Verb: message.VerbUpdate, Topic: []byte(id), Offset: offset, Body: []byte(body)})
}

// next waits for an update and writes it down: offset and content, or what it is
// instead.
func next(t *testing.T, w *call.Watch) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	u, err := w.Next(ctx)
	switch {
	case err != nil:
		return string(message.CodeOf(err))
	case u.Gap:
		return fmt.Sprint(u.Offset, " gap")
	case u.Fault != nil:
		return fmt.Sprint(u.Offset, " ", u.Fault.Code)
	default:
		return fmt.Sprint(u.Offset, " ", string(u.Body))
	}
}

func wantNext(t *testing.T, w *call.Watch, want ...string) {
	t.Helper()
	for _, text := range want {
		if got := next(t, w); got != text {
			t.Fatalf("got %s, want %s", got, text)
		}
	}
}

// idle checks that nothing waits to be read and that the node was told nothing,
// by a call that would come behind it.
func idle(t *testing.T, c *client.Client, l *link, watches ...*call.Watch) {
	t.Helper()
	got := ask(t.Context(), c, "a:/", nil)
	l.reply(l.want(message.VerbCall), "1")
	recv(t, got, "the answer")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range watches {
		for range 8 { // a token of before may win against the context
			if u, err := w.Next(over); err == nil {
				t.Fatalf("there is an update: %d %s", u.Offset, u.Body)
			}
		}
	}
}

func TestWatchSharesOneSubscription(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	one := c.Watch(t.Context(), "json:/a", call.WithParams(map[string]int{"b": 2, "a": 1}))
	two := c.Watch(t.Context(), "json:/a", call.WithParams(map[string]int{"a": 1, "b": 2}))
	m := l.want(message.VerbSubscribe)
	if string(m.To) != "json:/a" || string(m.Body) != `{"params":{"a":1,"b":2}}` {
		t.Fatalf("%s %s", m.To, m.Body)
	}
	l.content(m, "t1", 1, "1")
	wantNext(t, one, "1 1")
	wantNext(t, two, "1 1")
	if one.Events() || one.Ready(t.Context()) != nil {
		t.Fatal("it is a content, and it is there")
	}
	l.update("t1", 2, "2")
	wantNext(t, one, "2 2")
	wantNext(t, two, "2 2")
	three := c.Watch(t.Context(), "json:/a", call.WithParams(map[string]int{"a": 1, "b": 2}))
	wantNext(t, three, "2 2") // at once
	seen := c.Watch(t.Context(), "json:/a", call.WithParams(map[string]int{"a": 1, "b": 2}),
		call.WithRecover(call.Position{Epoch: "e", Offset: 2}))
	if c.Stats().Topics != 1 {
		t.Fatal(c.Stats().Topics, "topics")
	}
	idle(t, c, l, one, two, three, seen)
	for _, w := range []*call.Watch{one, two, three} {
		_ = w.Close()
	}
	idle(t, c, l, seen)
	_ = seen.Close()
	m = l.want(message.VerbUnsubscribe)
	if string(m.Topic) != "t1" {
		t.Fatalf("%+v", m)
	}
	l.update("t1", 3, "3") // crosses it
	l.reply(m, "null")
	again := c.Watch(t.Context(), "json:/a")
	m = l.want(message.VerbSubscribe)
	if m.Body != nil {
		t.Fatalf("%s", m.Body)
	}
	l.content(m, "t2", 7, `"x"`)
	wantNext(t, again, `7 "x"`)
}

func TestWatchState(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	w := c.Watch(t.Context(), "query:/a.sql", call.WithDelta())
	m := l.want(message.VerbSubscribe)
	if string(m.Body) != `{"delta":["merge","patch","rows"]}` {
		t.Fatalf("%s", m.Body)
	}
	l.content(m, "1", 1, `{"a":1,"b":2}`)
	wantNext(t, w, `1 {"a":1,"b":2}`)
	change := func(offset uint64, contentType, body string) {
		l.send(message.Message{Verb: message.VerbUpdate, Topic: []byte("1"), Offset: offset, ContentType: []byte(contentType), Body: []byte(body)})
	}
	change(1, "application/merge-patch+json", `{"a":9}`) // the reply had it
	change(2, "application/merge-patch+json", `{"b":null}`)
	wantNext(t, w, `2 {"a":1}`)
	change(3, "application/json-patch+json", `[{"op":"add","path":"/c","value":3}]`)
	wantNext(t, w, `3 {"a":1,"c":3}`)
	change(4, "text/plain", "x")
	wantNext(t, w, "4 x")
	l.send(message.Message{Verb: message.VerbUpdate, Topic: []byte("1"), Offset: 5, Fault: true, Body: []byte(`{"code":"source_down","message":"gone"}`)})
	wantNext(t, w, "5 source_down")
	second := c.Watch(t.Context(), "query:/a.sql")
	wantNext(t, second, "5 source_down")
	l.update("1", 6, `{"a":2}`)
	wantNext(t, w, `6 {"a":2}`)
	// What does not fit has the whole content asked for; changes of what is not
	// there are nothing until it comes.
	change(7, "application/json-patch+json", `[{"op":"remove","path":"/zz"}]`)
	m = l.want(message.VerbSubscribe)
	if m.Body != nil {
		t.Fatalf("%s", m.Body)
	}
	change(8, "application/merge-patch+json", `{"a":3}`)
	l.content(m, "1", 8, `{"a":3}`)
	wantNext(t, w, `8 {"a":3}`)
	l.send(message.Message{Verb: message.VerbUpdate, Topic: []byte("1"), Epoch: []byte("f"), Offset: 1, Body: []byte("0")})
	wantNext(t, w, "1 0")
	l.update("1", 2, "1")
	wantNext(t, w, "2 1")
	l.send(message.Message{Verb: message.VerbUnsubscribe, Topic: []byte("1"), Body: []byte(`{"code":"revoked","message":"x","retryable":true}`)})
	m = l.want(message.VerbSubscribe) // it is somebody else's now
	l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Topic: []byte("1"), Epoch: []byte("g"), Offset: 1, Body: []byte(`"mine"`)})
	wantNext(t, w, `1 "mine"`)
	l.send(message.Message{Verb: message.VerbUnsubscribe, Topic: []byte("1"), Body: []byte(`{"code":"revoked","message":"no more"}`)})
	wantNext(t, w, "revoked")
	if message.CodeOf(w.Err()) != message.CodeRevoked || c.Stats().Topics != 0 {
		t.Fatal(w.Err(), c.Stats().Topics)
	}
}

func TestWatchEvents(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	w := c.Watch(t.Context(), "log:/a", call.WithHistory(2))
	plain := c.Watch(t.Context(), "log:/b")
	m := l.want(message.VerbSubscribe)
	if string(m.Body) != `{"history":2}` {
		t.Fatalf("%s", m.Body)
	}
	l.content(m, "a", 3, "")
	l.update("a", 4, "4")
	l.update("a", 5, "5")
	wantNext(t, w, "4 4", "5 5")
	if !w.Events() {
		t.Fatal("it has events")
	}
	l.content(l.want(message.VerbSubscribe), "b", 9, "")
	if err := plain.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	idle(t, c, l, plain)
	late := c.Watch(t.Context(), "log:/b") // nothing of before, at once
	if err := late.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Whoever wants more has it asked for; the others see nothing twice.
	more := c.Watch(t.Context(), "log:/b", call.WithHistory(5))
	m = l.want(message.VerbSubscribe)
	l.content(m, "b", 7, "")
	since := c.Watch(t.Context(), "log:/b", call.WithRecover(call.Position{Epoch: "e", Offset: 6}))
	l.update("b", 8, "8")
	l.update("b", 9, "9")
	m = l.want(message.VerbSubscribe)
	if string(m.Body) != `{"recover":{"epoch":"e","offset":6}}` {
		t.Fatalf("%s", m.Body)
	}
	l.content(m, "b", 7, "")
	for i := uint64(8); i <= 10; i++ {
		l.update("b", i, fmt.Sprint(i))
	}
	wantNext(t, plain, "10 10")
	wantNext(t, late, "10 10")
	wantNext(t, more, "8 8", "9 9", "10 10")
	wantNext(t, since, "7 gap", "8 8", "9 9", "10 10")
	l.send(message.Message{Verb: message.VerbGap, Topic: []byte("b"), Offset: 15})
	l.update("b", 16, "16")
	wantNext(t, more, "15 gap", "16 16")
	// A wish that is refused ends only its watch.
	bad := c.Watch(t.Context(), "log:/b", call.WithHistory(5))
	l.fail(l.want(message.VerbSubscribe), message.CodeInvalidInput)
	wantNext(t, bad, "invalid_input")
	l.update("b", 17, "17")
	wantNext(t, more, "17 17")
}

// TestWatchPlainBesideHistory has somebody join who wants nothing of the past
// while the past is asked for.
func TestWatchPlainBesideHistory(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	past := c.Watch(t.Context(), "log:/a", call.WithHistory(1))
	m := l.want(message.VerbSubscribe)
	now := c.Watch(t.Context(), "log:/a")
	l.content(m, "a", 1, "")
	l.update("a", 2, "2")
	m = l.want(message.VerbSubscribe)
	if m.Body != nil {
		t.Fatalf("%s", m.Body)
	}
	l.content(m, "a", 2, "")
	l.update("a", 3, "3")
	wantNext(t, past, "2 2", "3 3")
	wantNext(t, now, "3 3")
}

func TestWatchPattern(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	w := c.Watch(t.Context(), "log:/**")
	l.content(l.want(message.VerbSubscribe), "p", 0, "")
	for i, to := range []string{"log:/a", "log:/b"} {
		l.send(message.Message{Verb: message.VerbUpdate, Topic: []byte("p"), To: []byte(to), Offset: uint64(5 * (i + 1)), Body: []byte("1"),
			Publisher: []byte(`{"client":"c"}`)})
		u, err := w.Next(t.Context())
		if err != nil || u.Address != to || string(u.Publisher) != `{"client":"c"}` {
			t.Fatalf("%+v, %v", u, err)
		}
	}
	l.drop()
	l = s.next()
	m := l.want(message.VerbSubscribe)
	if string(m.Body) != `{"recover":{"epoch":"e","offset":10}}` {
		t.Fatalf("%s", m.Body)
	}
	l.content(m, "q", 12, "")
	wantNext(t, w, "12 gap")
}

func TestWatchAfterReconnect(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	state, events, failing := c.Watch(t.Context(), "json:/a"), c.Watch(t.Context(), "log:/a"), c.Watch(t.Context(), "json:/b")
	l.content(l.want(message.VerbSubscribe), "1", 4, `"a"`)
	l.content(l.want(message.VerbSubscribe), "2", 9, "")
	l.content(l.want(message.VerbSubscribe), "3", 1, `"b"`)
	l.update("2", 10, "10")
	wantNext(t, state, `4 "a"`)
	wantNext(t, events, "10 10")
	wantNext(t, failing, `1 "b"`)

	l.drop()
	l = s.next()
	asked := map[string]message.Message{}
	for range 3 {
		m := l.want(message.VerbSubscribe)
		asked[string(m.To)] = m
	}
	if got := string(asked["json:/a"].Body) + string(asked["log:/a"].Body); got != `{"recover":{"epoch":"e","offset":4}}{"recover":{"epoch":"e","offset":10}}` {
		t.Fatal(got)
	}
	l.content(asked["json:/a"], "7", 4, "") // it has not changed
	l.content(asked["log:/a"], "8", 10, "")
	l.update("8", 11, "11")
	l.fail(asked["json:/b"], message.CodeNoService) // its server is not back yet
	wantNext(t, failing, "0 no_service")
	wantNext(t, events, "11 11")
	m := l.want(message.VerbSubscribe)
	l.fail(m, message.CodeServiceDown)
	m = l.want(message.VerbSubscribe)
	l.content(m, "9", 1, "") // as it was
	wantNext(t, failing, `1 "b"`)
	idle(t, c, l, state, events, failing)
	l.update("7", 5, `"c"`)
	wantNext(t, state, `5 "c"`)

	l.drop()
	l = s.next()
	for range 3 {
		switch m := l.want(message.VerbSubscribe); string(m.To) {
		case "json:/a":
			l.send(message.Message{Verb: message.VerbReply, Rmid: m.Mid, Topic: []byte("1"), Epoch: []byte("f"), Offset: 1, Body: []byte("0")})
		case "log:/a":
			l.content(m, "2", 20, "") // not all are kept
			l.update("2", 21, "21")
		default:
			l.fail(m, message.CodeForbidden)
		}
	}
	wantNext(t, state, "1 0")
	wantNext(t, events, "20 gap", "21 21")
	wantNext(t, failing, "forbidden")
}

func TestWatchBeforeTheConnection(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	s.setRefuse(refuse503)
	l.drop()
	until(t, c, client.Offline)
	w := c.Watch(t.Context(), "json:/a")
	short, cancel := context.WithCancel(t.Context())
	gone := c.Watch(short, "json:/b")
	cancel()
	wantNext(t, gone, "canceled")
	eventually(t, "it to be forgotten", func() bool { return c.Stats().Topics == 1 })
	s.setRefuse(nil)
	l = s.next()
	l.content(l.want(message.VerbSubscribe), "1", 1, "1")
	wantNext(t, w, "1 1")
	_ = c.Close()
	wantNext(t, w, "canceled")
	wantNext(t, c.Watch(t.Context(), "json:/a"), "not_ready")
}

func TestWatchIsTakenBack(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	w := c.Watch(t.Context(), "query:/slow.sql")
	m := l.want(message.VerbSubscribe)
	_ = w.Close()
	if got := l.want(message.VerbCancel); string(got.Rmid) != string(m.Mid) {
		t.Fatalf("%+v", got)
	}
	l.fail(m, message.CodeCanceled)
	eventually(t, "it to be forgotten", func() bool { return c.Stats().Topics == 0 })

	// The reply crosses the cancel.
	w = c.Watch(t.Context(), "query:/slow.sql")
	m = l.want(message.VerbSubscribe)
	_ = w.Close()
	l.want(message.VerbCancel)
	l.content(m, "1", 1, "1")
	l.want(message.VerbUnsubscribe)
	eventually(t, "it to be forgotten", func() bool { return c.Stats().Topics == 0 })

	// Somebody else wants it meanwhile.
	w = c.Watch(t.Context(), "query:/slow.sql")
	m = l.want(message.VerbSubscribe)
	_ = w.Close()
	l.want(message.VerbCancel)
	w = c.Watch(t.Context(), "query:/slow.sql")
	l.fail(m, message.CodeCanceled)
	l.content(l.want(message.VerbSubscribe), "1", 1, "1")
	wantNext(t, w, "1 1")
}

func TestWatchRefused(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	for _, code := range []message.Code{message.CodeNoService, message.CodeForbidden, message.CodeNotFound, message.CodeServiceDown} {
		w := c.Watch(t.Context(), "json:/a")
		l.fail(l.want(message.VerbSubscribe), code)
		wantNext(t, w, string(code))
		wantCode(t, w.Ready(t.Context()), code)
	}
	wantNext(t, c.Watch(t.Context(), "nothing"), "bad_address")
	wantNext(t, c.Watch(t.Context(), "json:/a", call.WithParams(1)), "invalid_input")
	wantNext(t, c.Watch(t.Context(), "json:/a", call.WithParams(strings.Repeat("x", 10))), "invalid_input")
	wantNext(t, c.Watch(t.Context(), "json:/a", call.WithParams(map[string]string{"a": strings.Repeat("x", 2<<20)})), "too_large")
	if c.Stats().Topics != 0 {
		t.Fatal("a topic is left")
	}
}

func TestWatchWhenTheNodeDrains(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	c, l := dial(t, nodes[0])
	w := c.Watch(t.Context(), "log:/a")
	l.content(l.want(message.VerbSubscribe), "1", 1, "")
	l.update("1", 2, "2")
	wantNext(t, w, "2 2")
	l.send(message.Message{Verb: message.VerbDrain})
	other := nodes[1].next()
	m := other.want(message.VerbSubscribe)
	if string(m.Body) != `{"recover":{"epoch":"e","offset":2}}` {
		t.Fatalf("%s", m.Body)
	}
	l.update("1", 3, "3") // comes by the other, too
	other.content(m, "9", 2, "")
	other.update("9", 3, "3")
	other.update("9", 4, "4")
	wantNext(t, w, "3 3", "4 4")
}

func TestWatchOfANodeThatStops(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c, l := dial(t, s)
	w := c.Watch(t.Context(), "log:/a")
	l.fail(l.want(message.VerbSubscribe), message.CodeShuttingDown)
	m := l.want(message.VerbSubscribe) // again, after a while
	l.content(m, "1", 1, "")
	l.send(message.Message{Verb: message.VerbUnsubscribe, Topic: []byte("1"), Body: []byte(`{"code":"shutting_down","message":"x"}`)})
	l.content(l.want(message.VerbSubscribe), "2", 1, "")
	l.update("2", 2, "2")
	wantNext(t, w, "2 2")
}
