package keeper_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]keeper.Config{
		"":                       {},
		"form: \"jwt\" is none":  {Form: "jwt"},
		"idle: 1ms is too short": {Idle: seconds(1) / 1000},
		"lifetime: 500ms is too": {Lifetime: seconds(1) / 2},
		"warn: -1s is negative":  {Warn: -seconds(1)},
		"limit: 10000h":          {Limit: seconds(36_000_000)},
		"limit: it is 12h0m0s":   {Lifetime: seconds(50_000)},
	} {
		err := cfg.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: error %v, want %q", cfg, err, want)
		}
	}
	if _, err := keeper.New(t.Context(), keeper.Config{}, keeper.Parts{}); err == nil || !strings.Contains(err.Error(), "form") {
		t.Errorf("sessions in tokens without keys: %v", err)
	}
	if _, err := keeper.New(t.Context(), keeper.Config{Form: "x"}, keeper.Parts{}); err == nil {
		t.Error("a bad configuration was taken")
	}
}

// TestConfigure changes from tokens to sessions that the nodes keep: who has a
// token goes on with it, and gets the other form with the next change.
func TestConfigure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := start(t, keeper.Config{Lifetime: seconds(600)}, keeper.Parts{})
		_, token := begin(t, k, "anna")
		if err := k.Configure(keeper.Config{Form: "x"}); err == nil || k.Config().Form != keeper.FormToken {
			t.Errorf("a bad configuration was taken: %v", err)
		}
		if err := k.Configure(keeper.Config{Form: keeper.FormServer, Idle: seconds(60)}); err != nil {
			t.Fatal(err)
		}
		s, err := k.Open(t.Context(), token)
		if err != nil || s.Held {
			t.Fatalf("%+v, %v", s, err)
		}
		s, word, err := k.Change(t.Context(), s, session.Patch{Set: session.Claims{"n": 1.0}})
		if err != nil || !s.Held || !keeper.Opaque(word) || time.Until(s.Expires) != time.Minute {
			t.Errorf("%+v with %.4s, %v", s, word, err)
		}
		if err := k.Configure(keeper.Config{}); err != nil {
			t.Fatal(err)
		}
		if s, err = k.Open(t.Context(), word); err != nil || !s.Held {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
