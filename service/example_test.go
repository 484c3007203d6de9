package service_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// A typed handler knows its schemas: bad input never reaches it.
func ExampleHandle() {
	type in struct {
		ID    string `path:"id"`
		Count int    `json:"count" jsonschema:"minimum=1,description=How many to order."`
	}
	type out struct {
		Total int `json:"total"`
	}
	s := service.New("shop", service.WithVersion("1.0.0"), service.WithDescription("Sells rope."))
	s.Handle("/order/{id}", service.Handle(func(_ context.Context, in in) (out, error) {
		if in.ID != "rope" {
			return out{}, message.NewError(message.CodeNotFound, "we do not sell "+in.ID, "Order rope.")
		}
		return out{Total: 3 * in.Count}, nil
	}))

	runner := s.Runner(context.Background(), nil)
	defer runner.Close()
	for _, c := range []*call{
		newCall("shop:/order/rope", `{"count":2}`),
		newCall("shop:/order/silk", `{"count":2}`),
		newCall("shop:/order/rope", `{"count":0}`),
	} {
		r := s.Routes()[0] // a node or client does this
		params, _ := r.Pattern.Match(c.req.Address.Path)
		c.req.Matched(route.Match{Params: params})
		runner.Handler(r.Handler).Handle(context.Background(), c.req, c)
		<-c.done
		if c.err != nil {
			fmt.Println(c.err.Code, "-", c.err.Message)
			continue
		}
		fmt.Println(string(c.reply.Bytes))
	}
	fmt.Println(string(s.Routes()[0].Info.In))
	// Output:
	// {"total":6}
	// not_found - we do not sell silk
	// invalid_input - count must be at least 1
	// {"type":"object","properties":{"count":{"type":"integer","minimum":1,"description":"How many to order."}},"required":["count"]}
}

// A handler that works for long sends parts, and stops when nobody waits any
// more.
func ExampleStream() {
	type progress struct {
		Percent int `json:"percent"`
	}
	s := service.New("report")
	s.Handle("/long", service.Stream(func(ctx context.Context, in struct{ Steps int }, send func(progress) error) (string, error) {
		for i := range in.Steps {
			select {
			case <-time.After(time.Millisecond): // work
			case <-ctx.Done():
				return "", ctx.Err()
			}
			if err := send(progress{100 * (i + 1) / in.Steps}); err != nil {
				return "", err
			}
		}
		return "done", nil
	}))

	runner := s.Runner(context.Background(), nil)
	defer runner.Close()
	c := newCall("report:/long", `{"Steps":2}`)
	runner.Handler(s.Routes()[0].Handler).Handle(context.Background(), c.req, c)
	<-c.done
	fmt.Println(c.parts, string(c.reply.Bytes))
	// Output: [{"percent":50} {"percent":100}] "done"
}

// A path that can be watched: the function runs once for all who watch the same.
func ExampleWatch() {
	s := service.New("clock")
	s.Handle("/{zone}", service.Watch(func(ctx context.Context, in struct {
		Zone string `path:"zone"`
	}, set func(string) error) error {
		at, err := time.LoadLocation(in.Zone)
		if err != nil {
			return message.NewError(message.CodeNotFound, "there is no zone "+in.Zone, "Watch UTC.")
		}
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for now := time.Now(); ; {
			if err := set(now.In(at).Format("15:04")); err != nil {
				return err
			}
			select {
			case now = <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}), service.WithDescription("what time it is"))
	r := s.Routes()[0]
	fmt.Println(r.Pattern, r.Info.Topic.Events, string(r.Info.Out))
	// Output: /{zone} false {"type":"string"}
}
