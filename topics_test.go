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

// An application needs the root package only.
func TestTopicsOfTheProgram(t *testing.T) {
	t.Parallel()
	n, _ := startNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	type sales struct{ Sold int }
	type till struct {
		Name string `path:"name"`
	}
	sold, opened := make(chan int), make(chan string)
	s := ropewalk.NewService("till")
	s.Handle("/{name}", ropewalk.HandleWatch(func(ctx context.Context, _ till, set func(sales) error) error {
		for total := 0; ; {
			if err := set(sales{total}); err != nil {
				return err
			}
			select {
			case n := <-sold:
				total += n
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}))
	s.Handle("/opened", ropewalk.HandleEvents(func(ctx context.Context, _ struct{}, emit func(string) error) error {
		for {
			select {
			case name := <-opened:
				if err := emit(name); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}))
	if err := n.Serve(s); err != nil {
		t.Fatal(err)
	}
	w := ropewalk.Watch[sales](ctx, n, "till:/north")
	events := ropewalk.Watch[string](ctx, n, "till:/opened")
	ready(t, events.Watch())
	if u, err := w.Next(ctx); err != nil || u.Value.Sold != 0 {
		t.Fatalf("got %+v, %v", u.Value, err)
	}
	sold <- 7
	if u, err := w.Next(ctx); err != nil || u.Value.Sold != 7 {
		t.Fatalf("got %+v, %v", u.Value, err)
	}
	if now, err := ropewalk.Get[sales](ctx, n, "till:/north"); err != nil || now.Sold != 7 {
		t.Fatalf("got %+v, %v", now, err)
	}
	opened <- "north"
	if u, err := events.Next(ctx); err != nil || u.Value != "north" {
		t.Fatalf("got %q, %v", u.Value, err)
	}
}
