package middleware

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// fallbackCodes are those after which a fallback answers if a rule names none:
// nobody is there, or nobody has time.
var fallbackCodes = []message.Code{
	message.CodeServiceDown, message.CodeServiceLost, message.CodeNodeLost, message.CodeMeshSplit,
	message.CodeCircuitOpen, message.CodeOverloaded, message.CodeShuttingDown,
}

// Defaults of [Fallback].
const (
	// DefaultFallbackEntries is how many last good answers are kept.
	DefaultFallbackEntries = 10_000
	// DefaultFallbackBytes is for all of them.
	DefaultFallbackBytes = 32 << 20
	// DefaultFallbackAnswer is for one.
	DefaultFallbackAnswer = 256 << 10
	// maxFallbackTo is how many addresses a rule may have: each of them takes
	// time that the call may not have.
	maxFallbackTo = 8
)

// FallbackConfig is the configuration of [Fallback].
type FallbackConfig struct {
	// Routes says who answers for whom, by the pattern of the address that was
	// called ("name:/pattern"). The most specific one counts.
	Routes map[string]FallbackRoute `json:"routes"`
	// Entries is how many last good answers are kept; those that were not used
	// for the longest are forgotten first. Default: 10000.
	Entries int `json:"entries,omitempty"`
	// Bytes is how much they may take, all together. Default: 33554432.
	Bytes int `json:"bytes,omitempty"`
	// Answer is how many bytes one may have; larger ones are not kept. Default:
	// 262144.
	Answer int `json:"answer,omitempty"`
}

// FallbackRoute says what answers when a call of a route fails: the first of
// the addresses that does, else the last good answer, else the value.
type FallbackRoute struct {
	// Codes are the errors after which that is so. Default: service_down,
	// service_lost, node_lost, mesh_split, circuit_open, overloaded and
	// shutting_down.
	Codes []string `json:"codes,omitempty"`
	// After is how long an answer is waited for until the fallback is taken; the
	// server is told then that nobody waits any more. Default: until there is an
	// error.
	After duration.Duration `json:"after,omitzero"`
	// To are other addresses, which are asked in turn. A {name} of the route
	// stands for its value, and the query goes along. The caller must be
	// allowed to call them. One that may have been executed already is asked of
	// another address only if it is idempotent.
	To []string `json:"to,omitempty"`
	// Idempotent says that calls of the route may be executed twice, whatever
	// its servers say. Default: as they say.
	Idempotent bool `json:"idempotent,omitempty"`
	// Last is how old the last good answer may be that the same caller got to the
	// same call: the same user with the same claims; of those who are not logged in
	// the same session, or all who have none and send the same token. Default: it is
	// not kept.
	Last duration.Duration `json:"last,omitzero"`
	// Public says that answers do not depend on who asks, so that the last good
	// one may be that of another.
	Public bool `json:"public,omitempty"`
	// Value is a fixed answer.
	Value json.RawMessage `json:"value,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c FallbackConfig) Validate() error {
	switch {
	case len(c.Routes) == 0:
		return invalid("routes", "no route is named", `Write what answers for whom, as in {"shop:/stock":{"value":[]}}.`)
	case c.Entries < 0:
		return invalid("entries", "the number of answers is negative", "Leave it out for 10000.")
	case c.Bytes < 0:
		return invalid("bytes", "the number of bytes is negative", "Leave it out for 33554432.")
	case c.Answer < 0:
		return invalid("answer", "the size of an answer is negative", "Leave it out for 262144.")
	}
	for name, r := range c.Routes {
		if t, err := parseTarget(name); err != nil || t.name == "*" {
			return invalid("routes."+name, "it is not the pattern of an address", `Write it like "shop:/item/{id}".`)
		}
		if err := r.check("routes."+name, name); err != nil {
			return err
		}
	}
	return nil
}

func (r FallbackRoute) check(field, name string) error {
	switch {
	case len(r.To) == 0 && r.Last == 0 && r.Value == nil:
		return invalid(field, "nothing answers in its place", "Set to, last or value.")
	case r.After < 0:
		return invalid(field+".after", "the time to wait is negative", "Leave it out to wait for an error.")
	case r.Last < 0:
		return invalid(field+".last", "the age of an answer is negative", "Leave it out.")
	case len(r.To) > maxFallbackTo:
		return invalid(field+".to", fmt.Sprintf("there are more than %d addresses", maxFallbackTo), "Name those that are most likely there.")
	}
	from, _ := parseTarget(name)
	have := slices.Collect(from.pattern.Names())
	for _, to := range r.To {
		t, err := parseTarget(to)
		if err != nil || t.name == "*" || strings.Contains(to+"/", "/*/") {
			return invalid(field+".to", fmt.Sprintf("%q is not an address", to), `Write it like "shop-eu:/item/{id}".`)
		}
		for n := range t.pattern.Names() {
			if !slices.Contains(have, n) {
				return invalid(field+".to", fmt.Sprintf("%q has a parameter %s that the route does not have", to, n), "Use the names of the route.")
			}
		}
	}
	for _, code := range r.Codes {
		if !message.Code(code).Known() {
			return invalid(field+".codes", fmt.Sprintf("there is no error code %q", code), "The codes are in docs/reference/errors.md.")
		}
	}
	return nil
}

// FallbackMetrics are what [Fallback] counts.
type FallbackMetrics struct{ answers *prometheus.CounterVec }

// NewFallbackMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_fallbacks_total{by}   calls that failed or took too long, by what was tried in their place: address, last, value or none
func NewFallbackMetrics(reg prometheus.Registerer) (*FallbackMetrics, error) {
	m := &FallbackMetrics{answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_fallbacks_total", Help: "Calls that failed or took too long, by what was tried in their place: address, last, value or none.",
	}, []string{"by"})}
	var err error
	m.answers, err = register(reg, m.answers, err)
	return m, err
}

func (m *FallbackMetrics) count(by string) {
	if m != nil {
		m.answers.WithLabelValues(by).Inc()
	}
}

// Fallback answers in the place of routes whose calls fail: another address
// does, or the last good answer to the same call, or a fixed value. It is asked
// when all else has given up: when a call is tried again it is after the last
// try. Once there were parts it is too late. If nothing can answer, the caller
// gets the first error.
//
// It goes by the address that was called, which may be one that nobody serves
// any more. Calls to one instance, gathers and addresses with wildcards have no
// fallback. Where a call goes to another address it passes all that is inside of
// this middleware again, but not this: there are no loops.
//
// It fits the stage inbound. To calls of other services it costs a look-up; to
// those of its routes a copy of the request and its body, and an allocation for
// each middleware that is told of the end. A panic is written to
// log ([slog.Default] if nil). An invalid configuration panics; see
// [FallbackConfig.Validate].
func Fallback(log *slog.Logger, m *FallbackMetrics, cfg FallbackConfig) route.Middleware {
	must(cfg.Validate())
	f := &fallback{
		log: log, metrics: m, rules: make(map[string][]*fallbackRule),
		last: newStore(cmp.Or(cfg.Entries, DefaultFallbackEntries), cmp.Or(cfg.Bytes, DefaultFallbackBytes), cmp.Or(cfg.Answer, DefaultFallbackAnswer)),
	}
	for name, r := range cfg.Routes {
		rule := newFallbackRule(name, r)
		f.rules[rule.at.name] = append(f.rules[rule.at.name], rule)
	}
	for _, list := range f.rules {
		slices.SortFunc(list, func(a, b *fallbackRule) int { return a.at.pattern.Compare(b.at.pattern) })
	}
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			if rule, a := f.rule(req); rule != nil {
				f.handle(ctx, next, req, res, rule, a)
				return
			}
			next.Handle(ctx, req, res)
		})
	}
}

// fallback is all rules and last good answers.
type fallback struct {
	log     *slog.Logger
	metrics *FallbackMetrics
	rules   map[string][]*fallbackRule // by the name of the service, the most specific first
	last    *store
}

type fallbackRule struct {
	at         target
	codes      map[message.Code]bool
	after      time.Duration
	to         []target
	idempotent bool
	keep       time.Duration
	who        cacheKey
	value      json.RawMessage
}

func newFallbackRule(name string, r FallbackRoute) *fallbackRule {
	rule := &fallbackRule{
		codes: make(map[message.Code]bool), after: time.Duration(r.After), idempotent: r.Idempotent,
		keep: time.Duration(r.Last), who: cacheKey{public: r.Public}, value: r.Value,
	}
	rule.at, _ = parseTarget(name)
	for _, to := range r.To {
		t, _ := parseTarget(to)
		rule.to = append(rule.to, t)
	}
	for _, c := range r.Codes {
		rule.codes[message.Code(c)] = true
	}
	if len(r.Codes) == 0 {
		for _, c := range fallbackCodes {
			rule.codes[c] = true
		}
	}
	return rule
}

// rule finds the rule for a message. Only for services that have rules is the
// address taken apart.
func (f *fallback) rule(req *route.Request) (*fallbackRule, message.Address) {
	m := &req.Message
	name, _, _ := bytes.Cut(m.To, []byte(":"))
	list := f.rules[string(name)]
	if list == nil || m.EffectiveVerb() != message.VerbCall {
		return nil, message.Address{}
	}
	a, err := message.ParseStrict(string(m.To))
	if err != nil || a.Instance != "" || a.HasWildcard() {
		return nil, a
	}
	if sel, err := req.Selection(); err != nil || sel.Gathers() {
		return nil, a
	}
	for _, r := range list {
		if _, ok := r.at.pattern.Match(a.Path); ok {
			return r, a
		}
	}
	return nil, a
}

func (f *fallback) handle(ctx context.Context, next route.Handler, req *route.Request, res route.Responder, rule *fallbackRule, a message.Address) {
	req.Keep()
	req.Session() // is read now: later several goroutines may ask for it
	c := &rescue{f: f, rule: rule, ctx: ctx, next: next, base: req.Again(), address: a, res: res}
	c.repeater, _ = repeaterOf(res)
	res.OnFinish(c)
	if rule.after > 0 {
		res.OnFinish(stopping{time.AfterFunc(rule.after, c.late)})
	}
	next.Handle(ctx, req, c.begin(req))
}

// keyOf is what calls have in common that get the same last good answer.
func (rule *fallbackRule) keyOf(req *route.Request) (id digest, ok bool) {
	m := &req.Message
	sum := digestOf(m.To, m.Strategy, m.ContentType, m.Body)
	b := text([]byte(nil), sum[:])
	if !rule.who.public {
		if b, ok = rule.who.who(b, req); !ok {
			return id, false
		}
	}
	return digestOf(b), true
}

// readdress returns the address of a fallback for a call of the rule's route.
func (rule *fallbackRule) readdress(to target, a message.Address) []byte {
	params, _ := rule.at.pattern.Match(a.Path)
	path := to.pattern.String()
	for name, value := range params.All() {
		if name == "**" {
			path = strings.TrimSuffix(path, "**") + value
			continue
		}
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	a.Name, a.Path = to.name, path
	return a.AppendTo(nil)
}
