package message

import (
	"errors"
	"time"
)

// Code names what went wrong, in one word that is the same in Go, TypeScript,
// the CLI, the metrics and on the wire. Codes are never renamed.
type Code string

// The codes. docs/reference/errors.md is generated from this list.
const (
	// Bad input.
	CodeBadFrame     Code = "bad_frame"     // the bytes are not a message
	CodeBadMessage   Code = "bad_message"   // a message, but a field is missing or of the wrong type
	CodeBadAddress   Code = "bad_address"   // the address cannot be read
	CodeUnknownVerb  Code = "unknown_verb"  // no such verb, or not in this direction
	CodeInvalidInput Code = "invalid_input" // the body does not fit the schema of the path
	CodeTooLarge     Code = "too_large"     // over the limit for a frame or a body
	CodeDuplicateID  Code = "duplicate_id"  // a call with this mid is still in flight on this connection

	// Who and what.
	CodeUnauthenticated Code = "unauthenticated" // who is there is not known
	CodeForbidden       Code = "forbidden"       // known, but not allowed
	CodeNoService       Code = "no_service"      // nobody ever served this address
	CodeNoClient        Code = "no_client"       // no client with this id is connected
	CodeNotFound        Code = "not_found"       // the service is there, the thing asked for is not
	CodeConflict        Code = "conflict"        // the request does not fit the present state
	CodeRevoked         Code = "revoked"         // a watch that was permitted is not any more

	// Content.
	CodeBadContent    Code = "bad_content"    // what stands on the server is broken: JSON, SQL, a script that cannot be read
	CodeScriptFailed  Code = "script_failed"  // a script threw an error
	CodeLimitExceeded Code = "limit_exceeded" // a query or script took more time, memory or room than it may
	CodeSourceDown    Code = "source_down"    // where the content comes from cannot be reached
	CodeStorageFull   Code = "storage_full"   // there is no room to write to

	// The way there and back.
	CodeServiceDown      Code = "service_down"      // somebody served this, and all of them are gone
	CodeServiceLost      Code = "service_lost"      // the server went away during the call; it may have been executed
	CodeNodeLost         Code = "node_lost"         // the same for a whole node
	CodeMeshSplit        Code = "mesh_split"        // part of the mesh that may serve this is out of reach
	CodeConnectionLost   Code = "connection_lost"   // made by a client: its own connection went away during the call
	CodeDeadlineExceeded Code = "deadline_exceeded" // no answer in time
	CodeCanceled         Code = "canceled"          // the caller took the call back
	CodeNoQuorum         Code = "no_quorum"         // a gather got fewer answers than it asked for
	CodeNotReady         Code = "not_ready"         // made by a client: offline and not allowed to wait

	// Limits.
	CodeRateLimited   Code = "rate_limited"   // too many messages in too short a time
	CodeOverloaded    Code = "overloaded"     // a bounded queue is full
	CodeCircuitOpen   Code = "circuit_open"   // the servers have failed too often, and are left alone for a while
	CodeTooManyCalls  Code = "too_many_calls" // the connection has too many calls in flight
	CodeTooManyRoutes Code = "too_many_routes"
	CodeTooManyTopics Code = "too_many_topics" // the connection watches too much, or the node has too many topics
	CodeSlowConsumer  Code = "slow_consumer"   // the receiver does not take its messages
	CodeShuttingDown  Code = "shutting_down"   // the node takes no new work

	// Ours.
	CodeInternal      Code = "internal"      // a bug on the serving side
	CodeUnimplemented Code = "unimplemented" // the service knows the path but not this way of using it
)

// Error is what every failed operation of Ropewalk returns, and what an error
// message carries. Handlers return one to choose the code that the caller
// sees; any other error reaches the caller as [CodeInternal] without its text.
//
// errors.Is(err, &Error{Code: c}) is true for every *Error with code c.
type Error struct {
	Code    Code
	Message string // what happened, for a person; no secrets
	Hint    string // what to do about it, one sentence; may be empty
	Details []byte // JSON for programs; may be nil
	Path    string // the field of the input, or the address, that is at fault; may be empty

	Retryable  bool          // the same request may succeed later and was surely not executed, or may be repeated safely
	RetryAfter time.Duration // how long to wait at least; 0 if unknown

	// Cause is what made it fail here. It is never sent.
	Cause error

	remote bool
}

// NewError returns an error with a code, a text for people and a hint; an empty
// hint becomes the code's usual one.
func NewError(code Code, text, hint string) *Error {
	if hint == "" {
		hint = code.Info().Hint
	}
	return &Error{Code: code, Message: text, Hint: hint, Retryable: code.Retryable()}
}

// CodeOf returns the code of err: its own if it is or wraps an *Error,
// [CodeDeadlineExceeded] and [CodeCanceled] for the errors of package context,
// else [CodeInternal]. It returns "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}

// AsError returns err as an *Error, made up as in [CodeOf] if it is none. The
// text of a foreign error is kept only in Cause.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return fromForeign(err)
}
