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

// What refuses calls, or answers them without a server.
var (
	refusing  = []string{KindLimit, KindRate, KindSecret, KindShed, KindBreaker, KindOrder}
	answering = []string{KindCache, KindIdempotency}
)

// orderRules are the bad orders that are known. The reasons are for people.
var orderRules = []orderRule{
	// What counts, times or writes down messages can only do so for those
	// that reach it.
	{KindMetrics, refusing, "it does not count what %s refuses"},
	{KindLog, refusing, "it does not log what %s refuses"},
	{KindTrace, refusing, "traces do not show what %s refuses, nor the time spent waiting in it"},
	{KindMetrics, answering, "it does not count what %s answers"},
	{KindLog, answering, "it does not log what %s answers"},
	{KindTrace, answering, "traces do not show what %s answers"},
	// The log takes the trace id from what the trace put into the message.
	{KindTrace, []string{KindLog, KindLogBodies}, "the lines of %s lack the trace id"},
	// A queue is left by the deadline that is set when the call enters it.
	{KindDeadline, []string{KindLimit, KindOrder}, "the time a call waits in %s is not limited by it"},
	{KindDeadline, []string{KindHedge, KindCache, KindIdempotency}, "calls that pass %s get no longer time than the node's own"},
	// A refusal must be cheap: before anything is held or waited for.
	{KindRate, []string{KindLimit}, "what it refuses has waited in the queue of %s first and taken the place of others"},
	{KindShed, []string{KindLimit, KindOrder}, "what it refuses has waited in the queue of %s first and taken the place of others"},
	{KindSecret, []string{KindLimit}, "strangers can fill the queue of %s"},
	{KindSecret, answering, "strangers get the answers that %s has"},
	{KindCache, []string{KindLimit}, "answers that it has wait in the queue of %s"},
	// A call that is tried again, or twice at a time, is one call to everything
	// outside of that.
	{KindMetrics, []string{KindRetry, KindHedge}, "it counts each try of %s as a call"},
	{KindLog, []string{KindRetry, KindHedge}, "it logs each try of %s as a call"},
	{KindTrace, []string{KindRetry, KindHedge}, "each try of %s becomes a span, and the time between them is in none"},
	{KindRate, []string{KindRetry, KindHedge}, "each try of %s counts as a message"},
	{KindOrder, []string{KindRetry}, "a call that %s tries again has lost its turn"},
	{KindOrder, []string{KindLimit}, "calls that wait for their turn take places of %s"},
	{KindOrder, []string{KindHedge}, "the second try of %s waits for the end of the first"},
	{KindCache, []string{KindHedge}, "the second try of %s waits for the answer of the first"},
	{KindIdempotency, []string{KindHedge}, "the second try of %s waits for the answer of the first"},
	// These have a call answered for several, or by one of two: no try of theirs
	// can be taken back.
	{KindRetry, []string{KindHedge}, "what passes %s is not tried again"},
	// What strangers send is not for the log.
	{KindSecret, []string{KindLogBodies}, "%s writes down whatever strangers send"},
}

// several are kinds of which a stage may have more than one: each counts by
// something else.
var several = []string{KindRate, KindBreaker}

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
	{KindHedge, []Stage{StageCall}, "only between routing and choosing can another server be chosen"},
	{KindBreaker, []Stage{StageCall}, "only between routing and choosing can another server be chosen"},
	// What answers calls for others has to know which route they are of.
	{KindCache, []Stage{StageCall}, "it answers calls of routes, before a server is chosen"},
	{KindIdempotency, []Stage{StageCall, StageServe}, "it answers calls of routes"},
	{KindShed, []Stage{StageCall, StageServe}, "it refuses calls of routes"},
	{KindOrder, []Stage{StageCall}, "it has calls of routes wait, before a server is chosen"},
	// Another address is for routing to find.
	{KindFallback, []Stage{StageInbound}, "it sends calls to another address, which is before routing"},
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
		if j := slices.IndexFunc(list, func(x Entry) bool { return x.Kind == e.Kind }); j < i && !slices.Contains(several, e.Kind) {
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
