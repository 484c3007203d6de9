package middleware_test

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

func Example() {
	stack := route.NewStack()
	for _, e := range []route.Entry{
		{Name: "limit", Kind: route.KindLimit, Middleware: middleware.Limit(nil, middleware.LimitConfig{Calls: 100, Queue: 1000})},
		{Name: "deadline", Kind: route.KindDeadline, Middleware: middleware.Deadline(middleware.DeadlineConfig{
			RouteDeadline: middleware.RouteDeadline{Max: duration.Duration(60e9)},
		})},
	} {
		if err := stack.Insert(route.StageCall, e, route.Last()); err != nil {
			fmt.Println(err)
		}
	}
	for _, w := range stack.Warnings() {
		fmt.Println(w)
	}
	if err := stack.Move(route.StageCall, "limit", route.Last()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(stack.Warnings()), "warnings left")
	// Output:
	// stage call: deadline stands after limit: the time a call waits in limit is not limited by it; move it before limit
	// 0 warnings left
}

// Middleware of one's own is a function.
func ExampleRecover_own() {
	shout := func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			fmt.Println("somebody calls", req.Route)
			next.Handle(ctx, req, res)
		})
	}
	c := newCall("math:/mul")
	middleware.Recover(nil)(shout(reply)).Handle(context.Background(), c.req, c)
	// Output: somebody calls math:/mul
}
