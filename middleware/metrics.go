package middleware

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// CallMetrics are what [Metrics] counts, by route pattern. Values of the label
// route are bounded: beyond 1,000 routes they are put together as "other", and
// a message without a route is "none". Codes that are not Ropewalk's own are
// "other".
type CallMetrics struct {
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	routes   *byRoute[routeMetrics]
}

// callBuckets reach from a call on this machine to the default time-out.
var callBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewCallMetrics makes the metrics and registers them with reg: a second call
// with the same registry returns metrics that count into the same ones. A nil
// reg leaves them unregistered. The error is that of the registry, when
// somebody else has taken a name.
//
//	ropewalk_calls_total{route,code}   calls that were finished; code "ok" for a reply
//	ropewalk_call_seconds{route}       time from reading the call to its end
//	ropewalk_calls_in_flight{route}     calls that are not finished
func NewCallMetrics(reg prometheus.Registerer) (*CallMetrics, error) {
	m := &CallMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_calls_total", Help: "Calls that were finished, by route and error code.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ropewalk_call_seconds", Help: "Time from reading a call to its end.", Buckets: callBuckets,
		}, []string{"route"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ropewalk_calls_in_flight", Help: "Calls that are not finished, by route.",
		}, []string{"route"}),
	}
	m.routes = newByRoute(m.ofRoute)
	var err error
	m.calls, err = register(reg, m.calls, err)
	m.seconds, err = register(reg, m.seconds, err)
	m.inFlight, err = register(reg, m.inFlight, err)
	return m, err
}

// register returns the collector that is registered under the name of c; c itself
// if reg is nil.
func register[C prometheus.Collector](reg prometheus.Registerer, c C, before error) (C, error) {
	if reg == nil {
		return c, before
	}
	err := reg.Register(c)
	if have, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := have.ExistingCollector.(C); ok {
			return same, before
		}
	}
	return c, errors.Join(before, err)
}

// Metrics counts calls, their time and how many are in flight.
//
// It fits the stages call and serve, where the route is known and every message
// is finished; a broadcast at stage deliver never is. It costs two atomic
// operations and one walk over the buckets a call.
func Metrics(m *CallMetrics) route.Middleware {
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			r := m.routes.get(req.Route)
			r.inFlight.Inc()
			res.OnFinish(r)
			next.Handle(ctx, req, res)
		})
	}
}

// codes are the values of the label code, in a fixed order.
var (
	codes     = append([]message.Code{"ok", "other"}, message.Codes()...)
	codeIndex = func() map[message.Code]int {
		out := make(map[message.Code]int, len(codes))
		for i, c := range codes {
			out[c] = i
		}
		return out
	}()
)

// routeMetrics are the metrics of one route. It is the Finisher of all its
// calls.
type routeMetrics struct {
	all      *CallMetrics
	route    string
	seconds  prometheus.Observer
	inFlight prometheus.Gauge
	byCode   []atomic.Pointer[prometheus.Counter] // made when first needed: most codes never are
}

func (m *CallMetrics) ofRoute(name string) *routeMetrics {
	if name == "" {
		name = "none"
	}
	return &routeMetrics{
		all: m, route: name,
		seconds:  m.seconds.WithLabelValues(name),
		inFlight: m.inFlight.WithLabelValues(name),
		byCode:   make([]atomic.Pointer[prometheus.Counter], len(codes)),
	}
}

// Finished counts the end of one call.
func (r *routeMetrics) Finished(o route.Outcome) {
	i := 0
	if o.Err != nil {
		var known bool
		if i, known = codeIndex[o.Err.Code]; !known || i == 0 {
			i = 1
		}
	}
	c := r.byCode[i].Load()
	if c == nil {
		made := r.all.calls.WithLabelValues(r.route, string(codes[i]))
		c = &made
		r.byCode[i].Store(c)
	}
	(*c).Inc()
	r.inFlight.Dec()
	r.seconds.Observe(o.Took.Seconds())
}

var _ route.Finisher = (*routeMetrics)(nil)
