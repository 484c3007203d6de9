// Package route finds who answers a message. It holds the types a handler is
// written against ([Handler], [Request], [Responder], [Middleware]), path
// patterns ([Pattern]) and the table of who serves them ([Table]), strategies
// that choose among several servers ([Strategies]), gathers that ask all of
// them ([Gather]), and the middleware stages a message passes ([Stack]).
//
// The package does no I/O, starts no goroutines and reads no clock.
// docs/reference/wire.md, "Patterns" and "Strategies", is the reference of
// what it does.
package route
