// Package message is the ground floor of Ropewalk: the message that travels,
// the addresses it travels between, the codes of what can go wrong, and the
// forms it takes on the wire. It does no I/O and knows no other package.
//
// The envelope is UMF (Universal Message Format 1.4.6), extended by the fields
// that Ropewalk's verbs need. docs/reference/wire.md is the reference of both.
package message

import "time"

// Version is what a message says in its ver field when nobody set it.
const Version = "UMF/1.4.6"

// Verb says what a message wants done with the resource it is addressed to.
type Verb uint8

// The verbs. The zero Verb is a message that did not name one; decoding leaves
// it so, and [Message.EffectiveVerb] gives it its meaning.
const (
	VerbNone Verb = iota
	// VerbCall asks for something to be done: any number of parts, then one
	// reply or error.
	VerbCall
	// VerbPart is an intermediate message of a call. Its Seq counts from 1.
	VerbPart
	// VerbReply ends a call, or acknowledges a send, serve or unserve.
	VerbReply
	// VerbError ends a call or refuses a message; [AppendError] makes its body.
	VerbError
	// VerbCancel tells that nobody waits for the call named by Rmid any more.
	VerbCancel
	// VerbSend is a message to which no answer is expected.
	VerbSend
	// VerbServe announces: from now on I answer for this address pattern.
	VerbServe
	// VerbUnserve takes a serve back.
	VerbUnserve
	// VerbWelcome is the first message a node sends on a connection.
	VerbWelcome
	// VerbDrain tells the other end to start no new work on this connection,
	// because the sender is about to close it.
	VerbDrain
	// VerbNodes tells a client which nodes it can connect to, when that changes.
	VerbNodes
	// VerbSession tells a client what became of its session.
	VerbSession
	// VerbGet asks for the content of a topic as it is now: one reply or error.
	VerbGet
	// VerbSubscribe asks for the content of a topic, or its events, and for every
	// change from then on. Its reply has the content and the topic's id on this
	// connection; then come updates.
	VerbSubscribe
	// VerbUnsubscribe ends that: of the topic named by Topic. From a node it tells
	// that the watch is over, and why.
	VerbUnsubscribe
	// VerbPublish gives a topic a new content or event; without a body it deletes
	// the content.
	VerbPublish
	// VerbUpdate brings a watcher a new content, a change of it, or an event.
	VerbUpdate
	// VerbGap tells a watcher that it has missed events before Offset.
	VerbGap
)

// Message is one message and its envelope.
//
// After [DecodeJSON] or [DecodeSplit] every byte slice points into the frame that was decoded: a
// Message is valid as long as its frame, and [Message.Clone] makes it
// independent. Absent fields are nil. The body is opaque: the exact bytes that
// arrived, never decoded and encoded again on the way.
//
// A Message is not safe for concurrent use; it belongs to whoever holds it.
type Message struct {
	Verb Verb
	To   []byte // where it goes: an address
	From []byte // who sent it: an address; the node writes it, whatever came in
	Mid  []byte // id chosen by the sender, unique among its messages in flight
	Rmid []byte // id of the message that this one answers or cancels

	Headers       []byte        // the JSON object of headers as it arrived, or nil
	Timeout       time.Duration // time left to answer; 0 if none was given
	Timestamp     []byte        // ISO 8601, UTC, milliseconds
	Type          []byte        // the application's word; Ropewalk does not look at it
	UMFVersion    []byte        // normally [Version]
	Via           []byte        // who passed the message on (Hydra)
	Forward       []byte        // final destination (Hydra)
	Signature     []byte        // see [Sign]
	Authorization []byte        // token of the sender
	Session       []byte        // JSON object: of a request, the session of its caller; of a reply, what is to become of that

	// Of topics; see docs/reference/wire.md.
	Topic     []byte // of what a connection watches: the id that its node gave it
	Epoch     []byte // of Offset: another one means that the count began anew
	Offset    uint64 // position of a content or event in its topic, from 1
	Fault     bool   // there is no content now: the body is that of an error
	Publisher []byte // JSON object: who published an event

	Seq         uint64 // position of a part among the parts of its call, from 1
	ContentType []byte // of the body; nil means application/json
	Strategy    []byte // JSON: how to choose among the servers, a word or an object; nil for the default
	Ack         bool   // a send whose sender wants to know that it was handed over

	// Body is JSON if ContentType is nil, else any bytes. nil is "no body".
	Body []byte
}
