package keeper

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Keeper counts.
type metrics struct {
	opened, refused prometheus.Counter
	storeErrors     prometheus.Counter
	live            prometheus.Gauge
	revocations     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	opened := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_sessions_opened_total", Help: "Credentials that clients have shown, by whether they were good.",
	}, []string{"result"})
	m := &metrics{
		opened: opened.WithLabelValues("ok"), refused: opened.WithLabelValues("refused"),
		storeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_session_store_errors_total", Help: "Times that the store of sessions was out of reach.",
		}),
		live: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ropewalk_sessions_live", Help: "Sessions of connections of this node.",
		}),
		revocations: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ropewalk_session_revocations", Help: "Entries of the list of sessions that were ended before their time.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	var err error
	for _, c := range []prometheus.Collector{opened, m.storeErrors, m.live, m.revocations} {
		err = errors.Join(err, reg.Register(c))
	}
	return m, err
}
