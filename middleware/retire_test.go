package middleware_test

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/route"
)

// value returns the sum of a gauge.
func value(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// Circuits of several breakers are counted together, and those of a breaker that
// was taken out not any more.
func TestOpenCircuitsAreCounted(t *testing.T) {
	t.Parallel()
	reg, stack := prometheus.NewRegistry(), route.NewStack()
	chain := stack.Chain(route.StageCall, ignore)
	env := middleware.Env{Registry: reg, Logger: slog.New(slog.DiscardHandler)}
	insert := func(name, settings string) {
		e, err := middleware.New(route.KindBreaker, name, json.RawMessage(settings), env)
		if err == nil {
			err = stack.Insert(route.StageCall, e, route.Last())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	failing := func() {
		a := newAsk("", "a:/x", "1").matched(t, "/x")
		chain.Handle(t.Context(), a.req, a)
		a.req.Chosen(a.req.Match().Endpoints[0])
		_ = a.req.Admit(a)
		_ = a.Fail(failed("internal", false))
	}
	insert("one", `{"calls":1}`)
	insert("two", `{"calls":1}`)
	open := func(when string, want float64) {
		t.Helper()
		if got := value(t, reg, "ropewalk_circuits_open"); got != want {
			t.Errorf("%s %v circuits are open, want %v", when, got, want)
		}
	}
	failing()
	open("after a failure", 2)
	if err := stack.Move(route.StageCall, "two", route.First()); err != nil {
		t.Fatal(err)
	}
	open("after a move", 2)
	if err := stack.Remove(route.StageCall, "two"); err != nil {
		t.Fatal(err)
	}
	open("without one of them", 1)
	e, err := middleware.New(route.KindBreaker, "one", json.RawMessage(`{"calls":3}`), env)
	if err == nil {
		err = stack.Replace(route.StageCall, "one", e)
	}
	if err != nil {
		t.Fatal(err)
	}
	open("with another in its place", 0)
}
