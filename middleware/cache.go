package middleware

import (
	"cmp"
	"container/list"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Defaults of [NewCache].
const (
	// DefaultCacheKeep hides a burst of equal calls, and what has changed for
	// no longer than a person notices.
	DefaultCacheKeep = 10 * time.Second
	// DefaultCacheEntries is how many answers are kept.
	DefaultCacheEntries = 10_000
	// DefaultCacheBytes is for all answers.
	DefaultCacheBytes = 64 << 20
	// DefaultCacheAnswer is for one answer.
	DefaultCacheAnswer = 256 << 10
)

// CacheConfig is the configuration of [NewCache].
type CacheConfig struct {
	// Routes are those of which answers are kept, by "name:/pattern". They
	// must be such that only read; that a route may be called twice is not
	// enough.
	Routes map[string]CacheRoute `json:"routes,omitempty"`
	// Invalidates says which answers are out of date after a call: by the route
	// that was called ("name:/pattern"), the addresses whose answers are
	// forgotten. These may have wildcards; a {name} that the called route has,
	// too, stands for its value.
	Invalidates map[string][]string `json:"invalidates,omitempty"`
	// Entries is how many answers are kept; those that were not used for
	// the longest are forgotten first. Default: 10000.
	Entries int `json:"entries,omitempty"`
	// Bytes is how much they may take, all together. Default: 67108864.
	Bytes int `json:"bytes,omitempty"`
	// Answer is how many bytes one answer may have; larger ones are not kept.
	// Default: 262144.
	Answer int `json:"answer,omitempty"`
}

// CacheRoute says how the answers of a route are kept.
type CacheRoute struct {
	// Keep is for how long. Default: 10s.
	Keep duration.Duration `json:"keep,omitzero"`
	// Errors is for how long the errors not_found and invalid_input are.
	// Default: not at all.
	Errors duration.Duration `json:"errors,omitzero"`
	// Key is what calls must have in common to get the same answer: path,
	// query, query:name, param:name, body, body:name.name, header:name,
	// session, claim:name. Default: path, query and body.
	Key []string `json:"key,omitempty"`
	// Public says that the answer does not depend on who asks. Else only the
	// same user with the same claims gets it, of those who are not logged in
	// only the same session, or all who have none and send the same token.
	Public bool `json:"public,omitempty"`
	// Claims are those that the answer depends on, if the route is not public.
	// Default: all.
	Claims []string `json:"claims,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c CacheConfig) Validate() error {
	switch {
	case len(c.Routes) == 0:
		return invalid("routes", "no route is named", `Name those that only read, as in {"shop:/items":{"keep":"1m"}}.`)
	case c.Entries < 0:
		return invalid("entries", "the number of answers is negative", "Leave it out for 10000.")
	case c.Bytes < 0:
		return invalid("bytes", "the number of bytes is negative", "Leave it out for 67108864.")
	case c.Answer < 0:
		return invalid("answer", "the size of an answer is negative", "Leave it out for 262144.")
	}
	for name, r := range c.Routes {
		if _, err := parseTarget(name); err != nil {
			return invalid("routes."+name, err.Error(), `Write it like "shop:/item/{id}".`)
		}
		if err := r.check("routes." + name); err != nil {
			return err
		}
	}
	for name, targets := range c.Invalidates {
		for _, t := range append([]string{name}, targets...) {
			if _, err := parseTarget(t); err != nil {
				return invalid("invalidates."+name, err.Error(), `Write addresses like "shop:/items" and "shop:/item/{id}".`)
			}
		}
	}
	return nil
}

func (c CacheRoute) check(field string) error {
	if c.Keep < 0 || c.Errors < 0 {
		return invalid(field+".keep", "a time to keep is negative", "Leave it out.")
	}
	_, err := parseKey(c)
	if err != nil {
		err.Path = field + "." + err.Path
		return err
	}
	return nil
}

// CacheMetrics are what [NewCache] counts.
type CacheMetrics struct {
	calls     *prometheus.CounterVec
	forgotten *prometheus.CounterVec
}

// NewCacheMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_cache_calls_total{result}      calls of cached routes: hit, joined, miss or passed
//	ropewalk_cache_forgotten_total{reason}  answers that were forgotten: old, full or invalid
func NewCacheMetrics(reg prometheus.Registerer) (*CacheMetrics, error) {
	m := &CacheMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_cache_calls_total", Help: "Calls of cached routes, by where the answer came from: hit, joined, miss or passed.",
		}, []string{"result"}),
		forgotten: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_cache_forgotten_total", Help: "Cached answers that were forgotten, because they were old, the cache full, or they invalid.",
		}, []string{"reason"}),
	}
	var err error
	m.calls, err = register(reg, m.calls, err)
	m.forgotten, err = register(reg, m.forgotten, err)
	return m, err
}

func (m *CacheMetrics) count(result string) {
	if m != nil {
		m.calls.WithLabelValues(result).Inc()
	}
}

func (m *CacheMetrics) lost(reason string, n int) {
	if m != nil && n > 0 {
		m.forgotten.WithLabelValues(reason).Add(float64(n))
	}
}

// NewCache makes a middleware that keeps the answers of routes that only read.
// Equal calls at the same time are one: the others wait for its answer, or go on
// if there is none until its deadline. What an answer depends on is in its key; unless a route is said
// to be public, also on who asks. Only an answer without parts that does not
// change the session is kept.
//
// A call of a route that invalidates others does so before its caller has the
// answer, unless it was surely not executed. Other nodes do not learn of it:
// their answers are as old as they are kept.
//
// It fits the stage call, inside of retry and outside of what limits calls. To
// calls of other routes it costs two look-ups, to those of its routes a hash and
// a mutex. A panic is written to log ([slog.Default] if nil). An invalid
// configuration panics; see [CacheConfig.Validate].
func NewCache(log *slog.Logger, m *CacheMetrics, cfg CacheConfig) *AnswerCache {
	must(cfg.Validate())
	c := &AnswerCache{
		log: log, metrics: m, routes: make(map[string]*cacheRoute), invalidates: make(map[string][]target),
		store: newStore(cmp.Or(cfg.Entries, DefaultCacheEntries), cmp.Or(cfg.Bytes, DefaultCacheBytes), cmp.Or(cfg.Answer, DefaultCacheAnswer)),
	}
	c.store.lost = m.lost
	for name, r := range cfg.Routes {
		key, _ := parseKey(r)
		c.routes[name] = &cacheRoute{key: key, keep: r.Keep.Or(DefaultCacheKeep), errors: time.Duration(r.Errors)}
	}
	for name, list := range cfg.Invalidates {
		for _, text := range list {
			t, _ := parseTarget(text)
			c.invalidates[name] = append(c.invalidates[name], t)
		}
	}
	return c
}

// AnswerCache is a middleware that keeps answers. Make one with [NewCache]. All
// methods may be called from any goroutine.
type AnswerCache struct {
	log         *slog.Logger
	metrics     *CacheMetrics
	routes      map[string]*cacheRoute
	invalidates map[string][]target
	store       *store
}

// cacheRoute is a route whose answers are kept.
type cacheRoute struct {
	key          cacheKey
	keep, errors time.Duration
}

// Middleware returns what goes into a stack.
func (c *AnswerCache) Middleware() route.Middleware {
	return func(next route.Handler) route.Handler { return c.handler(next) }
}

// CacheState is what can be seen of a [AnswerCache].
type CacheState struct {
	// Entries are the answers that are kept.
	Entries int `json:"entries"`
	// Bytes are what they take.
	Bytes int `json:"bytes"`
}

// State implements route.Stateful with a [CacheState].
func (c *AnswerCache) State() any {
	entries, bytes := c.store.size()
	return CacheState{entries, bytes}
}

// SetState implements route.Stateful: {"forget":["shop:/items","shop:/item/**"]}
// forgets the answers of these addresses, and ["*:/**","*:/"] all.
func (c *AnswerCache) SetState(change json.RawMessage) error {
	var in struct {
		Forget []string `json:"forget"`
	}
	if err := decode(change, &in); err != nil {
		return err
	}
	var targets []target
	for _, text := range in.Forget {
		t, err := parseTarget(text)
		if err != nil {
			return invalid("forget", err.Error(), `Write addresses like "shop:/items" and "shop:/item/{id}".`)
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return invalid("forget", "no address is named", `Write {"forget":["shop:/items"]}.`)
	}
	c.store.invalidate(targets)
	return nil
}

func (c *AnswerCache) handler(next route.Handler) route.Handler {
	return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		if targets := c.invalidates[req.Route]; targets != nil {
			w := &outdating{Responder: res, c: c, targets: concrete(targets, req.Params())}
			res.OnFinish(w)
			res = w
		}
		if r := c.routes[req.Route]; r != nil && req.Message.EffectiveVerb() == message.VerbCall {
			c.handle(ctx, next, req, res, r)
			return
		}
		next.Handle(ctx, req, res)
	})
}

func (c *AnswerCache) handle(ctx context.Context, next route.Handler, req *route.Request, res route.Responder, r *cacheRoute) {
	id, ok := r.key.of(req)
	if !ok {
		c.metrics.count("passed")
		next.Handle(ctx, req, res)
		return
	}
	rec, f, mine := c.store.find(id, time.Now(), func() *cached {
		e := &cached{c: c, route: r, id: id, path: pathOf(req)}
		e.flight = newFlight(e, c.log)
		return e
	})
	switch {
	case rec != nil:
		c.metrics.count("hit")
		settle(res, req.Route, nil)
		rec.finish(res)
	case mine:
		c.metrics.count("miss")
		f.begin(ctx, next, req, res)
	case f.join(ctx, next, req, res, maxCacheWaits) == seatTaken:
		c.metrics.count("joined")
	default: // it is over by now, or has parts
		c.metrics.count("passed")
		next.Handle(ctx, req, res)
	}
}

// maxCacheWaits is how many calls may wait for the answer of another; more go
// on alone.
const maxCacheWaits = 10_000

// cached is an answer that is kept, or on its way.
type cached struct {
	c      *AnswerCache
	route  *cacheRoute
	id     digest
	path   string  // "name:/path"
	flight *flight // nil when landed

	// Guarded by store.mu.
	rec   *record
	until time.Time
	size  int
	at    *list.Element // nil until it is kept
	gone  bool
}

// hold implements lander: answers with parts are not kept.
func (e *cached) hold(int, int) bool { return false }

// parted implements lander: such answers are not kept, and those who wait for
// it have waited in vain.
func (e *cached) parted(f *flight) {
	e.c.store.drop(e)
	for _, r := range f.release() {
		r.goOn()
	}
}

// landed implements lander.
func (e *cached) landed(f *flight) share {
	rec, keep := f.rec, e.route.keep
	how := shareAll
	if err := rec.err; err != nil {
		keep = 0
		switch err.Code { //nolint:exhaustive // the others are not the same the next time
		case message.CodeNotFound, message.CodeInvalidInput:
			keep = e.route.errors
		case message.CodeCanceled, message.CodeDeadlineExceeded:
			how = shareAgain // of the one who asked first
		}
	}
	if rec.change.Load() != nil {
		how, keep = shareNone, 0
	}
	if f.large || keep <= 0 {
		e.c.store.drop(e)
		return how
	}
	e.c.store.keep(e, rec, time.Now().Add(keep))
	return how
}

// deserted implements lander.
func (e *cached) deserted() bool { return false }

// again implements lander.
func (e *cached) again(r *rider) {
	defer contain(r.ctx, e.c.log, r.req, r.res)
	e.c.handle(r.ctx, r.next, r.req, r.res, e.route)
}

// outdating is the Responder of a call after which answers are out of date.
type outdating struct {
	route.Responder

	c       *AnswerCache
	targets []target
	once    sync.Once
}

// Unwrap returns what it wraps.
func (w *outdating) Unwrap() route.Responder { return w.Responder }

func (w *outdating) invalidate() {
	w.once.Do(func() { w.c.store.invalidate(w.targets) })
}

// Reply implements route.Responder: whoever has the answer reads what is new.
func (w *outdating) Reply(b route.Body) error {
	w.invalidate()
	return w.Responder.Reply(b)
}

// PartWhenRoom implements route.Patient.
func (w *outdating) PartWhenRoom(ctx context.Context, b route.Body) error {
	if p, ok := w.Responder.(route.Patient); ok {
		return p.PartWhenRoom(ctx, b)
	}
	return w.Part(b)
}

// Finished implements route.Finisher.
func (w *outdating) Finished(o route.Outcome) {
	if o.Err == nil || !o.Err.Retryable {
		w.invalidate()
	}
}

var (
	_ route.Stateful  = (*AnswerCache)(nil)
	_ lander          = (*cached)(nil)
	_ route.Patient   = (*outdating)(nil)
	_ route.Responder = (*outdating)(nil)
	_ route.Finisher  = (*outdating)(nil)
)
