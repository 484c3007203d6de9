// Package middleware holds the middleware that comes with Ropewalk. Each is a
// function that returns a [route.Middleware]; a config struct where there is
// more than one knob, with JSON names, so that [New] can make it from a
// configuration file.
//
// # Writing middleware
//
// Middleware is func(next route.Handler) route.Handler. It is called whenever
// the chain of its stage is built, so state belongs outside of the handler it
// returns:
//
//	func Count(n *atomic.Int64) route.Middleware {
//		return func(next route.Handler) route.Handler {
//			return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
//				n.Add(1)
//				next.Handle(ctx, req, res)
//			})
//		}
//	}
//
// It runs on the goroutine that read the message and must not block it: what
// waits calls req.Keep and goes on elsewhere, as [Limit] does. What wants to
// know the end of a request registers a [route.Finisher] with res.OnFinish,
// which costs nothing when the Finisher is shared or pooled. Wrapping the
// Responder works too, costs an allocation a call, and needs a method
// Unwrap() route.Responder.
//
// # Order
//
// In a stage the first middleware is the outermost. Usual is: recover, metrics,
// trace, log, secret, rate limit, deadline, limit, retry. [route.Stack.Warnings] knows
// the mistakes.
//
// # Cost
//
// None allocates for a request that passes, in steady state, unless its comment
// says so; BenchmarkPass and TestPassAllocs measure it.
package middleware
