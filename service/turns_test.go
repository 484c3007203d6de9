package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

func newPublish(from, address, body string) *call {
	c := newCall(address, body)
	c.req.Message.Verb, c.req.Message.From = message.VerbPublish, []byte(from)
	return c
}

func TestPublishesOfAClientRunInOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := make(map[string][]string)
	r := service.NewRunner(t.Context(), slog.New(slog.DiscardHandler), 8, -1)
	defer r.Close()
	h := r.Handler(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
		for range len(req.Message.Body) % 2 * 10 {
			runtime.Gosched() // others would be faster
		}
		mu.Lock()
		key := string(req.Message.From) + req.Address.Path
		got[key] = append(got[key], string(req.Message.Body))
		mu.Unlock()
		_ = res.Reply(route.JSON(nil))
	}))
	var all []*call
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprint(i))
		for _, from := range []string{"a@client:/", "b@client:/"} {
			for _, address := range []string{"s:/x", "s:/y"} {
				c := newPublish(from, address, fmt.Sprint(i))
				h.Handle(t.Context(), c.req, c)
				all = append(all, c)
			}
		}
	}
	for _, c := range all {
		if c.wait(t); c.err != nil {
			t.Fatal(c.err)
		}
	}
	if len(got) != 4 {
		t.Fatalf("publishes of %d clients and addresses", len(got))
	}
	for key, bodies := range got {
		if !slices.Equal(bodies, want) {
			t.Errorf("%s: %v", key, bodies)
		}
	}
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestAPublishWaitsOnlyForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := service.NewRunner(t.Context(), slog.New(slog.DiscardHandler), 8, 8)
		defer r.Close()
		free := make(chan struct{})
		var begun []string // by one at a time: synctest.Wait is between them
		h := r.Handler(route.HandlerFunc(func(_ context.Context, req *route.Request, res route.Responder) {
			begun = append(begun, string(req.Message.Body))
			if string(req.Message.Body) == "1" {
				<-free
			}
			_ = res.Reply(route.JSON(nil))
		}))
		calls := make(map[string]*call)
		for _, c := range []*call{
			newPublish("a@client:/", "s:/x", "1"), newPublish("a@client:/", "s:/x", "2"), newPublish("a@client:/", "s:/x", "3"),
			newPublish("b@client:/", "s:/x", "other client"), newPublish("a@client:/", "s:/y", "other address"),
			newPublish("n@node:/", "s:/x", "node"), newPublish("n@node:/", "s:/x", "node"),
		} {
			calls[string(c.req.Message.Body)] = c
			h.Handle(t.Context(), c.req, c)
			synctest.Wait()
		}
		get := newCall("s:/x", "call")
		get.req.Message.From = []byte("a@client:/")
		h.Handle(t.Context(), get.req, get)
		synctest.Wait()
		want := []string{"1", "other client", "other address", "node", "node", "call"}
		if !slices.Equal(begun, want) {
			t.Fatalf("begun: %q", begun)
		}
		if n := r.InFlight(); n != 3 {
			t.Errorf("%d in flight", n)
		}
		_ = calls["2"].Fail(message.NewError(message.CodeCanceled, "", ""))
		close(free)
		synctest.Wait()
		if !slices.Equal(begun, append(want, "3")) {
			t.Errorf("begun: %q", begun)
		}
		if n := r.InFlight(); n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}
