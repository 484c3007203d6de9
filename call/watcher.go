package call

import (
	"context"

	"github.com/ropewalk/ropewalk/message"
)

// Watcher watches, reads and changes topics: addresses whose content lives on
// the server, or to which events are published. A *client.Client is one over a
// connection, a node is one inside its own process; code that takes a Watcher
// works with both.
//
// All methods may be called from any goroutine. Every error is a
// *message.Error.
type Watcher interface {
	// Watch asks for the content of a topic and every change of it, or for its
	// events, and returns at once; the [Watch] has what comes, and whatever goes
	// wrong, from the very start. It ends with ctx or with [Watch.Close].
	Watch(ctx context.Context, address string, opts ...WatchOption) *Watch
	// Get returns the content of a topic as it is now. Of the options it heeds
	// [WithParams] and those of a call.
	Get(ctx context.Context, address string, opts ...Option) (*Update, error)
	// Publish makes body, encoded as [Encode] says, the content of a topic, or
	// an event of it, and returns when that is done: with the answer of whoever
	// keeps the topic, which mostly has no body. A body of nil deletes the
	// content. What waits for a connection is published later, in order.
	Publish(ctx context.Context, address string, body any, opts ...Option) (*Answer, error)
}

// Update is what a watcher gets: the content of a topic, an event, or word that
// there is none. It belongs to whoever got it; its bytes may be shared with
// other watchers and must not be changed.
type Update struct {
	// Body is the content, always the whole of it, or the event. It is nil if
	// there is none, as with a Fault or a Gap.
	Body []byte
	// ContentType is empty for JSON.
	ContentType string
	// Epoch and Offset are the position in the topic. Offset grows, for events by
	// one; another Epoch means that the count began anew.
	Epoch  string
	Offset uint64
	// Address is the topic's: what was watched, or, if that was a pattern, where
	// the event was published.
	Address string
	// Publisher is a JSON object, {"client":…,"subject":…}: who published an
	// event, where the topic says that, else nil.
	Publisher []byte
	// Fault says why there is no content now; the watch goes on. nil if there is.
	Fault *message.Error
	// Gap says that events have been missed: the next one comes after Offset.
	Gap bool
}

// Decode puts the body into v, as [Decode] says. For a Fault it returns that.
func (u *Update) Decode(v any) error {
	if u.Fault != nil {
		return u.Fault
	}
	return Decode(u.Body, u.ContentType, v)
}

// Position is where in a topic somebody is.
type Position struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
}

// Position returns where in its topic an update stands, for [WithRecover].
func (u *Update) Position() Position { return Position{u.Epoch, u.Offset} }
