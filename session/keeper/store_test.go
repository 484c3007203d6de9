package keeper_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, cred := begin(t, k, "anna")
		big := session.Claims{"big": strings.Repeat("x", session.MaxSize)}
		_, _, err := k.Change(t.Context(), s, session.Patch{Set: big})
		wantCode(t, err, message.CodeInvalidInput)
		_, _, err = k.Begin(t.Context(), session.New("bob", big, nil))
		wantCode(t, err, message.CodeInvalidInput)
		if got, err := k.Open(t.Context(), cred); err != nil || len(got.Public) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestFullStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: keeper.NewMemory(3, 0)})
		for range 3 {
			begin(t, k, "anna")
		}
		_, _, err := k.Begin(t.Context(), session.New("bob", nil, nil))
		wantCode(t, err, message.CodeOverloaded)
		time.Sleep(time.Hour)
		begin(t, k, "bob")
	})
}

// broken is a store that is out of reach.
type broken struct{ keeper.Store }

var errBroken = errors.New("the disk has a hole at secret-place")

func (broken) Get(context.Context, string) (*keeper.Record, error) { return nil, errBroken }

func (broken) Create(context.Context, *keeper.Record) (*keeper.Record, error) { return nil, errBroken }

func (broken) Delete(context.Context, string, uint64) error { return errBroken }

func (broken) All(context.Context) iter.Seq2[*keeper.Record, error] {
	return func(yield func(*keeper.Record, error) bool) { yield(nil, errBroken) }
}

func TestStoreOutOfReach(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: broken{}, Registry: reg})
	_, _, err := k.Begin(t.Context(), session.New("anna", nil, nil))
	wantCode(t, err, message.CodeServiceDown)
	if b := message.AppendError(nil, errAs(err)); strings.Contains(string(b), "secret-place") {
		t.Errorf("the client sees %s", b)
	}
	_, err = k.Open(t.Context(), "rws_"+strings.Repeat("a", 43))
	wantCode(t, err, message.CodeServiceDown)
	_, err = k.List(t.Context(), keeper.Filter{})
	wantCode(t, err, message.CodeServiceDown)
	// A log-out counts although the store does not hear of it.
	s := &session.Session{ID: "a", Held: true}
	if err := k.End(t.Context(), s); err != nil || !k.Revoked(s) {
		t.Errorf("not ended: %v", err)
	}
	if got := testutil.ToFloat64(gather(t, reg, "ropewalk_session_store_errors_total")); got != 3 {
		t.Errorf("%v store errors, want 3", got)
	}
}

func errAs(err error) *message.Error {
	var e *message.Error
	errors.As(err, &e)
	return e
}

// gather returns a metric of a registry as a collector of its own.
func gather(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x", Help: "X."})
			g.Set(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			return g
		}
	}
	t.Fatalf("there is no metric %s", name)
	return nil
}
