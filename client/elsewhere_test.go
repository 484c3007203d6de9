package client_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// scripts makes nodes that tell of each other.
func scripts(t *testing.T, names ...string) []*script {
	t.Helper()
	list := make([]*script, len(names))
	for i, name := range names {
		list[i] = newScript(t)
		list[i].name = name
	}
	for _, s := range list {
		s.nodes = nodesOf(list...)
	}
	return list
}

// nodesOf is a list of nodes as they tell it.
func nodesOf(list ...*script) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf(`{"id":%q,"name":"test","urls":[%q]}`, s.name, s.url()))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// down has a node refuse connections as a proxy does whose server is gone.
func (s *script) down() {
	s.setRefuse(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
}

// never is a backoff that no test waits for: only hops come in time.
var never = client.WithBackoff(time.Hour, time.Hour)

// drains says that the node drains.
func (l *link) drains() { l.send(message.Message{Verb: message.VerbDrain}) }

func TestComesBackElsewhere(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	c, l := dial(t, nodes[0], never)
	if n := c.Node(); n.ID != "a" || n.Name != "test" || n.URL != nodes[0].url()+"/" {
		t.Fatalf("%+v", n)
	}
	svc := service.New("math")
	svc.HandleFunc("/x", func(_ context.Context, _ *route.Request, res route.Responder) { _ = res.Reply(route.JSON([]byte("1"))) })
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), svc) }()
	l.reply(l.want(message.VerbServe), "null")
	if err := recv(t, served, "the service"); err != nil {
		t.Fatal(err)
	}
	once := ask(t.Context(), c, "a:/once", nil)
	l.want(message.VerbCall)
	again := ask(t.Context(), c, "a:/again", nil, call.WithIdempotent())
	first := l.want(message.VerbCall)

	nodes[0].down()
	l.drop()
	wantCode(t, recv(t, once, "the call").err, message.CodeConnectionLost)
	l = nodes[1].next()
	if m := l.want(message.VerbServe); string(m.To) != "math:/x" {
		t.Fatalf("served %s", m.To)
	}
	m := l.want(message.VerbCall)
	if string(m.Mid) != string(first.Mid) {
		t.Fatal("sent again with another mid")
	}
	l.reply(m, "1")
	if o := recv(t, again, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
	if n := c.Node(); n.ID != "b" {
		t.Fatalf("%+v", n)
	}
	l.send(message.Message{Verb: message.VerbCall, Mid: []byte("1"), To: []byte("math:/x"), From: []byte("x@client:/")})
	if m := l.want(message.VerbReply); string(m.Rmid) != "1" {
		t.Fatalf("answered %s", m.Rmid)
	}
}

func TestMovesBeforeADrainingNodeIsGone(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	states := make(chan client.State, 100)
	release := make(chan struct{})
	svc := service.New("math")
	svc.HandleFunc("/slow", func(_ context.Context, _ *route.Request, res route.Responder) {
		<-release
		_ = res.Reply(route.JSON([]byte("2")))
	})
	c, old := dial(t, nodes[0], never, client.WithOnState(func(st client.State) { states <- st }))
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), svc) }()
	old.reply(old.want(message.VerbServe), "null")
	if err := recv(t, served, "the service"); err != nil {
		t.Fatal(err)
	}
	before := ask(t.Context(), c, "a:/before", nil)
	asked := old.want(message.VerbCall)
	old.send(message.Message{Verb: message.VerbCall, Mid: []byte("1"), To: []byte("math:/slow"), From: []byte("x@client:/")})

	old.drains()
	l := nodes[1].next()
	l.reply(l.want(message.VerbServe), "null")
	after := ask(t.Context(), c, "a:/after", nil)
	l.reply(l.want(message.VerbCall), "3")
	if o := recv(t, after, "the new answer"); o.err != nil {
		t.Fatal(o.err)
	}
	// A node may give two calls the same id, on two connections.
	l.send(message.Message{Verb: message.VerbCall, Mid: []byte("1"), To: []byte("math:/slow"), From: []byte("x@client:/")})
	// The old node is told to send nothing more, now that the new one knows.
	old.want(message.VerbDrain)
	over := old.want(message.VerbUnserve)
	close(release)
	for _, at := range []*link{old, l} {
		if m := at.want(message.VerbReply); string(m.Rmid) != "1" || string(m.Body) != "2" {
			t.Fatalf("%s %s", m.Rmid, m.Body)
		}
	}
	old.reply(asked, "1")
	if o := recv(t, before, "the old answer"); o.err != nil || string(o.answer.Body) != "1" {
		t.Fatal(o.err)
	}
	// A call that was on its way is answered still, and one that nearly was.
	for _, mid := range []string{"2", "3"} {
		old.send(message.Message{Verb: message.VerbCall, Mid: []byte(mid), To: []byte("math:/slow"), From: []byte("x@client:/")})
		old.want(message.VerbReply)
		old.fail(over, message.CodeShuttingDown)
	}
	if err := recv(t, old.ended, "the end of the old connection"); websocket.CloseStatus(err) != 1001 {
		t.Fatal(err)
	}
	for _, want := range []client.State{client.Connecting, client.Online, client.Draining, client.Online} {
		if got := recv(t, states, "a state"); got != want {
			t.Fatalf("state %v, want %v", got, want)
		}
	}
	if n := c.Node(); n.ID != "b" || len(old.got) != 0 {
		t.Fatalf("%+v, and %d messages by the old connection", n, len(old.got))
	}
}

func TestCancelsGoToWhereTheCallIs(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	c, old := dial(t, nodes[0], never)
	ctx, cancel := context.WithCancel(t.Context())
	got := ask(ctx, c, "a:/", nil)
	asked := old.want(message.VerbCall)
	old.drains()
	l := nodes[1].next()
	until(t, c, client.Online)
	cancel()
	if m := old.want(message.VerbCancel); string(m.Rmid) != string(asked.Mid) {
		t.Fatalf("canceled %s", m.Rmid)
	}
	wantCode(t, recv(t, got, "the call").err, message.CodeCanceled)
	old.fail(asked, message.CodeCanceled)
	if err := recv(t, old.ended, "the end of the old connection"); websocket.CloseStatus(err) != 1001 {
		t.Fatal(err)
	}
	if len(l.got) != 0 {
		t.Fatal("the new node heard of it")
	}
}

// A node refuses what was under way when it began to drain. Nothing of it was
// done, so it goes to the next.
func TestRefusedByDrainIsSentAgain(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	c, old := dial(t, nodes[0], never)
	first := ask(t.Context(), c, "a:/", 1)
	m1 := old.want(message.VerbCall)
	other := ask(t.Context(), c, "a:/", 3) // a service says the same, which is another matter
	m2 := old.want(message.VerbCall)
	old.send(message.Message{Verb: message.VerbError, Rmid: m2.Mid, From: []byte("s@a:/"),
		Body: message.AppendError(nil, message.NewError(message.CodeShuttingDown, "the service is stopping", ""))})
	wantCode(t, recv(t, other, "the call").err, message.CodeShuttingDown)
	noWait := ask(t.Context(), c, "a:/", 2, call.WithNoWait())
	m3 := old.want(message.VerbCall)
	for _, m := range []message.Message{m3, m1} {
		old.send(message.Message{Verb: message.VerbError, Rmid: m.Mid, From: []byte("a@node:/"),
			Body: message.AppendError(nil, message.NewError(message.CodeShuttingDown, "the node is stopping", ""))})
	}
	wantCode(t, recv(t, noWait, "the call that does not wait").err, message.CodeShuttingDown)
	l := nodes[1].next()
	m := l.want(message.VerbCall)
	if string(m.Mid) != string(m1.Mid) || string(m.Body) != "1" {
		t.Fatalf("got %s %s", m.Mid, m.Body)
	}
	l.reply(m, "1")
	if o := recv(t, first, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
}

func TestDrainingWithNowhereElseToGo(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	nodes[1].down()
	c, old := dial(t, nodes[0])
	got := ask(t.Context(), c, "a:/", nil)
	asked := old.want(message.VerbCall)
	old.drains()
	// The other node refuses, so it goes where it was, and leaves the old
	// connection when its answer is in.
	l := nodes[0].next()
	old.reply(asked, "1")
	if o := recv(t, got, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
	recv(t, old.ended, "the end of the old connection")
	next := ask(t.Context(), c, "a:/", nil)
	l.reply(l.want(message.VerbCall), "2")
	if o := recv(t, next, "the answer"); o.err != nil {
		t.Fatal(o.err)
	}
}

func TestFollowsOnlyIfItMay(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	c, l := dial(t, nodes[0], client.WithoutFollow())
	l.drop()
	nodes[0].next()
	until(t, c, client.Online)
	if len(nodes[1].conns) != 0 {
		t.Fatal("it followed")
	}
}

func TestTheListChanges(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b", "c")
	nodes[0].nodes = ""
	_, l := dial(t, nodes[0], never)
	l.raw(websocket.MessageBinary, []byte(`{"vrb":"later"}`)) // a verb of a later version
	for _, body := range []string{`{"nodes":` + nodesOf(nodes...) + `}`, `7`, `{"nodes":` + nodesOf(nodes[0], nodes[2]) + `}`} {
		l.send(message.Message{Verb: message.VerbNodes, From: []byte("a@node:/"), Body: []byte(body)})
	}
	nodes[0].down()
	l.drains()
	_ = l.ws.Close(websocket.StatusGoingAway, "bye")
	nodes[2].next()
	if len(nodes[1].conns) != 0 {
		t.Fatal("it went to a node that is gone")
	}
}

func TestSeveralURLs(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	for _, s := range nodes {
		s.nodes = ""
	}
	nodes[0].down()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, nodes[0].url(), client.WithURLs(nodes[1].url()), client.WithLogger(quiet),
		client.WithBackoff(time.Millisecond, 20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := nodes[1].next()
	nodes[1].down()
	nodes[0].setRefuse(nil)
	l.drop()
	nodes[0].next()
	until(t, c, client.Online)

	nodes[0].down()
	nodes[1].down()
	_, err = client.Dial(ctx, nodes[0].url(), client.WithURLs(nodes[1].url()), client.WithLogger(quiet))
	wantCode(t, err, message.CodeNotReady)
	_, err = client.Dial(ctx, nodes[0].url(), client.WithURLs("nonsense"), client.WithLogger(quiet))
	wantCode(t, err, message.CodeBadAddress)
}

// What a node says that the program did not choose does not end the client.
func TestARefusalElsewhereIsNotTheEnd(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	nodes[1].setRefuse(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `{"code":"forbidden","message":"not here"}`)
	})
	c, l := dial(t, nodes[0])
	l.drop()
	nodes[0].next()
	until(t, c, client.Online)
}

// The clients of a node that is lost spread over the others.
func TestSpread(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b", "c", "d")
	const clients = 60
	var links []*link
	for range clients {
		_, l := dial(t, nodes[0], never)
		links = append(links, l)
	}
	nodes[0].down()
	for _, l := range links {
		l.drop()
	}
	count := func() (n []int) {
		for _, s := range nodes[1:] {
			s.mu.Lock()
			n = append(n, s.count)
			s.mu.Unlock()
		}
		return n
	}
	eventually(t, "all clients elsewhere", func() bool { n := count(); return n[0]+n[1]+n[2] == clients })
	for _, n := range count() {
		if n < clients/10 {
			t.Errorf("%v", count())
		}
	}
}
