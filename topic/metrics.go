package topic

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what a [Hub] counts:
//
//	ropewalk_topics                  topics that somebody watches
//	ropewalk_watches                 watches of connections
//	ropewalk_topic_updates_total     updates that were given to watchers
//	ropewalk_topic_conflated_total   updates that slow watchers were spared, or got later
//	ropewalk_topic_gaps_total        times that a watcher was told that it has missed events
//	ropewalk_topic_revoked_total     watches that a change of rights or sessions has ended
//	ropewalk_topic_published_total   events that were published to topics of this node
//	ropewalk_topic_history_bytes     size of the histories of all topics together
//	ropewalk_topic_forgotten_total   histories that were forgotten since all together were too large
type Metrics struct {
	topics, watches                                         prometheus.Gauge
	updates, conflated, gaps, revoked, published, forgotten prometheus.Counter

	memory memory
}

// Metrics are those of the hub.
func (h *Hub) Metrics() *Metrics { return h.metrics }

// NewMetrics registers the metrics of a hub; nil registers nothing.
func NewMetrics(r prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		if r != nil {
			r.MustRegister(g)
		}
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		if r != nil {
			r.MustRegister(c)
		}
		return c
	}
	m := &Metrics{
		topics:    gauge("ropewalk_topics", "Topics that somebody watches."),
		watches:   gauge("ropewalk_watches", "Watches of connections."),
		updates:   counter("ropewalk_topic_updates_total", "Updates that were given to watchers."),
		conflated: counter("ropewalk_topic_conflated_total", "Updates that slow watchers were spared, or got later."),
		gaps:      counter("ropewalk_topic_gaps_total", "Times that a watcher was told that it has missed events."),
		revoked:   counter("ropewalk_topic_revoked_total", "Watches that a change of rights or sessions has ended."),
		published: counter("ropewalk_topic_published_total", "Events that were published to topics of this node."),
		forgotten: counter("ropewalk_topic_forgotten_total", "Histories that were forgotten since all together were too large."),
	}
	m.memory.forgot = m.forgotten.Inc
	if r != nil {
		r.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "ropewalk_topic_history_bytes", Help: "Size of the histories of all topics together."},
			func() float64 { return float64(m.memory.used.Load()) }))
	}
	return m
}
