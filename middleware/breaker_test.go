package middleware_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
)

// Whatever an operator sets, and however often, what is kept and shown of it is
// bounded, and a change that is refused changes nothing.
func FuzzBreakerState(f *testing.F) {
	for _, s := range []string{
		`{"route":"a:/x","state":"open"}`, `{"route":"a:/x","server":"s","state":"closed"}`, `{"route":"a:/x","state":"auto"}`,
		`{"route":":","state":"open"}`, `{"route":"a:/x"}`, `[]`, `null`, ``, `{"route":"a:/x","state":"open"} x`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, change []byte) {
		for _, by := range []string{"server", "route"} {
			b := middleware.NewBreaker(nil, nil, middleware.BreakerConfig{By: by})
			before, _ := json.Marshal(b.State()) //nolint:errchkjson // compared below
			err := b.SetState(change)
			after, bad := json.Marshal(b.State())
			if bad != nil {
				t.Fatal(bad)
			}
			if err != nil && (string(before) != string(after) || message.CodeOf(err) != message.CodeInvalidInput) {
				t.Errorf("%s changed %s to %s: %v", change, before, after, err)
			}
		}
	})
}

func TestBreakerStateIsBounded(t *testing.T) {
	t.Parallel()
	b := middleware.NewBreaker(nil, nil, middleware.BreakerConfig{})
	for i := range 1500 {
		err := b.SetState(fmt.Appendf(nil, `{"route":"a:/%d","server":"s","state":"open"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		_ = b.SetState(fmt.Appendf(nil, `{"route":"a:/","server":"s%d","state":"open"}`, i)) // refused at some point
	}
	list, _ := b.State().([]middleware.CircuitInfo)
	if len(list) != 200 || list[0].State != "open" {
		t.Errorf("%d are shown", len(list))
	}
	if err := b.SetState([]byte(`{"route":"a:/","server":"another","state":"open"}`)); message.CodeOf(err) != message.CodeInvalidInput {
		t.Errorf("without a bound: %v", err)
	}
}
