package token

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Codec counts.
//
//	ropewalk_tokens_total{result}                    tokens that were read: ok, or the reason of the refusal
//	ropewalk_token_key_fetches_total{issuer,result}  fetches of keys of other issuers: ok or failed
type metrics struct {
	tokens  *prometheus.CounterVec
	fetches *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_tokens_total", Help: "Tokens that were read, by what became of them.",
		}, []string{"result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_token_key_fetches_total", Help: "Fetches of the keys of other issuers.",
		}, []string{"issuer", "result"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, v := range []**prometheus.CounterVec{&m.tokens, &m.fetches} {
		err := reg.Register(*v)
		if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if old, ok := there.ExistingCollector.(*prometheus.CounterVec); ok {
				*v, err = old, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// count counts a token; "" is a good one.
func (m *metrics) count(r Reason) {
	if r == "" {
		r = "ok"
	}
	m.tokens.WithLabelValues(string(r)).Inc()
}

func (m *metrics) fetched(issuer string, ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	m.fetches.WithLabelValues(issuer, result).Inc()
}
