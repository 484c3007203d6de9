// Package content is what stands behind topics whose content lives on the
// server: files, queries, scripts, web resources, and whatever a program adds.
//
// A [Provider] answers for one scheme. It opens a [Resource] for an address
// with parameters; a Resource computes its content when it is asked, and tells
// when that may have changed. [NewService] makes a service of a Provider, which
// a node or a client serves as any other: it computes each resource once
// however many watch it, again when it may have changed, one run at a time, and
// passes on only what differs.
//
//	clock := content.NewService("clock", provider, content.Options{})
//	defer clock.Close()
//	err := node.Serve(clock.Service)
//
// The providers that Ropewalk brings along are in packages of their own below
// this one; contenttest is the suite that each has to pass.
package content

import (
	"context"
	"encoding/json"

	"github.com/ropewalk/ropewalk/session"
)

// Request says which content is meant, and who wants it. It must not be
// changed.
type Request struct {
	// Path is the path of the address, "/" or "/a/b": no empty segments, none
	// that are "." or "..", no trailing slash. It is not decoded: percent signs
	// stand for themselves.
	Path string
	// Query is what follows the "?" of the address, or "".
	Query string
	// Dir is true if the address ended in a slash: the listing of a directory is
	// wanted.
	Dir bool
	// Params are what the watcher filters by: a JSON object in canonical form
	// (keys sorted, no blanks), or nil if there are none.
	Params json.RawMessage
	// Session is who wants it; never nil. Of what is got or watched it is anonymous
	// unless the service says that its topics are personal.
	Session *session.Session
	// Script is the path of the script that publishes, "" if it is none. Scripts
	// write no code: one may let others say what it writes where, and these need not
	// have the right to.
	Script string
	// Level is how many scripts wait for the answer, of which one asks and the others
	// have asked each other: 0 if it is no script that asks.
	Level int
}

// Headers of messages that scripts send.
const (
	// ScriptHeader has the path of the script.
	ScriptHeader = "script"
	// LevelHeader says how many scripts wait for the answer. It is taken of nodes only.
	LevelHeader = "script-level"
)

// Content is what a topic holds at one moment. It must not be changed.
type Content struct {
	// Body is JSON if ContentType is "". It is never nil.
	Body []byte
	// ContentType is "" for JSON, else a media type.
	ContentType string
}

// Provider finds resources. Its methods may be called from any goroutine, at
// any time. Errors of all methods here that are *message.Error reach the watcher
// or publisher as they are: with a code, the place that is at fault and a hint.
type Provider interface {
	// Open returns the resource that a request means. It may look at files but
	// must not compute the content; that nothing is there yet is no error of
	// Open but of [Resource.Get], so that watchers see it come. An error with a
	// code such as not_found, forbidden or invalid_input ends a subscribe; with
	// others, such as source_down, it is tried again after a while.
	Open(ctx context.Context, r *Request) (Resource, error)
}

// Resource is one content: what an address stands for with certain parameters,
// for all whose claims give the same.
type Resource interface {
	// Key is the same for two resources of a provider, and only for these, if
	// they have the same content now and at all times: of several with one key
	// only the first is used, for all. It never changes.
	Key() string
	// Get computes the content as it is now. It is called by one goroutine at a
	// time and may block, until ctx ends. [ErrReopen] means that requests have
	// to be opened anew, because what Key was made of is not right any more.
	Get(ctx context.Context) (Content, error)
	// Watch has changed called whenever Get may have another result than before,
	// from before Watch returns until stop was called; once too often does no
	// harm. changed does not block and may be called from any goroutine. Watch
	// is called at most once at a time, before Get. Where changes cannot be
	// noticed it returns an error, and the content is what it was at first.
	Watch(changed func()) (stop func(), err error)
}

// Sourced is a Resource that has to wait for something: a database, another host.
// Those that wait for one that does not answer keep no others waiting.
type Sourced interface {
	// Source names it. It never changes.
	Source() string
}

// Publisher is a Provider to which can be published.
type Publisher interface {
	// Publish makes c the content of what r means, or carries it out. A c
	// without Body deletes it. It returns when that is done for good: what
	// watches the content has been told that it changed. The result, which may be
	// empty, is the publisher's answer.
	Publish(ctx context.Context, r *Request, c Content) (Content, error)
}

// Caller is a Provider whose resources can be called: a script that handles
// calls.
type Caller interface {
	// Call answers a call of what r means. c is the body of the call; its Body is
	// nil if there was none.
	Call(ctx context.Context, r *Request, c Content) (Content, error)
}

// Closer is a Provider that holds something. Close is called once, when nobody
// uses the provider any more.
type Closer interface {
	Close() error
}
