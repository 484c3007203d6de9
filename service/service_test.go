package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

func TestStartUpErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	typed := service.Handle(func(context.Context, struct {
		ID string `path:"id"`
	}) (int, error) {
		return 0, nil
	})
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"name", func() { service.New("a b") }, `the service name "a b" contains ' '`},
		{"no name", func() { service.New("") }, "is empty"},
		{"name like a URL", func() { service.New("https-gateway") }, "begins with http"},
		{"metadata", func() { service.New("a", service.WithMetadata(json.RawMessage("1"))) }, "not a JSON object"},
		{"pattern", func() { service.New("a").Handle("x", answer("1")) }, "does not begin with /"},
		{"nil", func() { service.New("a").Handle("/x", nil) }, "the handler is nil"},
		{"nil func", func() { service.New("a").HandleFunc("/x", nil) }, "the handler is nil"},
		{"nil middleware", func() { service.New("a").Use(nil) }, "a middleware is nil"},
		{"twice", func() {
			s := service.New("a")
			s.Handle("/x/{a}", answer("1"))
			s.Handle("/x/*", answer("1"))
		}, "the same as /x/{a}, added at "},
		{"parameter", func() { service.New("a").Handle("/x/{name}", typed) }, "the pattern has no {id}"},
		{"type", func() {
			service.New("a").Handle("/x", service.Handle(func(context.Context, chan int) (int, error) { return 0, nil }))
		}, "chan int has no JSON"},
		{"field", func() {
			service.New("a").Handle("/x", service.Handle(func(context.Context, struct {
				M map[string]int `query:"m"`
			}) (int, error) {
				return 0, nil
			}))
		}, "no query parameter can be a map[string]int"},
		{"tag", func() {
			service.New("a").Handle("/x", service.Handle(func(context.Context, struct {
				M int `query:"m" jsonschema:"minimum=1"`
			}) (int, error) {
				return 0, nil
			}))
		}, "the tag jsonschema is for fields of the body"},
		{"schema", func() {
			service.New("a").Handle("/x", answer("1"), service.WithSchemas(json.RawMessage(`{"type":7}`), nil))
		}, "schema of the input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				text := fmt.Sprint(recover())
				if !strings.Contains(text, c.want) || !strings.Contains(text, "service_test.go:") {
					t.Errorf("panic %q, want one with %q and the place", text, c.want)
				}
			}()
			c.do()
		})
	}
}

func TestUse(t *testing.T) {
	t.Parallel()
	var order []string
	note := func(name string) route.Middleware {
		return func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				order = append(order, name)
				next.Handle(ctx, req, res)
			})
		}
	}
	s := service.New("a")
	s.Use(note("outer"))
	s.Handle("/x", answer("1"))
	s.Use(note("inner"))
	if c := run(t, s, "/x", newCall("a:/x", "")); string(c.reply.Bytes) != "1" {
		t.Fatalf("reply %v", c.reply)
	}
	if !slices.Equal(order, []string{"outer", "inner"}) {
		t.Fatalf("order %v", order)
	}
}
