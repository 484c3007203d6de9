package middleware

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// PriorityHeader is the header by which a call says how much it matters.
const PriorityHeader = "priority"

// priority is how much a call matters.
type priority int8

const (
	low priority = iota
	normal
	high
	critical
)

var priorities = []string{"low", "normal", "high", "critical"}

// String returns the word for it.
func (p priority) String() string { return priorities[p] }

// priorityOf reads the word for a priority.
func priorityOf(word string) (p priority, ok bool) {
	i := slices.Index(priorities, word)
	return priority(i), i >= 0 //nolint:gosec // there are four
}

const (
	// DefaultShedDelay is a delay that the scheduler of a node that has enough
	// processors hardly ever gets near.
	DefaultShedDelay = 20 * time.Millisecond
	// shedLook is how often the load is looked at.
	shedLook = 100 * time.Millisecond
	// shedCalm is how far below the load at which calls of a priority are
	// refused it has to sink until they are taken again.
	shedCalm = 0.75
	// shedOld is how long nobody has called before the last look says nothing.
	shedOld = 10 * shedLook
)

// shedAt are the loads from which calls of a priority are refused. Critical ones
// are what is left of a node that is far beyond what it can do.
var shedAt = [...]float64{low: 0.8, normal: 1, high: 1.25, critical: 2}

// ShedConfig is the configuration of [NewShed].
type ShedConfig struct {
	// Calls is how many may be in flight until the node counts as overloaded.
	// Default: any number.
	Calls int `json:"calls,omitempty"`
	// Delay is how long what could run may wait for a processor, on average,
	// until the node counts as overloaded. Default: 20ms.
	Delay duration.Duration `json:"delay,omitzero"`
	// Default is the priority of calls that name none: low, normal, high or
	// critical. Default: normal.
	Default string `json:"default,omitempty"`
	// Max is the highest priority that a call may name; what names a higher one
	// gets this. Default: high.
	Max string `json:"max,omitempty"`
	// Listeners are the highest priorities by the name of the listener that the
	// caller came by. Default: max.
	Listeners map[string]string `json:"listeners,omitempty"`
	// Claim is the name of a claim of the session whose value is the highest
	// priority of its calls. Default: none.
	Claim string `json:"claim,omitempty"`
	// Routes are the priorities of routes, by "name:/pattern", whatever a call
	// names.
	Routes map[string]string `json:"routes,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c ShedConfig) Validate() error {
	switch {
	case c.Calls < 0:
		return invalid("calls", "the number of calls is negative", "Leave it out for any number.")
	case c.Delay < 0:
		return invalid("delay", "the delay is negative", "Leave it out for 20ms.")
	}
	words := map[string]string{"default": c.Default, "max": c.Max}
	for name, w := range c.Listeners {
		words["listeners."+name] = w
	}
	for name, w := range c.Routes {
		words["routes."+name] = w
	}
	for field, w := range words {
		if _, ok := priorityOf(w); !ok && (w != "" || strings.Contains(field, ".")) {
			return invalid(field, fmt.Sprintf("there is no priority %q", w), "Use low, normal, high or critical.")
		}
	}
	return nil
}

// ShedMetrics are what [NewShed] counts.
type ShedMetrics struct {
	refused *prometheus.CounterVec
	load    prometheus.Gauge
}

// NewShedMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_shed_calls_total{priority}   calls that were refused under overload
//	ropewalk_shed_load                    load when it was last looked at; from 1 on calls of normal priority are refused
func NewShedMetrics(reg prometheus.Registerer) (*ShedMetrics, error) {
	m := &ShedMetrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_shed_calls_total", Help: "Calls that were refused under overload, by priority.",
		}, []string{"priority"}),
		load: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ropewalk_shed_load", Help: "Load when it was last looked at; from 1 on calls of normal priority are refused.",
		}),
	}
	var err error
	m.refused, err = register(reg, m.refused, err)
	m.load, err = register(reg, m.load, err)
	return m, err
}

// NewShed makes a middleware that refuses the calls that matter least while the
// node has more to do than it can, with [message.CodeOverloaded]: those of low priority from 80 % of a
// full load, normal ones from 100 %, high ones from 125 % and critical ones from
// 200 %; each is taken again when the load is a quarter lower. The load is the
// number of calls in flight, or how long goroutines wait for a processor, in
// parts of what is allowed; of the two the higher one. It is looked at ten times
// a second at most.
//
// A call names its priority in the header priority. Nobody gets a higher one
// than the route, a claim, the listener or else max allows.
//
// It fits the stages call and serve, outside of limit. To a call that passes it
// costs some atomics. An invalid configuration panics; see [ShedConfig.Validate].
func NewShed(m *ShedMetrics, cfg ShedConfig) *Shedder {
	return newShedder(m, cfg, new(schedDelay).mean)
}

// Shedder is a middleware that refuses calls under overload. Make one with
// [NewShed]. All methods may be called from any goroutine.
type Shedder struct {
	cfg             ShedConfig
	metrics         *ShedMetrics
	usual, most     priority
	listeners       map[string]priority
	routes          map[string]priority
	delay           time.Duration
	mean            func() time.Duration // since it was asked last; one at a time
	now             func() time.Time
	inFlight        atomic.Int64
	refusing        atomic.Int32 // how many priorities are refused, from low on
	forced          atomic.Int32 // how many are at least, because somebody wants it so
	looked          atomic.Int64 // when, in nanoseconds since 1970
	looking         sync.Mutex
	lastLoad        atomic.Uint64 // float64 bits, of the delay alone
	refusedByNumber [len(shedAt)]prometheus.Counter
}

func newShedder(m *ShedMetrics, cfg ShedConfig, mean func() time.Duration) *Shedder {
	must(cfg.Validate())
	s := &Shedder{
		cfg: cfg, metrics: m, usual: normal, most: high, delay: cfg.Delay.Or(DefaultShedDelay), mean: mean, now: time.Now,
		listeners: make(map[string]priority), routes: make(map[string]priority),
	}
	if cfg.Default != "" {
		s.usual, _ = priorityOf(cfg.Default)
	}
	if cfg.Max != "" {
		s.most, _ = priorityOf(cfg.Max)
	}
	for name, w := range cfg.Listeners {
		s.listeners[name], _ = priorityOf(w)
	}
	for name, w := range cfg.Routes {
		s.routes[name], _ = priorityOf(w)
	}
	for i, word := range priorities {
		if m != nil {
			s.refusedByNumber[i] = m.refused.WithLabelValues(word)
		}
	}
	return s
}

// Middleware returns what goes into a stack.
func (s *Shedder) Middleware() route.Middleware {
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			if req.Message.EffectiveVerb() != message.VerbCall {
				next.Handle(ctx, req, res)
				return
			}
			n := s.look()
			if req.Address.Name != "node" { // what was set by such a call can be taken back by one
				n = max(n, s.forced.Load())
			}
			if n > 0 {
				if p := s.priority(req); int32(p) < n {
					s.refuse(res, p)
					return
				}
			}
			s.inFlight.Add(1)
			res.OnFinish(s)
			next.Handle(ctx, req, res)
		})
	}
}

// Finished implements route.Finisher.
func (s *Shedder) Finished(route.Outcome) { s.inFlight.Add(-1) }

// priority is what a call gets, which may be less than it asks for.
func (s *Shedder) priority(req *route.Request) priority {
	if p, ok := s.routes[req.Route]; ok {
		return p
	}
	p, ok := priorityOf(req.Message.Header(PriorityHeader))
	if !ok {
		p = s.usual
	}
	most, ok := s.listeners[peerOf(req).Listener()]
	if !ok {
		most = s.most
	}
	if s.cfg.Claim != "" {
		if v, ok := req.Session().Claim(s.cfg.Claim); ok {
			word, _ := v.(string)
			if allowed, known := priorityOf(word); known {
				most = allowed
			}
		}
	}
	return min(p, most)
}

func (s *Shedder) refuse(res route.Responder, p priority) {
	if c := s.refusedByNumber[p]; c != nil {
		c.Inc()
	}
	e := message.NewError(message.CodeOverloaded, "the node has too much to do for calls of priority "+p.String(),
		"Try again later; what cannot wait may say so in the header priority, as far as it is allowed to.")
	// What matters least comes back last.
	e.Retryable, e.RetryAfter = true, retrySoon*time.Duration(critical-p+1)
	_ = res.Fail(e)
}

// look returns how many priorities are refused now.
func (s *Shedder) look() int32 {
	now, last := s.now().UnixNano(), s.looked.Load()
	if now-last < int64(shedLook) || !s.looking.TryLock() {
		return s.decide(math.Float64frombits(s.lastLoad.Load()))
	}
	defer s.looking.Unlock()
	if s.looked.Load() != last {
		return s.decide(math.Float64frombits(s.lastLoad.Load()))
	}
	load := float64(s.mean()) / float64(s.delay)
	if now-last > int64(shedOld) { // it is the mean of a time in which nobody called
		load = min(load, math.Nextafter(shedAt[low], 0))
	}
	s.lastLoad.Store(math.Float64bits(load))
	s.looked.Store(now)
	n := s.decide(load)
	if s.metrics != nil {
		s.metrics.load.Set(max(load, s.calls()))
	}
	return n
}

func (s *Shedder) calls() float64 {
	if s.cfg.Calls == 0 {
		return 0
	}
	return float64(s.inFlight.Load()) / float64(s.cfg.Calls)
}

// decide returns how many priorities are refused at a load. Those that are
// refused already are so until it is much lower.
func (s *Shedder) decide(load float64) int32 {
	load = max(load, s.calls())
	was := s.refusing.Load()
	n := int32(0)
	for p, at := range shedAt {
		if int32(p) < was { //nolint:gosec // there are four
			at *= shedCalm
		}
		if load < at {
			break
		}
		n++
	}
	if n != was {
		s.refusing.CompareAndSwap(was, n)
	}
	return n
}

// ShedState is what can be seen of a [Shedder].
type ShedState struct {
	// Load is 1 when the node has as much to do as is allowed.
	Load float64 `json:"load"`
	// InFlight are the calls that have passed and have no answer yet.
	InFlight int64 `json:"inFlight"`
	// Refusing are the priorities that are refused now.
	Refusing []string `json:"refusing"`
}

// State implements route.Stateful with a [ShedState].
func (s *Shedder) State() any {
	load := max(math.Float64frombits(s.lastLoad.Load()), s.calls())
	return ShedState{
		Load: math.Round(load*1000) / 1000, InFlight: s.inFlight.Load(),
		Refusing: append([]string{}, priorities[:max(s.refusing.Load(), s.forced.Load())]...),
	}
}

// SetState implements route.Stateful: {"refuse":"low"} has calls of this
// priority and of lower ones refused whatever the load is, but for those of the
// node itself, until {"refuse":""}.
func (s *Shedder) SetState(change json.RawMessage) error {
	var in struct {
		Refuse *string `json:"refuse"`
	}
	if err := decode(change, &in); err != nil {
		return err
	}
	if in.Refuse == nil {
		return invalid("refuse", "no priority is named", `Write {"refuse":"low"}, or {"refuse":""} to end it.`)
	}
	p, ok := priorityOf(*in.Refuse)
	if !ok && *in.Refuse != "" {
		return invalid("refuse", fmt.Sprintf("there is no priority %q", *in.Refuse), "Use low, normal, high or critical.")
	}
	s.forced.Store(int32(p) + 1)
	if !ok {
		s.forced.Store(0)
	}
	return nil
}

// Retire implements route.Retirer: nobody looks at the load any more.
func (s *Shedder) Retire() {
	if s.metrics != nil {
		s.metrics.load.Set(0)
	}
}

// schedDelay measures how long goroutines wait for a processor.
type schedDelay struct {
	sample [1]metrics.Sample
	before []uint64
}

// mean returns the mean since the last time, 0 the first.
func (d *schedDelay) mean() time.Duration {
	d.sample[0].Name = "/sched/latencies:seconds"
	metrics.Read(d.sample[:])
	if d.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := d.sample[0].Value.Float64Histogram()
	first := d.before == nil
	if first {
		d.before = make([]uint64, len(h.Counts))
	}
	var n uint64
	var sum float64
	for i, count := range h.Counts {
		more := count - d.before[i]
		d.before[i] = count
		if more == 0 {
			continue
		}
		n += more
		// The middle of the bucket; its smaller end if the other is infinite.
		from, to := max(h.Buckets[i], 0), h.Buckets[i+1]
		if math.IsInf(to, 1) {
			to = from
		}
		sum += float64(more) * (from + to) / 2
	}
	if n == 0 || first {
		return 0
	}
	return time.Duration(sum / float64(n) * float64(time.Second))
}

var (
	_ route.Finisher = (*Shedder)(nil)
	_ route.Stateful = (*Shedder)(nil)
	_ route.Retirer  = (*Shedder)(nil)
)
