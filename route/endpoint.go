package route

import (
	"encoding/json"
	"time"
)

// Endpoint is one server of a route: a service in this process, a connection
// that serves, later another node. A [Table] knows it by identity, so its
// dynamic type must be comparable: use a pointer.
//
// All methods may be called from any goroutine, at any time, for every message:
// they must be cheap and must not block. Handle is asked as described at
// [Handler].
type Endpoint interface {
	Handler
	// ID is what callers write in front of the @ of an address. It never changes.
	ID() string
	// InFlight is the number of calls that the server has not finished.
	InFlight() int
	// Local is true for servers of this node, in the process or on a connection.
	Local() bool
}

// Info is what a server says about a route that it serves. All of it is
// optional. The byte slices are shared: nobody may change them.
type Info struct {
	Version     string // a semantic version, or anything; see Selection.Version
	Description string
	In, Out     json.RawMessage // JSON Schema of the input and the output
	Metadata    json.RawMessage // a JSON object for the application
	Since       time.Time       // when the server began to serve the route
	// Idempotent is set if a call that is executed twice does no more than one
	// that is executed once, so that it may be repeated when nobody knows
	// whether it was executed.
	Idempotent bool
	// Check, if there is one, is asked before a request is handed to the
	// server; an error is the caller's answer. It must not block.
	Check func(body []byte) error
	// Topic is set if the route can be watched. It is shared: nobody may change it.
	Topic *Topic
	// Own is set if it is a service of the node itself, beside which connections
	// serve nothing under its name, at any node.
	Own bool
}
