package audit

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what the audit log does. Make them with [NewMetrics].
type Metrics struct {
	events  *prometheus.CounterVec
	folded  prometheus.Counter
	dropped *prometheus.CounterVec
}

// NewMetrics registers the metrics; a nil registry keeps them unseen.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_audit_events_total", Help: "Events for the audit log, by kind and outcome, dropped and folded ones included.",
		}, []string{"kind", "outcome"}),
		folded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_audit_folded_total", Help: "Refusals that were counted in a line with others rather than written each.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_audit_dropped_total",
			Help: "Events that are not in the audit log: because too many waited (queue), or because the file could not be written (write).",
		}, []string{"reason"}),
	}
	for _, reason := range []string{reasonQueue, reasonWrite} {
		m.dropped.WithLabelValues(reason) // so that it is there before it counts
	}
	if reg != nil {
		reg.MustRegister(m.events, m.folded, m.dropped)
	}
	return m
}

const (
	reasonQueue = "queue"
	reasonWrite = "write"
)
