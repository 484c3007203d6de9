package middleware

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// What a breaker has a circuit for.
const (
	// BreakByServer is one for each server of each route. It is the default.
	BreakByServer = "server"
	// BreakByRoute is one for each route, whoever serves it: for what all of its
	// servers need, such as one database.
	BreakByRoute = "route"
)

// Defaults of [BreakerConfig].
const (
	// DefaultBreakerShare is half: a server that fails more often than not is
	// better left alone.
	DefaultBreakerShare = 0.5
	// DefaultBreakerCalls is too many for a run of bad luck.
	DefaultBreakerCalls = 10
	// DefaultBreakerWindow is short enough to react before people do.
	DefaultBreakerWindow = 10 * time.Second
	// DefaultBreakerOpen lets a server that is overloaded catch its breath.
	DefaultBreakerOpen = 5 * time.Second
	// DefaultBreakerTrials is few: these calls may fail.
	DefaultBreakerTrials = 3
	// DefaultBreakerPatience is less than nearly all calls are given.
	DefaultBreakerPatience = time.Second
)

const (
	// maxCircuits bounds the servers of one route of which something is kept.
	maxCircuits = 1000
	// maxStates bounds what a state shows.
	maxStates = 200
)

// BreakerConfig is the configuration of [Breaker].
type BreakerConfig struct {
	// By says what has a circuit of its own: each server of a route ("server"),
	// or each route whoever serves it ("route"). Default: server.
	By string `json:"by,omitempty"`
	// Share is which share of the calls has to fail, above 0 and up to 1.
	// Default: 0.5.
	Share float64 `json:"share,omitempty"`
	// Calls is how many calls there have to be in the window at least. Default: 10.
	Calls int `json:"calls,omitempty"`
	// Window is how long calls count. Default: 10s.
	Window duration.Duration `json:"window,omitzero"`
	// Open is how long no call is let through; up to a fifth more or less, by
	// chance. Default: 5s.
	Open duration.Duration `json:"open,omitzero"`
	// Trials is how many calls are then let through and have to succeed.
	// Default: 3.
	Trials int `json:"trials,omitempty"`
	// Codes are the errors that count as failures. Default: service_lost,
	// node_lost, deadline_exceeded, internal and overloaded.
	Codes []message.Code `json:"codes,omitempty"`
	// Patience is how long a call has to have lasted if it ended by its
	// deadline: callers with less of it say nothing about the server, and could
	// open the circuit for all others. Default: 1s.
	Patience duration.Duration `json:"patience,omitzero"`
	// Routes ("name:/pattern") are those that have circuits. Default: all.
	Routes []string `json:"routes,omitempty"`
	// Except are routes without.
	Except []string `json:"except,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c BreakerConfig) Validate() error {
	switch {
	case c.By != "" && c.By != BreakByServer && c.By != BreakByRoute:
		return invalid("by", fmt.Sprintf("there are no circuits by %q", c.By), "Set by to server or route.")
	case math.IsNaN(c.Share) || c.Share < 0 || c.Share > 1:
		return invalid("share", "the share is not between 0 and 1", "Set share to 0.5 for half of the calls.")
	case c.Calls < 0:
		return invalid("calls", "the number of calls is negative", "Leave it out for 10.")
	case c.Window < 0 || c.Window > 0 && time.Duration(c.Window) < windowSlots*time.Millisecond:
		return invalid("window", "the window is shorter than 10ms", "Leave it out for 10s.")
	case c.Open < 0:
		return invalid("open", "the time is negative", "Leave it out for 5s.")
	case c.Trials < 0:
		return invalid("trials", "the number of trials is negative", "Leave it out for 3.")
	case c.Patience < 0:
		return invalid("patience", "the time is negative", "Leave it out for 1s.")
	}
	for i, code := range c.Codes {
		if !code.Known() {
			return invalid(fmt.Sprintf("codes[%d]", i), fmt.Sprintf("there is no error code %.40q", code), "docs/reference/errors.md lists them.")
		}
	}
	return nil
}

// BreakerMetrics are what [Breaker] counts.
type BreakerMetrics struct {
	open    *prometheus.GaugeVec
	changes *prometheus.CounterVec
	refused *prometheus.CounterVec
}

// NewBreakerMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_circuits_open{route}           circuits that let no call through, or only trials
//	ropewalk_circuit_changes_total{route,state} circuits that came into a state
//	ropewalk_circuit_refusals_total{route}  times at which a circuit kept a call from a server
func NewBreakerMetrics(reg prometheus.Registerer) (*BreakerMetrics, error) {
	m := &BreakerMetrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ropewalk_circuits_open", Help: "Circuits that let no call through, or only trials, by route.",
		}, []string{"route"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_circuit_changes_total", Help: "Circuits that came into a state, by route.",
		}, []string{"route", "state"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_circuit_refusals_total", Help: "Times at which a circuit kept a call from a server, by route.",
		}, []string{"route"}),
	}
	var err error
	m.open, err = register(reg, m.open, err)
	m.changes, err = register(reg, m.changes, err)
	m.refused, err = register(reg, m.refused, err)
	return m, err
}

// CircuitBreaker keeps calls from servers that fail. Make one with [NewBreaker].
type CircuitBreaker struct {
	log          *slog.Logger
	metrics      *BreakerMetrics
	rules        rules
	byRoute      bool
	codes        map[message.Code]struct{}
	patience     time.Duration
	only, except map[string]struct{}
	routes       *byRoute[circuits]
	retired      atomic.Bool
}

// NewBreaker makes a breaker, which writes changes of its circuits to log
// ([slog.Default] if nil). m may be nil. An invalid configuration panics; see
// [BreakerConfig.Validate].
func NewBreaker(log *slog.Logger, m *BreakerMetrics, cfg BreakerConfig) *CircuitBreaker {
	must(cfg.Validate())
	if m == nil {
		m, _ = NewBreakerMetrics(nil) // without a registry there is no error
	}
	if log == nil {
		log = slog.Default()
	}
	codes := cfg.Codes
	if codes == nil {
		codes = []message.Code{
			message.CodeServiceLost, message.CodeNodeLost, message.CodeDeadlineExceeded, message.CodeInternal, message.CodeOverloaded,
		}
	}
	b := &CircuitBreaker{
		log: log, metrics: m, byRoute: cfg.By == BreakByRoute, patience: cfg.Patience.Or(DefaultBreakerPatience),
		only: setOf(cfg.Routes), except: setOf(cfg.Except), codes: setOf(codes),
		rules: rules{
			share:  cmp.Or(cfg.Share, DefaultBreakerShare),
			calls:  cmp.Or(cfg.Calls, DefaultBreakerCalls),
			window: cfg.Window.Or(DefaultBreakerWindow),
			open:   cfg.Open.Or(DefaultBreakerOpen),
			trials: cmp.Or(cfg.Trials, DefaultBreakerTrials),
		},
	}
	b.routes = newByRoute(b.ofRoute)
	return b
}

// Breaker is the middleware of [NewBreaker].
func Breaker(log *slog.Logger, m *BreakerMetrics, cfg BreakerConfig) route.Middleware {
	return NewBreaker(log, m, cfg).Middleware()
}

// Middleware leaves servers alone that have failed too often lately. While its
// circuit is open a server is left out if there are others, as if it were not
// there; if there are none, the call fails at once with
// [message.CodeCircuitOpen], which says when to try again. After a while a few
// calls are let through as trials: if they succeed the circuit is closed again.
//
// It fits the stage call, inside of the retries, so that each try counts and
// goes past servers that fail; outside of them it does the same. Calls of the
// node itself always pass. What is chosen by an address with wildcards is chosen
// before, and not again. It costs a mutex three times a call, some look-ups, and
// a clock.
func (b *CircuitBreaker) Middleware() route.Middleware {
	return func(next route.Handler) route.Handler {
		gates := []route.Gate{b} // one slice for all requests
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			if b.guards(req) {
				if wait := b.narrow(req); wait > 0 {
					_ = res.Fail(circuitIsOpen(req.Route, wait))
					return
				}
				req.Guard(gates...)
			}
			next.Handle(ctx, req, res)
		})
	}
}

func (b *CircuitBreaker) guards(req *route.Request) bool {
	return req.Message.EffectiveVerb() == message.VerbCall && req.Address.Name != "node" && among(req.Route, b.only, b.except)
}

// narrow leaves servers out of the match that would surely be refused. If these
// are all, it returns how long to wait. It saves choosing again and again: what
// counts is what Admit says.
func (b *CircuitBreaker) narrow(req *route.Request) time.Duration {
	set := b.routes.get(req.Route)
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.open == 0 && set.force != circuitOpen {
		return 0
	}
	var out []route.Endpoint
	least, now := time.Duration(math.MaxInt64), time.Now()
	ends := req.Match().Endpoints
	for _, e := range ends {
		if wait := set.shut(b.key(e), now); wait > 0 {
			out, least = append(out, e), min(least, wait)
		}
	}
	if len(out) == len(ends) && len(out) > 0 {
		b.metrics.refused.WithLabelValues(set.route).Inc()
		return least
	}
	sel, err := req.Selection()
	if len(out) == 0 || err != nil || sel.Version != "" || sel.Scope != "" {
		return 0 // who asks for a few servers is told that of these
	}
	if rest, ok := req.Match().Without(out); ok {
		req.Matched(rest)
	}
	return 0
}

// key returns the circuit of a server.
func (b *CircuitBreaker) key(e route.Endpoint) string {
	if b.byRoute {
		return ""
	}
	return e.ID()
}

// Admit implements route.Gate.
func (b *CircuitBreaker) Admit(req *route.Request, res route.Responder) error {
	set := b.routes.get(req.Route)
	set.mu.Lock()
	now := req.Received // a closed circuit needs no clock
	c := set.get(b.key(req.Server), now)
	if c == nil {
		set.mu.Unlock()
		return nil
	}
	if c.state != circuitClosed {
		now = time.Now()
	}
	before := c.state
	t, wait := c.admit(now)
	set.changed(before, c.state)
	half := c.state != before
	set.mu.Unlock()
	if half {
		b.tell(c, circuitHalfOpen)
	}
	if wait > 0 {
		b.metrics.refused.WithLabelValues(set.route).Inc()
		return circuitIsOpen(req.Route, wait)
	}
	if t != nil {
		res.OnFinish(t)
	}
	return nil
}

// judge says what the end of a call tells about its server.
func (b *CircuitBreaker) judge(o *route.Outcome) verdict {
	if o.Err == nil {
		return verdictGood
	}
	if _, bad := b.codes[o.Err.Code]; bad {
		if o.Err.Code == message.CodeDeadlineExceeded && o.Took < b.patience && !errors.Is(o.Err, route.ErrTryTime) {
			return verdictNone
		}
		return verdictBad
	}
	switch o.Err.Code { //nolint:exhaustive // any other the server has chosen
	case message.CodeCanceled, message.CodeServiceDown, message.CodeMeshSplit, message.CodeShuttingDown,
		message.CodeSlowConsumer, message.CodeCircuitOpen, message.CodeDeadlineExceeded:
		return verdictNone
	}
	return verdictGood
}

// tell writes down that a circuit has changed.
func (b *CircuitBreaker) tell(c *circuit, to circuitState) {
	b.metrics.changes.WithLabelValues(c.set.route, string(to)).Inc()
	level, hint := slog.LevelInfo, "calls pass again"
	switch to {
	case circuitOpen:
		level, hint = slog.LevelWarn, "its calls fail: look at the log of the server"
	case circuitHalfOpen:
		hint = "a few calls are tried"
	case circuitClosed:
	}
	b.log.LogAttrs(context.Background(), level, "circuit has changed",
		slog.String("state", string(to)), slog.String("route", c.set.route), slog.String("server", c.server), slog.String("hint", hint))
}

func circuitIsOpen(pattern string, wait time.Duration) *message.Error {
	e := message.NewError(message.CodeCircuitOpen, "the servers of "+pattern+" failed too often, and are left alone for a while", "")
	e.RetryAfter = max(wait, time.Millisecond)
	return e
}

// among reports whether a route is among some, or there are none, and not among
// those that are excepted.
func among(name string, only, except map[string]struct{}) bool {
	if only != nil {
		if _, ok := only[name]; !ok {
			return false
		}
	}
	_, not := except[name]
	return !not
}

// CircuitInfo is one circuit as the state of a [CircuitBreaker] shows it.
type CircuitInfo struct {
	Route  string    `json:"route"`
	Server string    `json:"server,omitempty"` // id; "" by route
	State  string    `json:"state"`            // closed, open or half-open
	Set    bool      `json:"set,omitempty"`    // by an operator
	Since  time.Time `json:"since"`
	Calls  int       `json:"calls"`            // in the window
	Failed int       `json:"failed,omitempty"` // of them
}

// State implements route.Stateful: the circuits of all routes, those that are not
// closed first, at most 200.
func (b *CircuitBreaker) State() any {
	now := time.Now()
	all := []CircuitInfo{}
	for _, s := range b.routes.all() {
		s.mu.Lock()
		if s.force != "" {
			all = append(all, CircuitInfo{Route: s.route, Server: "*", State: string(s.force), Set: true, Since: now})
		}
		for _, c := range s.all {
			i := CircuitInfo{Route: s.route, Server: c.server, State: string(c.state), Since: c.since}
			i.Calls, i.Failed = c.sum(now)
			if f := c.forced(); f != "" {
				i.State, i.Set = string(f), true
			}
			all = append(all, i)
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b CircuitInfo) int {
		// "half-open" and "open" come behind "closed".
		return cmp.Or(strings.Compare(b.State, a.State), strings.Compare(a.Route, b.Route), strings.Compare(a.Server, b.Server))
	})
	return all[:min(len(all), maxStates)]
}

// CircuitChange is what [CircuitBreaker.SetState] takes.
type CircuitChange struct {
	// Route is "name:/pattern", as the state shows it. Required.
	Route string `json:"route"`
	// Server is the id of one server. Default: all of the route.
	Server string `json:"server,omitempty"`
	// State is what is to be: open lets no call through and closed all of them,
	// until something else is set; auto takes that back and begins anew.
	State string `json:"state"`
}

// SetState implements route.Stateful with a [CircuitChange].
func (b *CircuitBreaker) SetState(raw json.RawMessage) error {
	var in CircuitChange
	if err := decode(raw, &in); err != nil {
		return err
	}
	var force circuitState
	switch in.State {
	case "auto":
	case string(circuitOpen), string(circuitClosed):
		force = circuitState(in.State)
	default:
		return invalid("state", fmt.Sprintf("a circuit cannot be set to %.40q", in.State), "Set state to open, closed or auto.")
	}
	if name, _, ok := strings.Cut(in.Route, ":"); !ok || name == "" {
		return invalid("route", "the route is missing", `Write {"route":"shop:/pay","state":"open"}; the state shows the routes there are.`)
	}
	if b.byRoute && in.Server != "" {
		return invalid("server", "these circuits are by route", "Leave server out.")
	}
	now := time.Now()
	s := b.routes.get(in.Route)
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.Server == "" {
		s.force = force
		for _, c := range s.all {
			s.set(c, "", now)
		}
		return nil
	}
	c := s.get(in.Server, now)
	if c == nil {
		return invalid("server", "there are too many circuits", "Set all of the route, without server.")
	}
	s.set(c, force, now)
	return nil
}

// Retire implements route.Retirer: its circuits are not counted as open any more.
func (b *CircuitBreaker) Retire() {
	b.retired.Store(true)
	for _, s := range b.routes.all() {
		s.mu.Lock()
		s.show()
		s.mu.Unlock()
	}
}

// set forces a circuit, which begins anew.
func (s *circuits) set(c *circuit, force circuitState, now time.Time) {
	before := c.state
	c.force = force
	c.become(circuitClosed, now)
	s.changed(before, c.state)
}

var (
	_ route.Gate     = (*CircuitBreaker)(nil)
	_ route.Stateful = (*CircuitBreaker)(nil)
	_ route.Retirer  = (*CircuitBreaker)(nil)
)
