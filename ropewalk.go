// Package ropewalk is a server, and the library it is made of, that gives
// browsers, devices and services one persistent connection for everything:
// calling services with streamed intermediate messages, serving paths, and
// reaching single clients.
//
// A node with a service compiled in:
//
//	type pair struct{ A, B float64 }
//
//	math := ropewalk.NewService("math")
//	math.Handle("/mul", ropewalk.Handle(func(ctx context.Context, in pair) (float64, error) {
//		return in.A * in.B, nil
//	}))
//
//	node, err := ropewalk.New(ropewalk.Config{
//		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:7420"}},
//	})
//	…
//	err = node.Serve(math)
//	err = node.Run(ctx)
//
// Calling it, from the same process or through a client:
//
//	product, err := ropewalk.Call[float64](ctx, node, "math:/mul", pair{2, 5})
//
// A path whose content is watched, and who watches it:
//
//	till.Handle("/{name}", ropewalk.HandleWatch(func(ctx context.Context, in struct {
//		Name string `path:"name"`
//	}, set func(Sales) error) error {
//		for s := range salesOf(ctx, in.Name) {
//			if err := set(s); err != nil {
//				return err
//			}
//		}
//		return ctx.Err()
//	}))
//
//	w := ropewalk.Watch[Sales](ctx, node, "till:/north")
//	for u, err := range w.Updates() {
//		…
//	}
//
// The same service in a process of its own, over a connection: see package
// client.
package ropewalk

import (
	"context"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// Version is the version of this release.
const Version = "0.1.0"

// The words of the API, from the packages that define them.
type (
	// Caller asks services: a Node in this process, or a client.Client.
	Caller = call.Caller
	// CallOption changes one call, get or publish.
	CallOption = call.Option
	// Watcher watches, reads and changes topics: a Node in this process, or a
	// client.Client.
	Watcher = call.Watcher
	// WatchOption changes one watch.
	WatchOption = call.WatchOption
	// Service is a set of handlers under a name.
	Service = service.Service
	// Handler answers requests.
	Handler = route.Handler
	// HandlerFunc makes a Handler of a function.
	HandlerFunc = route.HandlerFunc
	// Request is one message on its way to a handler.
	Request = route.Request
	// Responder takes the answer to a request.
	Responder = route.Responder
	// Error is what every failed operation returns.
	Error = message.Error
	// Code names what went wrong.
	Code = message.Code
)

// NewService returns a service without handlers.
func NewService(name string, opts ...service.Option) *Service { return service.New(name, opts...) }

// Handle makes a Handler of a function from In to Out; see [service.Handle].
func Handle[In, Out any](f func(ctx context.Context, in In) (Out, error)) Handler {
	return service.Handle(f)
}

// HandleStream makes a Handler of a function that sends parts before it
// returns the reply; see [service.Stream].
func HandleStream[In, Part, Out any](f func(ctx context.Context, in In, send func(Part) error) (Out, error)) Handler {
	return service.Stream(f)
}

// Call calls an address and decodes the reply; see [call.Do].
func Call[Out any](ctx context.Context, c Caller, address string, in any, opts ...CallOption) (Out, error) {
	return call.Do[Out](ctx, c, address, in, opts...)
}

// Stream calls an address whose service sends parts; see [call.Streamed].
func Stream[Part, Out any](ctx context.Context, c Caller, address string, in any, opts ...CallOption) *call.StreamOf[Part, Out] {
	return call.Streamed[Part, Out](ctx, c, address, in, opts...)
}

// HandleWatch makes a Handler of a path whose content can be watched: f says what
// it is, as often as that changes; see [service.Watch].
func HandleWatch[In, Out any](f func(ctx context.Context, in In, set func(Out) error) error) Handler {
	return service.Watch(f)
}

// HandleEvents makes a Handler of a path whose events can be watched; see
// [service.Events].
func HandleEvents[In, Out any](f func(ctx context.Context, in In, emit func(Out) error) error) Handler {
	return service.Events(f)
}

// Watch watches an address and decodes its contents or events; see
// [call.WatchOf].
func Watch[T any](ctx context.Context, w Watcher, address string, opts ...WatchOption) *call.TypedWatch[T] {
	return call.WatchOf[T](ctx, w, address, opts...)
}

// Get decodes the content of a topic as it is now; see [call.GetOf]. To change it
// is [Watcher].Publish.
func Get[T any](ctx context.Context, w Watcher, address string, opts ...CallOption) (T, error) {
	return call.GetOf[T](ctx, w, address, opts...)
}

// AllowAll lets every connection serve any path and broadcast. It is for
// development, and for nodes that only trusted programs can reach.
func AllowAll(route.Peer, message.Verb, message.Address) error { return nil }
