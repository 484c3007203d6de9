package exchange

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
)

// Metrics are the numbers that an Exchange keeps of itself.
type Metrics struct {
	sends       prometheus.Counter
	lateAnswers prometheus.Counter
	gathers     prometheus.Counter
	refusals    *prometheus.CounterVec
	reg         prometheus.Registerer

	// What goes between nodes. Each is one of far.
	far                                           *prometheus.CounterVec
	farSent, farReceived, farReturned, farBounced prometheus.Counter
	farStray                                      prometheus.Counter
}

// NewMetrics makes the metrics and registers them with reg, unless it is nil.
// A registry can hold those of one Exchange.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		reg: reg,
		sends: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_sends_total", Help: "Messages sent without a call: to clients and to services.",
		}),
		lateAnswers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_late_answers_total", Help: "Answers to calls that were already over; dropped.",
		}),
		gathers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_gathers_total", Help: "Calls that asked several servers.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_messages_refused_total", Help: "Messages refused before they reached anybody, by error code.",
		}, []string{"code"}),
	}
	m.far = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_node_requests_total",
		Help: "Calls and sends between nodes: sent to another, received from one, returned by one, given back to one, and frames that made no sense.",
	}, []string{"event"})
	m.farSent, m.farReceived = m.far.WithLabelValues("sent"), m.far.WithLabelValues("received")
	m.farReturned, m.farBounced = m.far.WithLabelValues("returned"), m.far.WithLabelValues("given_back")
	m.farStray = m.far.WithLabelValues("stray")
	if reg != nil {
		reg.MustRegister(m.sends, m.lateAnswers, m.gathers, m.refusals, m.far)
	}
	return m
}

// watch adds the numbers that are read off x when somebody looks.
func (m *Metrics) watch(x *Exchange) {
	if m.reg == nil {
		return
	}
	m.reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ropewalk_requests_in_flight", Help: "Calls and sends without a final answer yet.",
		}, func() float64 { return float64(x.active.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ropewalk_clients", Help: "Connections that were welcomed and have not ended.",
		}, func() float64 { return float64(x.Connected()) }),
	)
}

func (m *Metrics) refused(code message.Code) {
	// A code that came from a peer is anything; ours are few.
	m.refusals.WithLabelValues(string(code)).Inc()
}
