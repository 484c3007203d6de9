package route

import (
	"fmt"
	"slices"
	"strings"
)

// KindLogBodies is the kind of a log that shows the bodies of messages.
const KindLogBodies = "log-bodies"

// orderRule says that, in one stage, middleware of the kind outer should stand
// outside of (before) that of the kinds inner, and what goes wrong otherwise.
type orderRule struct {
	outer  string
	inner  []string
	reason string
}

// orderRules are the bad orders that are known. The reasons are for people.
var orderRules = []orderRule{
	// What counts, times or writes down messages can only do so for those
	// that reach it.
	{KindMetrics, []string{KindLimit, KindRate, KindSecret}, "it does not count what %s refuses"},
	{KindLog, []string{KindLimit, KindRate, KindSecret}, "it does not log what %s refuses"},
	{KindTrace, []string{KindLimit, KindRate, KindSecret}, "traces do not show what %s refuses, nor the time spent waiting in it"},
	// The log takes the trace id from what the trace put into the message.
	{KindTrace, []string{KindLog, KindLogBodies}, "the lines of %s lack the trace id"},
	// A queue is left by the deadline that is set when the call enters it.
	{KindDeadline, []string{KindLimit}, "the time a call waits in %s is not limited by it"},
	// A refusal must be cheap: before anything is held or waited for.
	{KindRate, []string{KindLimit}, "what it refuses has waited in the queue of %s first and taken the place of others"},
	{KindSecret, []string{KindLimit}, "strangers can fill the queue of %s"},
	// A call that is tried again is one call to everything outside of that.
	{KindMetrics, []string{KindRetry}, "it counts each try of %s as a call"},
	{KindLog, []string{KindRetry}, "it logs each try of %s as a call"},
	{KindTrace, []string{KindRetry}, "each try of %s becomes a span, and the time between them is in none"},
	// What strangers send is not for the log.
	{KindSecret, []string{KindLogBodies}, "%s writes down whatever strangers send"},
}

// placeRule says in which stages a kind does what people expect of it.
type placeRule struct {
	kind   string
	stages []Stage
	reason string
}

var placeRules = []placeRule{
	// Other messages than calls have no deadline.
	{KindDeadline, []Stage{StageCall, StageServe}, "only calls have deadlines"},
	// Inbound sees whatever is sent, also what is refused a moment later.
	{KindLimit, []Stage{StageCall, StageServe}, "there it also holds back sends, and calls that nobody serves"},
	// Before, nobody can be chosen; after, somebody is.
	{KindRetry, []Stage{StageCall}, "only between routing and choosing can another server be chosen"},
	// Routing comes after inbound; clients are not routes.
	{KindMetrics, []Stage{StageCall, StageServe}, "the route is not known there"},
	{KindTrace, []Stage{StageCall, StageServe, StageDeliver}, "who gets the message is not known there"},
	// What goes out does not carry what the other end came in with.
	{KindSecret, []Stage{StageInbound, StageCall}, "by then the message is on its way"},
}

// Warnings tells which orders in the stack are known to be mistakes: one
// sentence each, in order of stages. Nothing is changed or refused.
func (s *Stack) Warnings() []string {
	var out []string //nolint:prealloc // mostly there are none
	for i, name := range Stages() {
		out = append(out, warnings(name, *s.stages[i].entries.Load())...)
	}
	return out
}

func warnings(in Stage, list []Entry) []string {
	var out []string
	warn := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("stage %s: ", in)+fmt.Sprintf(format, args...))
	}
	for i, e := range list {
		if j := slices.IndexFunc(list, func(x Entry) bool { return x.Kind == e.Kind }); j < i {
			warn("%s and %s are both of the kind %s: remove one of them", list[j].Name, e.Name, e.Kind)
		}
		if e.Kind == KindRecover && i > 0 {
			warn("%s is not the first: it does not catch panics in %s", e.Name, list[i-1].Name)
		}
		for _, r := range placeRules {
			if r.kind == e.Kind && !slices.Contains(r.stages, in) {
				warn("%s does not belong here: %s; use stage %s", e.Name, r.reason, join(r.stages))
			}
		}
		for _, outer := range list[i+1:] {
			for _, r := range orderRules {
				if r.outer == outer.Kind && slices.Contains(r.inner, e.Kind) {
					warn("%s stands after %s: %s; move it before %s", outer.Name, e.Name, fmt.Sprintf(r.reason, e.Name), e.Name)
				}
			}
		}
	}
	return out
}

func join(stages []Stage) string {
	words := make([]string, len(stages))
	for i, s := range stages {
		words[i] = string(s)
	}
	return strings.Join(words, " or ")
}
