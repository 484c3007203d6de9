package exchange_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

// list makes a list of nodes.
func list(names ...string) []exchange.NodeRef {
	var out []exchange.NodeRef
	for _, n := range names {
		out = append(out, exchange.NodeRef{ID: n, Name: n, URLs: []string{"ws://" + n}})
	}
	return out
}

func TestSetNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	early := w.connect("early")
	w.SetNodes(nil)
	early.none(t) // nothing has changed
	w.SetNodes(list("a", "b"))
	m := early.want(message.VerbNodes, "", `{"nodes":[{"id":"a","name":"a","urls":["ws://a"]},{"id":"b","name":"b","urls":["ws://b"]}]}`)
	if from := string(m.From); from != "00000000000000000000000000000000@node:/" {
		t.Errorf("from %s", from)
	}
	w.SetNodes(list("a", "b"))
	early.none(t)

	l := &wire{id: "late", got: make(chan message.Message, 10)}
	w.Attach(l, 1<<20)
	hello := l.next(t)
	var body exchange.Welcome
	if err := json.Unmarshal(hello.Body, &body); err != nil || len(body.Nodes) != 2 || body.Nodes[1].URLs[0] != "ws://b" {
		t.Fatalf("%s: %v", hello.Body, err)
	}
	l.none(t)
	w.SetNodes(nil)
	early.want(message.VerbNodes, "", `{"nodes":[]}`)
	if m := l.next(t); m.Verb != message.VerbNodes {
		t.Fatalf("got %s", m.Verb)
	}
	// A client cannot say who is there.
	early.send(`{"vrb":"nodes","mid":"1","bdy":{"nodes":[]}}`)
	early.wantError("1", message.CodeUnknownVerb)
}

// TestWelcomesMissNothing has clients connect while the list changes: the last
// that each of them hears is the last there was.
func TestWelcomesMissNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	const changes = 200
	wg.Go(func() {
		for i := range changes {
			w.SetNodes(list(fmt.Sprint(i)))
		}
	})
	links := make([]*wire, 200)
	for i := range links {
		links[i] = &wire{id: fmt.Sprint("c", i), got: make(chan message.Message, changes+10)}
		w.Attach(links[i], 1<<20)
	}
	wg.Wait()
	for _, l := range links {
		var body exchange.Welcome
		for range len(l.got) {
			body = exchange.Welcome{}
			if err := json.Unmarshal(l.next(t).Body, &body); err != nil {
				t.Fatal(err)
			}
		}
		if len(body.Nodes) != 1 || body.Nodes[0].ID != fmt.Sprint(changes-1) {
			t.Fatalf("%s heard of %v last", l.id, body.Nodes)
		}
	}
}
