package policy

import (
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// Verb is what somebody wants to do. The zero Verb is none, and never allowed.
type Verb uint8

// The verbs, in the order in which they are listed.
const (
	// Call is to call an address, and to gather.
	Call Verb = iota + 1
	// Send is to send a message that is not answered.
	Send
	// Serve is to answer for a path.
	Serve
	// Broadcast is to send to all clients.
	Broadcast
	// Watch is to be told the content or the events of a topic, once or for long.
	Watch
	// Publish is to give a topic a new content, or an event.
	Publish
	// Code is to publish what is run, scripts and queries, and to read its source.
	// Publish or Watch is needed, too.
	Code
	// Admin is to change the node, to tap messages, to see sessions of others.
	Admin
	// Session is to see secret claims of callers and to change their sessions,
	// as a service on a connection.
	Session

	anyVerb // "*" in a rule
)

var verbs = [...]string{
	Call: "call", Send: "send", Serve: "serve", Broadcast: "broadcast", Watch: "watch",
	Publish: "publish", Code: "code", Admin: "admin", Session: "session", anyVerb: "*",
}

// groups are words that stand for several verbs.
var groups = map[string][]Verb{
	presetReadOnly: {Watch},
	presetEditor:   {Call, Send, Watch, Publish},
}

// Verbs returns all verbs.
func Verbs() []Verb {
	return []Verb{Call, Send, Serve, Broadcast, Watch, Publish, Code, Admin, Session}
}

// ParseVerb returns the verb that a word names. The error has CodeInvalidInput.
func ParseVerb(word string) (Verb, error) {
	for i, w := range verbs[:anyVerb] {
		if w == word && w != "" {
			return Verb(i), nil
		}
	}
	return 0, message.NewError(message.CodeInvalidInput, "there is no verb "+quote(word), "Use one of "+strings.Join(verbs[1:anyVerb], ", ")+".")
}

// parseVerb is ParseVerb for rules: "*" is all verbs.
func parseVerb(word string) (Verb, error) {
	if word == verbs[anyVerb] {
		return anyVerb, nil
	}
	return ParseVerb(word)
}

// String returns the word.
func (v Verb) String() string {
	if int(v) < len(verbs) {
		return verbs[v]
	}
	return ""
}

// phrase is what is done to an address.
func (v Verb) phrase(address string) string {
	switch v {
	case Send, Broadcast, Publish:
		return v.String() + " to " + address
	case Code:
		return "read or write the code at " + address
	case Admin:
		return "use " + address + " as admin"
	case Session:
		return "see the sessions of callers at " + address
	default:
		return v.String() + " " + address
	}
}

// MarshalText returns the word.
func (v Verb) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is [ParseVerb].
func (v *Verb) UnmarshalText(b []byte) error {
	var err error
	*v, err = ParseVerb(string(b))
	return err
}

// covers tells whether a rule about v is about w.
func (v Verb) covers(w Verb) bool { return v == w || v == anyVerb && w != 0 }
