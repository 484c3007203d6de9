package audit

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

// Kind is what an event is about.
type Kind string

// The kinds of events. Others may be added; readers should let unknown ones
// pass.
const (
	// KindAccess is a message that the permissions refused.
	KindAccess Kind = "access"
	// KindLogin is an attempt to log in.
	KindLogin Kind = "login"
	// KindLogout is the end of a session by its owner.
	KindLogout Kind = "logout"
	// KindSession is a session that was opened, refused, changed or revoked.
	KindSession Kind = "session"
	// KindPermissions is a change of the rules.
	KindPermissions Kind = "permissions"
	// KindMiddleware is a change of the middleware.
	KindMiddleware Kind = "middleware"
	// KindConfig is a change of the configuration.
	KindConfig Kind = "config"
	// KindNode is the start or stop of a node, and what was done to it.
	KindNode Kind = "node"
	// KindAudit is about the audit log itself: events that were dropped.
	KindAudit Kind = "audit"
)

// Outcome is how an event ended.
type Outcome string

// The outcomes of events.
const (
	Done    Outcome = "done"    // it was allowed, and happened
	Refused Outcome = "refused" // it was not allowed
	Failed  Outcome = "failed"  // it was allowed, and went wrong
)

// Who is the one that did something, as far as it is known. It holds names, and
// never what proves them.
type Who struct {
	// Subject is who was authenticated; "" for nobody.
	Subject string `json:"subject,omitempty"`
	// Session is the id of the session.
	Session string `json:"session,omitempty"`
	// Client is the id of the connection.
	Client string `json:"client,omitempty"`
	// IP is the address that the connection comes from; a port behind it is cut
	// off.
	IP string `json:"ip,omitempty"`
}

// Event is one thing that happened. No field may hold a secret; of Address, what
// follows a question mark is not written, because people put tokens there.
type Event struct {
	// Time is when it happened. Default: now.
	Time time.Time `json:"time"`
	// Kind is what it is about.
	Kind Kind `json:"kind"`
	// Outcome is how it ended.
	Outcome Outcome `json:"outcome"`
	// Who did it.
	Who Who `json:"who,omitzero"`
	// Verb is what was asked for: call, send, serve, broadcast …
	Verb string `json:"verb,omitempty"`
	// Address is what it was asked of.
	Address string `json:"address,omitempty"`
	// Rule is the name of the rule that decided.
	Rule string `json:"rule,omitempty"`
	// Code is the error code of the answer.
	Code message.Code `json:"code,omitempty"`
	// Detail is one sentence more, without secrets.
	Detail string `json:"detail,omitempty"`
	// Node is the name of the node; the log fills it in.
	Node string `json:"node,omitempty"`
	// Count, if not 0, says that this one line stands for so many events of the
	// same kind by the same one, the first of them at Since and the last at Time.
	// The other fields are those of the last.
	Count int `json:"count,omitempty"`
	// Since is the time of the first, if there is a Count.
	Since time.Time `json:"since,omitzero"`
}

// The most that is written of a field, in bytes: enough to recognize it by, and
// no room for those who want to fill a disk.
const (
	maxWord   = 128
	maxText   = 512
	cutMarker = "…"
)

// trim takes from an event what must not stay in memory for long, and what is
// not written.
func (e *Event) trim() {
	e.Address, _, _ = strings.Cut(e.Address, "?")
	for _, f := range []*string{&e.Who.Subject, &e.Who.Session, &e.Who.Client, &e.Who.IP, &e.Verb, &e.Rule} {
		*f = clip(*f, maxWord)
	}
	e.Address, e.Detail = clip(e.Address, maxText), clip(e.Detail, maxText)
	e.Kind, e.Outcome, e.Code = Kind(clip(string(e.Kind), maxWord)), Outcome(clip(string(e.Outcome), maxWord)), message.Code(clip(string(e.Code), maxWord))
	e.Who.IP = hostOf(e.Who.IP)
}

// clip returns at most so many bytes of s. What is cut does not keep the rest
// alive.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.Clone(s[:most]) + cutMarker
}

// clean escapes what a terminal, or a program that splits at lines, could take
// for something else.
func (e *Event) clean() {
	for _, f := range []*string{&e.Who.Subject, &e.Who.Session, &e.Who.Client, &e.Who.IP, &e.Verb, &e.Address, &e.Rule, &e.Detail, &e.Node} {
		*f = printable(*f)
	}
	e.Kind, e.Outcome, e.Code = Kind(printable(string(e.Kind))), Outcome(printable(string(e.Outcome))), message.Code(printable(string(e.Code)))
}

// printable writes what is no letter, mark, number, punctuation, symbol or
// space as \n or \u202e.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
		case hidden(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// attrs are the event for a structured log.
func (e *Event) attrs() []slog.Attr {
	list := []slog.Attr{slog.String("kind", string(e.Kind)), slog.String("outcome", string(e.Outcome))}
	for _, f := range []struct{ key, value string }{
		{"subject", e.Who.Subject}, {"session", e.Who.Session}, {"client", e.Who.Client}, {"ip", e.Who.IP},
		{"verb", e.Verb}, {"path", e.Address}, {"rule", e.Rule}, {"code", string(e.Code)}, {"detail", e.Detail},
	} {
		if f.value != "" {
			list = append(list, slog.String(f.key, f.value))
		}
	}
	if e.Count > 0 {
		list = append(list, slog.Int("count", e.Count), slog.Time("since", e.Since))
	}
	return list
}
