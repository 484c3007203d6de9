package message

import "strings"

// verbs holds the wire word of each Verb.
var verbs = [...]string{
	VerbNone:    "",
	VerbCall:    "call",
	VerbPart:    "part",
	VerbReply:   "reply",
	VerbError:   "error",
	VerbCancel:  "cancel",
	VerbSend:    "send",
	VerbServe:   "serve",
	VerbUnserve: "unserve",
	VerbWelcome: "welcome",
	VerbDrain:   "drain",
	VerbNodes:   "nodes",
	VerbSession: "session",

	VerbGet:         "get",
	VerbSubscribe:   "subscribe",
	VerbUnsubscribe: "unsubscribe",
	VerbPublish:     "publish",
	VerbUpdate:      "update",
	VerbGap:         "gap",
}

// verbHint names all verbs.
var verbHint = "Use one of " + strings.Join(verbs[1:], ", ") + "."

// ParseVerb returns the verb that s names, and whether there is one. The empty
// word is no verb.
func ParseVerb(s string) (Verb, bool) {
	switch s {
	case "call":
		return VerbCall, true
	case "part":
		return VerbPart, true
	case "reply":
		return VerbReply, true
	case "error":
		return VerbError, true
	case "cancel":
		return VerbCancel, true
	case "send":
		return VerbSend, true
	case "serve":
		return VerbServe, true
	case "unserve":
		return VerbUnserve, true
	case "welcome":
		return VerbWelcome, true
	case "drain":
		return VerbDrain, true
	case "nodes":
		return VerbNodes, true
	case "session":
		return VerbSession, true
	case "get":
		return VerbGet, true
	case "subscribe":
		return VerbSubscribe, true
	case "unsubscribe":
		return VerbUnsubscribe, true
	case "publish":
		return VerbPublish, true
	case "update":
		return VerbUpdate, true
	case "gap":
		return VerbGap, true
	default:
		return VerbNone, false
	}
}

// ParseVerbBytes is [ParseVerb] for bytes; it does not allocate.
func ParseVerbBytes(b []byte) (Verb, bool) {
	if len(b) > 16 {
		return VerbNone, false
	}
	return ParseVerb(string(b))
}

// String returns the word of v on the wire, "" for [VerbNone].
func (v Verb) String() string {
	if int(v) >= len(verbs) {
		return "invalid"
	}
	return verbs[v]
}

// MarshalText returns the word of v on the wire.
func (v Verb) MarshalText() ([]byte, error) {
	if int(v) >= len(verbs) {
		return nil, NewError(CodeUnknownVerb, "this is not a verb", verbHint)
	}
	return []byte(verbs[v]), nil
}

// UnmarshalText reads a word; the empty one is [VerbNone]. The error is an
// *Error with [CodeUnknownVerb].
func (v *Verb) UnmarshalText(b []byte) error {
	w, ok := ParseVerbBytes(b)
	if !ok && len(b) > 0 {
		return unknownVerb(b)
	}
	*v = w
	return nil
}

func unknownVerb(b []byte) *Error {
	e := NewError(CodeUnknownVerb, "there is no verb "+quote(b), verbHint)
	e.Path = "vrb"
	return e
}
