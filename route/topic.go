package route

import (
	"slices"
	"strconv"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// What becomes of events that a watcher is too slow for; see [Topic.Slow].
const (
	SlowGap        = "gap"
	SlowDrop       = "drop"
	SlowDisconnect = "disconnect"
)

// Topic says how the paths of a route can be watched. A server of such a route
// is asked with the verbs get, subscribe and publish besides call. One that is
// asked to subscribe sends the content, or what has happened, as parts until
// the request ends.
type Topic struct {
	// Events is true where each message counts, as in a log; else there is a
	// content, of which only the latest matters.
	Events bool `json:"events,omitempty"`
	// Slow says what becomes of events that a watcher is too slow for: "gap",
	// which it is told and can fill from the history (the default), "drop", which
	// drops the oldest without a word, "disconnect".
	Slow string `json:"slow,omitempty"`
	// History is how much is kept for those who come back.
	History History `json:"history,omitzero"`
	// Durable has the events kept on disk by all nodes that have a store
	// (mesh.store), so that they outlive nodes; for topics of the configuration.
	// The history bounds what is kept: count of an address, bytes of all together.
	Durable bool `json:"durable,omitempty"`
	// Presence has the nodes tell who watches NAME:/PATH, at node:/presence/NAME/PATH.
	Presence bool `json:"presence,omitempty"`
	// Publisher tells watchers who published an event.
	Publisher bool `json:"publisher,omitempty"`
	// Personal is set if what is seen may depend on who looks.
	Personal bool `json:"personal,omitempty"`
	// Code are the ends of names, without the dot, of what is run: publishing to
	// such a path, and watching its source, needs the right "code" besides.
	Code []string `json:"code,omitempty"`
	// Reads is set if a call is answered as a get is: then it needs the right to
	// watch, too.
	Reads bool `json:"reads,omitempty"`
	// Feed is the server itself, if it is one; other nodes do not know it.
	Feed Feed `json:"-"`
}

// Check reports what makes no sense in it, naming the field. The error is a
// *message.Error.
func (t *Topic) Check() error {
	wrong := func(field, text, hint string) error {
		e := message.NewError(message.CodeInvalidInput, field+": "+text, hint)
		e.Path = field
		return e
	}
	switch {
	case t.Slow != "" && t.Slow != SlowGap && t.Slow != SlowDrop && t.Slow != SlowDisconnect:
		return wrong("slow", strconv.Quote(t.Slow)+" is none of gap, drop, disconnect", "Leave it out for gap.")
	case t.History.Count < 0 || t.History.Bytes < 0:
		return wrong("history", "a bound is negative", "Leave it out for the default.")
	case !t.Events && t.Durable:
		return wrong("durable", "only events are kept", "Set events, or leave it out.")
	case !t.Events && (t.Slow != "" || t.History != History{}):
		return wrong("events", "slow and history are for event topics", "Set events, or leave them out: of a state topic only the latest counts.")
	}
	return nil
}

// History bounds what is kept of a topic. All bounds hold; the zero value keeps
// nothing but the newest content of a state topic.
type History struct {
	// Count is how many messages are kept.
	Count int `json:"count,omitempty"`
	// Bytes is how large they may be together.
	Bytes int `json:"bytes,omitempty"`
	// Age is how long each is kept.
	Age duration.Duration `json:"age,omitempty"`
}

// Stamp is where a content or event stands in its topic.
type Stamp struct {
	// Epoch names the count of Offset; another one means that it began anew.
	Epoch string
	// Offset counts from 1.
	Offset uint64
	// Topic is, in the reply to a subscribe, what its updates are called; between
	// nodes it marks where the history begins and ends.
	Topic string
	// To is the address of an event, for who watches many by a pattern.
	To string
	// Publisher is a JSON object: who published an event; nil if nobody is told.
	Publisher []byte
}

// Sink takes what a topic has, from its server or on the way. Its methods are
// called one at a time and must not block, nor end what they belong to.
type Sink interface {
	// Part takes a content or event; unless b is Stable it is valid until Part
	// returns.
	Part(b Body)
	// Done tells that it is over; err is nil after a reply. It is the last that is
	// called.
	Done(err *message.Error)
}

// Feed is a server in this process that numbers what it tells, remembers it and
// tells it to many. Nodes join it, without the request that others are sent.
type Feed interface {
	// Join has a Sink, a pointer, told what there is at an address, which may be a
	// pattern of event topics, and then all that comes, until it leaves. seen is the
	// position up to which it needs no events any more; its zero value is the
	// beginning.
	Join(to message.Address, seen Stamp, s Sink) error
	// Leave has a Sink told nothing any more of an address that it has joined; else
	// it does nothing. The Sink must not call it while it is told something.
	Leave(to message.Address, s Sink)
}

// Equal reports whether two topics, which may be nil, say the same.
func (t *Topic) Equal(o *Topic) bool {
	if t == nil || o == nil {
		return t == o
	}
	return t.Events == o.Events && t.Slow == o.Slow && t.History == o.History && t.Durable == o.Durable && t.Presence == o.Presence &&
		t.Publisher == o.Publisher && t.Personal == o.Personal && slices.Equal(t.Code, o.Code)
}
