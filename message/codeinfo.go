package message

import "slices"

//go:generate go test -run TestErrorsPage . -update

// CodeInfo is what there is to know about a code.
type CodeInfo struct {
	Code       Code
	HTTPStatus int    // the status of an HTTP response with this error
	Retryable  bool   // whether trying again helps and does no harm, if the error itself does not say
	Meaning    string // one sentence
	Hint       string // what to do, if the error itself does not say
}

// codeTable has one entry a code, in the order of the documentation.
var codeTable = [...]CodeInfo{
	{CodeBadFrame, 400, false, "The bytes are not a message.", "Make the frame with a JSON encoder and send one message a frame."},
	{CodeBadMessage, 400, false, "It is a message, but a field is missing or of the wrong type.", "Look at the field that the error names."},
	{CodeBadAddress, 400, false, "The address cannot be read.", "Write the name of the service, a colon and the path, such as math:/decimal/mul."},
	{CodeUnknownVerb, 400, false, "There is no such verb, or it does not go in this direction.", "Look up the verbs in docs/reference/wire.md."},
	{CodeInvalidInput, 422, false, "The body does not fit the schema of the path.", "Look at the field that the error names; node:/schema shows what the path takes."},
	{CodeTooLarge, 413, false, "The message is over the limit for a frame or a body.", "Send less at once, or raise the limit of the listener."},
	{CodeDuplicateID, 409, false, "A call with this mid is still in flight on this connection.", "Give each message a mid of its own."},

	{CodeUnauthenticated, 401, false, "It is not known who is there.", "Send a valid token or secret."},
	{CodeForbidden, 403, false, "It is known who is there, and this one may not do it.", "Ask the owner of the node for the permission."},
	{CodeNoService, 404, false, "Nobody ever served this address on this node.", "Check the spelling; node:/services lists what is served."},
	{CodeNoClient, 404, false, "No client with this id is connected.", "Use the id from the welcome of a connection that is still open."},
	{CodeNotFound, 404, false, "The service is there, the thing asked for is not.", "Check the name of what you asked for."},
	{CodeConflict, 409, false, "The request does not fit the present state.", "Read the state again, then decide."},
	{CodeRevoked, 403, false, "A watch that was permitted is not any more.", "Log in again, or ask the owner of the node for the permission."},

	{CodeBadContent, 500, false, "What stands on the server is broken: JSON, SQL or a script that cannot be read.", "Correct the file at the place that the error names."},
	{CodeScriptFailed, 500, false, "A script on the server threw an error.", "Look at the file and line in the details of the error."},
	{CodeLimitExceeded, 500, false, "A query or script took more time, memory or room than it may.", "Ask for less at a time, or raise the limit in the node's configuration."},
	{CodeSourceDown, 503, true, "Where the content comes from, such as a database, cannot be reached.", "Wait: watchers get the content when it is back."},
	{CodeStorageFull, 507, false, "There is no room on the disk of the server; nothing was written.", "Make room on the server, then publish again."},

	{CodeServiceDown, 503, true, "Somebody served this address, and all of them are gone.", "Start the service, or try again when it is back."},
	{CodeServiceLost, 502, false, "The server went away during the call; it may have been executed.", "Check whether it was executed before you try again."},
	{CodeNodeLost, 502, false, "The server's node went away during the call; it may have been executed.", "Check whether it was executed before you try again."},
	{CodeMeshSplit, 503, true, "A part of the mesh that may serve this is out of reach.", "Try again when the nodes see each other."},
	{CodeConnectionLost, 502, false, "The client's own connection went away during the call; it may have been executed.", "Check whether it was executed before you try again."},
	{CodeDeadlineExceeded, 504, false, "There was no answer in time; the call may have been executed.", "Give the call more time, or find out why the server is slow."},
	{CodeCanceled, 499, false, "The caller took the call back.", "Nothing: this was wanted."},
	{CodeNoQuorum, 502, false, "A gather got fewer good answers than it asked for.", "Look at the single answers, or ask for a smaller quorum."},
	{CodeNotReady, 503, true, "The client is offline, and the message was not allowed to wait.", "Wait until the client is connected, or let the message wait."},

	{CodeRateLimited, 429, true, "Too many messages in too short a time.", "Send more slowly."},
	{CodeOverloaded, 503, true, "A bounded queue is full.", "Try again after a while, or add servers."},
	{CodeCircuitOpen, 503, true, "The servers failed too often and are left alone for a while; the call was not handed to any.", "Try again after the time in retryAfter; the servers' logs tell why they fail."},
	{CodeTooManyCalls, 429, true, "The connection has too many calls in flight.", "Wait for answers before you call again."},
	{CodeTooManyRoutes, 429, false, "The connection or the node serves too many routes.", "Serve patterns such as /item/{id} in place of single paths."},
	{CodeTooManyTopics, 429, false, "The connection watches too many topics, or the node has too many.", "Unsubscribe from what nobody looks at, or watch a pattern."},
	{CodeSlowConsumer, 503, false, "The receiver does not take its messages.", "Read faster, or ask for less."},
	{CodeShuttingDown, 503, true, "The node takes no new work.", "Connect again; another node, or this one after its restart, will answer."},

	{CodeInternal, 500, false, "There is a bug on the serving side.", "Look at the log of the server."},
	{CodeUnimplemented, 501, false, "The service knows the path, but not this way of using it.", "Use the path in the way that node:/services shows."},
}

var codeIndex = func() map[Code]CodeInfo {
	index := make(map[Code]CodeInfo, len(codeTable))
	for _, info := range codeTable {
		index[info.Code] = info
	}
	return index
}()

// Codes returns all codes in the order of the documentation.
func Codes() []Code {
	codes := make([]Code, len(codeTable))
	for i, info := range codeTable {
		codes[i] = info.Code
	}
	return codes
}

// CodeTable returns what there is to know about each code, in the order of
// the documentation.
func CodeTable() []CodeInfo { return slices.Clone(codeTable[:]) }

// Info returns what there is to know about c. For a code that is not Ropewalk's
// that is no hint, no meaning, and status 500.
func (c Code) Info() CodeInfo {
	if info, ok := codeIndex[c]; ok {
		return info
	}
	return CodeInfo{Code: c, HTTPStatus: 500}
}

// Known reports whether c is one of Ropewalk's codes. Services may send others;
// a metric counts these as one.
func (c Code) Known() bool {
	_, ok := codeIndex[c]
	return ok
}

// Retryable reports whether the same request may succeed later and trying again
// does no harm.
func (c Code) Retryable() bool { return c.Info().Retryable }

// HTTPStatus returns the status of an HTTP response with this code.
func (c Code) HTTPStatus() int { return c.Info().HTTPStatus }
