package ropewalk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/topic"
)

// shape is a service with one topic, that gives one content or event.
func shape(events bool, body string, more ...service.HandleOption) *ropewalk.Service {
	f := func(ctx context.Context, _ struct{}, give func(route.Body) error) error {
		if err := give(route.Body{Bytes: []byte(body)}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	svc := ropewalk.NewService("shape")
	h := service.Watch(f)
	if events {
		h = service.Events(f)
	}
	svc.Handle("/x", h, more...)
	return svc
}

// lastOf is why a watch ends.
func lastOf(t *testing.T, w *call.Watch) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, err := w.Next(ctx); err != nil {
			return err
		}
	}
}

// A topic whose route is of another kind than before is another topic: clients
// watch it anew, and a watch from inside ends.
func TestTopicOfAnotherKind(t *testing.T) {
	t.Parallel()
	for _, events := range []bool{true, false} {
		t.Run(fmt.Sprintf("events %t", events), func(t *testing.T) {
			t.Parallel()
			n, url := startNode(t)
			server, c := dial(t, url), dial(t, url)
			first := shape(!events, "1")
			if err := server.Serve(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			w, inside := c.Watch(t.Context(), "shape:/x"), n.Watch(t.Context(), "shape:/x")
			ready(t, w)
			ready(t, inside)
			if err := server.Unserve(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			if err := server.Serve(t.Context(), shape(events, "2")); err != nil {
				t.Fatal(err)
			}
			for u := next(t, w); string(u.Body) != "2"; {
				u = next(t, w)
			}
			list, err := ropewalk.Call[[]topic.Info](t.Context(), c, "node:/topics", nil)
			if err != nil || len(list) != 1 || (list[0].Kind == topic.KindEvents) != events {
				t.Errorf("%+v, %v", list, err)
			}
			wantCode(t, lastOf(t, inside), message.CodeRevoked)
		})
	}
}

// A route that cannot be watched any more ends the watches of its topics.
func TestTopicThatIsNoneAnyMore(t *testing.T) {
	t.Parallel()
	_, url := startNode(t)
	server, c := dial(t, url), dial(t, url)
	first := shape(false, "1")
	if err := server.Serve(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w := c.Watch(t.Context(), "shape:/x")
	ready(t, w)
	if err := server.Unserve(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	calls := ropewalk.NewService("shape")
	calls.Handle("/x", ropewalk.Handle(func(context.Context, struct{}) (int, error) { return 1, nil }))
	if err := server.Serve(t.Context(), calls); err != nil {
		t.Fatal(err)
	}
	wantCode(t, lastOf(t, w), message.CodeRevoked)
}

// A route may keep who watches from some time on, and no more.
func TestPresenceIsSwitched(t *testing.T) {
	t.Parallel()
	n, url := startNode(t)
	server, c := dial(t, url), dial(t, url)
	var w *call.Watch
	for _, on := range []bool{false, true, false, true} {
		svc := shape(false, fmt.Sprint(on), service.WithTopic(route.Topic{Presence: on}))
		if err := server.Serve(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
		if w == nil {
			w = c.Watch(t.Context(), "shape:/x")
		}
		for u := next(t, w); string(u.Body) != fmt.Sprint(on); {
			u = next(t, w)
		}
		eventually(t, fmt.Sprintf("presence is switched: %t", on), func() bool {
			p, err := n.Get(t.Context(), "node:/presence/shape/x")
			if !on {
				return message.CodeOf(err) == message.CodeNotFound
			}
			return err == nil && string(p.Body[:11]) == `{"count":1,`
		})
		if err := server.Unserve(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
	}
}

// Topics move to a node that has come also while routes change all the time.
func TestTopicsMoveWhileRoutesChange(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *town) {
		w.found("a", "b")
		var watches []*call.Watch
		for i := range 20 {
			address := fmt.Sprintf("state:/%d", i)
			w.offer(address, 2)
			watches = append(watches, w.nodes[0].Watch(t.Context(), address))
			ready(t, watches[i])
		}
		came := w.one("c")
		w.offer("state:/0", 3)
		moved := func() bool {
			list, err := ropewalk.Call[[]topic.Info](t.Context(), w.nodes[0], "node:/topics", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range list {
				if i.Owner == came.ID() {
					return true
				}
			}
			return false
		}
		const often = 200 * time.Millisecond
		began := time.Now()
		for i := 0; !moved(); i++ {
			if time.Since(began) > 10*time.Second {
				t.Fatal("no topic has moved")
			}
			svc := ropewalk.NewService(fmt.Sprint("restless", i))
			svc.Handle("/x", ropewalk.Handle(func(context.Context, struct{}) (int, error) { return 1, nil }))
			if err := w.nodes[0].Serve(svc); err != nil {
				t.Fatal(err)
			}
			time.Sleep(often)
		}
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("moved after %v: routes do not change all the time", took)
		}
		for _, x := range watches {
			_ = x.Close()
		}
	})
}
