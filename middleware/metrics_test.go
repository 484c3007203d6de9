package middleware_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := middleware.NewCallMetrics(reg)
	h := middleware.Metrics(must(t, m, err))(ignore)
	open := run(t, h, newCall("a:/{id}"))
	for code, n := range map[message.Code]int{"": 3, message.CodeNotFound: 2, "made_up": 1, "ok": 1} {
		for range n {
			c := run(t, h, newCall("a:/{id}"))
			if code == "" {
				_ = c.finish(nil)
			} else {
				_ = c.Fail(&message.Error{Code: code})
			}
		}
	}
	_ = run(t, h, newCall("")).finish(nil)
	want := `
# HELP ropewalk_calls_total Calls that were finished, by route and error code.
# TYPE ropewalk_calls_total counter
ropewalk_calls_total{code="not_found",route="a:/{id}"} 2
ropewalk_calls_total{code="ok",route="a:/{id}"} 3
ropewalk_calls_total{code="ok",route="none"} 1
ropewalk_calls_total{code="other",route="a:/{id}"} 2
# HELP ropewalk_calls_in_flight Calls that are not finished, by route.
# TYPE ropewalk_calls_in_flight gauge
ropewalk_calls_in_flight{route="a:/{id}"} 1
ropewalk_calls_in_flight{route="none"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "ropewalk_calls_total", "ropewalk_calls_in_flight"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(reg, "ropewalk_call_seconds"); n != 2 {
		t.Errorf("%d histograms", n)
	}
	_ = open.finish(nil)
}

// A second node entry of the same kind counts into the same metrics.
func TestMetricsTwice(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	for range 2 {
		m, err := middleware.NewCallMetrics(reg)
		_ = run(t, middleware.Metrics(must(t, m, err))(reply), newCall("a:/x"))
	}
	if n := testutil.CollectAndCount(reg, "ropewalk_calls_total"); n != 1 {
		t.Errorf("%d counters", n)
	}
	bad := prometheus.NewRegistry()
	bad.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "ropewalk_calls_total", Help: "Somebody else's."}))
	if _, err := middleware.NewCallMetrics(bad); err == nil {
		t.Error("a name that is taken was accepted")
	}
}

func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := middleware.NewCallMetrics(reg)
	h := middleware.Metrics(must(t, m, err))(reply)
	for i := range 1100 {
		run(t, h, newCall(fmt.Sprint("evil:/", i)))
	}
	if n := testutil.CollectAndCount(reg, "ropewalk_calls_in_flight"); n != 1001 {
		t.Errorf("%d values of the label route, want 1000 and other", n)
	}
}
