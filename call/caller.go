// Package call is what a program that asks needs: the Caller interface, which
// a client and a node both implement, the options of a call, and the forms in
// which answers come: an Answer, a Stream of parts, a Gathered of many servers.
//
// Nothing here does I/O. Errors that leave the package are *message.Error.
package call

import "context"

// Caller asks services. A *client.Client is one over a connection, a node is
// one inside its own process; code that takes a Caller works with both.
//
// All methods may be called from any goroutine. They encode body as [Encode]
// says and do not keep it after they returned. A call ends with ctx: the
// server is told (cancel) and the method returns CodeCanceled, or
// CodeDeadlineExceeded if it was ctx's deadline. Every error is a
// *message.Error.
type Caller interface {
	// Call sends a call and waits for its answer. Parts are dropped.
	Call(ctx context.Context, address string, body any, opts ...Option) (*Answer, error)
	// Stream sends a call and returns at once; the Stream has its parts, its
	// answer, and whatever goes wrong, from the very start. It ends with ctx
	// or with [Stream.Close].
	Stream(ctx context.Context, address string, body any, opts ...Option) *Stream
	// Gather asks every server of the address and waits for what the strategy
	// asks for: [WithStrategy], or all of them.
	Gather(ctx context.Context, address string, body any, opts ...Option) (*Gathered, error)
	// Send sends a message to which no answer is expected. It returns when the
	// message is on its way; with [WithAck], when it was handed over.
	Send(ctx context.Context, address string, body any, opts ...Option) error
}
