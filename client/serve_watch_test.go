package client_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// ticker is a service with a path that can be watched: what it is given is its
// content.
func ticker() (*service.Service, chan int, chan struct{}) {
	news, left := make(chan int), make(chan struct{}, 10)
	s := service.New("ticker")
	s.Handle("/{symbol}", service.Watch(func(ctx context.Context, in struct {
		Symbol string `path:"symbol"`
	}, set func(string) error) error {
		for {
			select {
			case n := <-news:
				if n < 0 {
					return message.NewError(message.CodeSourceDown, "gone", "")
				}
				_ = set(in.Symbol + string(rune('0'+n)))
			case <-ctx.Done():
				left <- struct{}{}
				return ctx.Err()
			}
		}
	}), service.OnPublish(service.Handle(func(_ context.Context, n int) (int, error) {
		news <- n
		return n, nil
	})), service.WithTopic(route.Topic{History: route.History{Count: 3, Age: duration.Duration(time.Minute)}}))
	return s, news, left
}

func TestServeWatchable(t *testing.T) {
	t.Parallel()
	nodes := scripts(t, "a", "b")
	c, l := dial(t, nodes[0])
	s, news, left := ticker()
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), s) }()
	m := l.want(message.VerbServe)
	var body struct {
		Topic *route.Topic `json:"topic"`
	}
	decodeBody(t, m, &body)
	if body.Topic == nil || body.Topic.History.Count != 3 || body.Topic.History.Age != duration.Duration(time.Minute) {
		t.Fatalf("%s", m.Body)
	}
	l.reply(m, "{}")
	if err := recv(t, served, "the service"); err != nil {
		t.Fatal(err)
	}
	request := func(verb message.Verb, mid, body string) {
		m := message.Message{Verb: verb, To: []byte("ticker:/A"), From: []byte("n@node:/"), Mid: []byte(mid), Timeout: 10 * time.Second}
		if verb == message.VerbSubscribe {
			m.Timeout = 0
		}
		if body != "" {
			m.Body = []byte(body)
		}
		l.send(m)
	}
	request(message.VerbSubscribe, "w", `{"params":{}}`)
	news <- 1
	if m := l.want(message.VerbPart); string(m.Rmid) != "w" || string(m.Body) != `"A1"` || m.Fault {
		t.Fatalf("%+v", m)
	}
	request(message.VerbGet, "g", "")
	if m := l.want(message.VerbReply); string(m.Rmid) != "g" || string(m.Body) != `"A1"` {
		t.Fatalf("%+v", m)
	}
	request(message.VerbPublish, "p", "2")
	for range 2 {
		m := l.recv()
		if m.Verb == message.VerbPart && string(m.Body) != `"A2"` || m.Verb == message.VerbReply && string(m.Rmid) != "p" {
			t.Fatalf("%+v", m)
		}
	}
	news <- -1
	if m := l.want(message.VerbPart); !m.Fault || message.DecodeError(m.Body).Code != message.CodeSourceDown {
		t.Fatalf("%+v", m)
	}
	l.send(message.Message{Verb: message.VerbCancel, Rmid: []byte("w")})
	request(message.VerbSubscribe, "w2", "")
	news <- 3 // of the second run: the first has ended
	if m := l.want(message.VerbPart); string(m.Rmid) != "w2" {
		t.Fatalf("%+v", m)
	}

	// What is watched does not keep the client at a node that drains.
	l.send(message.Message{Verb: message.VerbDrain})
	other := nodes[1].next()
	other.reply(other.want(message.VerbServe), "{}")
	l.want(message.VerbDrain)
	l.reply(l.want(message.VerbUnserve), "{}")
	recv(t, l.ended, "the end of the first connection")
	recv(t, left, "the end of the second run")
}

// TestServeNoTopic has a path that can only be called asked with other verbs.
func TestServeNoTopic(t *testing.T) {
	t.Parallel()
	c, l := dial(t, newScript(t))
	s := service.New("math")
	s.Handle("/one", service.Handle(func(context.Context, any) (int, error) { return 1, nil }))
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), s) }()
	l.reply(l.want(message.VerbServe), "{}")
	if err := recv(t, served, "the service"); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []message.Verb{message.VerbGet, message.VerbSubscribe, message.VerbPublish} {
		l.send(message.Message{Verb: verb, To: []byte("math:/one"), Mid: []byte("1"), From: []byte("n@node:/"), Body: []byte("2")})
		if m := l.want(message.VerbError); message.DecodeError(m.Body).Code != message.CodeUnimplemented {
			t.Fatalf("%s: %s", verb, m.Body)
		}
	}
	l.send(message.Message{Verb: message.VerbCall, To: []byte("math:/one"), Mid: []byte("2"), From: []byte("n@node:/")})
	if m := l.want(message.VerbReply); string(m.Body) != "1" {
		t.Fatalf("%s", m.Body)
	}
}

func decodeBody(t *testing.T, m message.Message, v any) {
	t.Helper()
	if err := json.Unmarshal(m.Body, v); err != nil {
		t.Fatalf("%s: %v", m.Body, err)
	}
}
