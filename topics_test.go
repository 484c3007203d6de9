package ropewalk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/route"
)

// topics are those of the tests.
var topics = map[string]route.Topic{ //nolint:gochecknoglobals // a table
	"prices:/**": {Events: true, History: route.History{Count: 100}},
	"state:/**":  {},
	"room:/**":   {Events: true, Presence: true},
}

func next(t *testing.T, w *call.Watch) call.Update {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	u, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func ready(t *testing.T, w *call.Watch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTopicsInsideTheProcess(t *testing.T) {
	t.Parallel()
	n, err := ropewalk.New(ropewalk.Config{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Shutdown(context.Background()) }()

	w := n.Watch(t.Context(), "prices:/eur")
	ready(t, w)
	for i := range 3 {
		if _, err := n.Publish(t.Context(), "prices:/eur", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if u := next(t, w); string(u.Body) != fmt.Sprint(i) {
			t.Fatalf("got %s, want %d", u.Body, i)
		}
	}
	all := n.Watch(t.Context(), "prices:/**", call.WithHistory(2))
	if u := next(t, all); string(u.Body) != "1" || u.Address != "prices:/eur" {
		t.Fatalf("got %s of %s", u.Body, u.Address)
	}

	s := n.Watch(t.Context(), "state:/a")
	if u := next(t, s); u.Fault == nil {
		t.Fatalf("got %s", u.Body)
	}
	if _, err := n.Publish(t.Context(), "state:/a", "x"); err != nil {
		t.Fatal(err)
	}
	if u := next(t, s); string(u.Body) != `"x"` {
		t.Fatalf("got %s", u.Body)
	}
	if u, err := n.Get(t.Context(), "state:/a"); err != nil || string(u.Body) != `"x"` {
		t.Fatalf("got %v, %v", u, err)
	}
}
