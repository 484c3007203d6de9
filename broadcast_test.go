package ropewalk_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// A broadcast is encoded once for each framing, and all get the same; a body
// that has no place in a JSON frame still reaches the others.
func TestBroadcastOverTheWire(t *testing.T) {
	t.Parallel()
	const clients = 10
	_, url := startNode(t)
	got := map[string]chan string{"json": make(chan string, 4*clients), "split": make(chan string, 4*clients), "packed": make(chan string, 4*clients)}
	for kind, bodies := range got {
		for range clients {
			opts := []client.Option{client.WithOnSend(func(_ context.Context, req *ropewalk.Request) { bodies <- string(req.Message.Body) })}
			switch kind {
			case "json":
				opts = append(opts, client.WithJSON())
			case "packed":
				opts = append(opts, client.WithCompression())
			}
			dial(t, url, opts...)
		}
	}
	sender := dialRaw(t.Context(), t, url)
	if m, err := sender.next(); err != nil || m.Verb != message.VerbWelcome {
		t.Fatalf("%s, %v", m.Verb, err)
	}
	for _, body := range []string{`"` + strings.Repeat("x", 5000) + `"`, `{"a":1}`} {
		if err := sender.send(`{"vrb":"send","to":"*@client:/","mid":"1","ack":true,"bdy":` + body + `}`); err != nil {
			t.Fatal(err)
		}
		if m, err := sender.next(); err != nil || m.Verb != message.VerbReply {
			t.Fatalf("%s %s, %v", m.Verb, m.Body, err)
		}
		for kind, bodies := range got {
			for range clients {
				if g := <-bodies; g != body {
					t.Fatalf("a %s client got %.20q", kind, g)
				}
			}
		}
	}
}
