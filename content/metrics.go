package content

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what services of contents count, by scheme.
type Metrics struct {
	runs    *prometheus.CounterVec
	faults  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	watched *prometheus.GaugeVec
	scripts *prometheus.CounterVec
}

// runBuckets reach from a small file to the default time-out.
var runBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics makes the metrics and registers them with reg: a second call with
// the same registry returns metrics that count into the same ones. A nil reg
// leaves them unregistered. The error is that of the registry, when somebody
// else has taken a name.
//
//	ropewalk_content_runs_total{scheme}        contents that were computed
//	ropewalk_content_faults_total{scheme}      of these, how many failed
//	ropewalk_content_run_seconds{scheme}       time of computing one
//	ropewalk_content_watched{scheme}           different contents that are watched
//	ropewalk_script_runs_total{export,result}  ticks and events that scripts handled
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	labels := []string{"scheme"}
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_content_runs_total", Help: "Contents that were computed.",
		}, labels),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_content_faults_total", Help: "Contents that could not be computed.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ropewalk_content_run_seconds", Help: "Time of computing a content.", Buckets: runBuckets,
		}, labels),
		watched: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ropewalk_content_watched", Help: "Different contents that are watched.",
		}, labels),
		scripts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_script_runs_total", Help: "Runs of scripts by a schedule (tick) or for an event, by how they ended.",
		}, []string{"export", "result"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(registered(reg, &m.runs), registered(reg, &m.faults), registered(reg, &m.seconds),
		registered(reg, &m.watched), registered(reg, &m.scripts))
}

// registered registers a collector, or puts the one in its place that is there.
func registered[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	if have, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := have.ExistingCollector.(C); ok {
			*c = same
			return nil
		}
	}
	return err
}

// ScriptRan counts a run of a script that nobody waits for: "ok", or "error".
func (m *Metrics) ScriptRan(export string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.scripts.WithLabelValues(export, result).Inc()
}

// counters are the metrics of one scheme.
type counters struct {
	runs, faults prometheus.Counter
	seconds      prometheus.Observer
	watched      prometheus.Gauge
}

func (m *Metrics) of(scheme string) counters {
	return counters{
		runs: m.runs.WithLabelValues(scheme), faults: m.faults.WithLabelValues(scheme),
		seconds: m.seconds.WithLabelValues(scheme), watched: m.watched.WithLabelValues(scheme),
	}
}

// ran counts one computation.
func (c counters) ran(took time.Duration, failed bool) {
	c.runs.Inc()
	c.seconds.Observe(took.Seconds())
	if failed {
		c.faults.Inc()
	}
}
