package route_test

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func ExampleTable() {
	table := route.NewTable()
	one, two := &server{id: "one"}, &server{id: "two"}
	_ = table.Serve("shop", route.MustPattern("/orders/{id}"), one, route.Info{})
	_ = table.Serve("shop", route.MustPattern("/orders/new"), two, route.Info{})

	for _, to := range []string{"shop:/orders/17", "shop:/orders/new", "shop:/order/17"} {
		a, _ := message.ParseStrict(to)
		m, err := table.Lookup(a)
		if err != nil {
			fmt.Println(message.AsError(err).Code, message.AsError(err).Hint)
			continue
		}
		fmt.Printf("%s by %s, id %q\n", m.Route, m.Endpoints[0].ID(), m.Params.Get("id"))
	}
	// Output:
	// shop:/orders/{id} by one, id "17"
	// shop:/orders/new by two, id ""
	// no_service Did you mean shop:/orders/{id}? `ropewalk services` lists what is served.
}

func ExampleStack() {
	stack := route.NewStack()
	say := func(word string) route.Middleware {
		return func(next route.Handler) route.Handler {
			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
				fmt.Println(word)
				next.Handle(ctx, req, res)
			})
		}
	}
	_ = stack.Insert(route.StageCall, route.Entry{Name: "limit", Middleware: say("limit")}, route.Last())
	_ = stack.Insert(route.StageCall, route.Entry{Name: "metrics", Middleware: say("metrics")}, route.Last())
	chain := stack.Chain(route.StageCall, route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {
		fmt.Println("the service")
	}))
	for _, w := range stack.Warnings() {
		fmt.Println(w)
	}
	_ = stack.Move(route.StageCall, "metrics", route.First())
	chain.Handle(context.Background(), &route.Request{}, nil)
	// Output:
	// stage call: metrics stands after limit: it does not count what limit refuses; move it before limit
	// metrics
	// limit
	// the service
}
