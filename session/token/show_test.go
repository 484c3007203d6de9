package token_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

func TestShow(t *testing.T) {
	t.Parallel()
	c := newCodec(t, token.Config{Secret: secret})
	tok := encode(t, c, session.New("anna", session.Claims{"role": "editor"}, session.Claims{"b": 1, "a": "planted"}))
	bare := token.Show(tok)
	if bare.Verified || bare.Reason != "" || !strings.Contains(bare.Problem, "no keys") || bare.SecretClaims != nil {
		t.Errorf("%+v", bare)
	}
	full := c.Show(t.Context(), tok)
	if !full.Verified || full.Problem != "" || !slices.Equal(full.SecretClaims, []string{"a", "b"}) {
		t.Errorf("%+v", full)
	}
	for _, s := range []token.Shown{bare, full} {
		if !s.Sealed || s.Header["alg"] != "HS256" || s.Claims["sub"] != "anna" || s.Claims["pub"].(object)["role"] != "editor" ||
			s.Claims["sec"] != nil || s.Expires.Sub(s.Issued) != time.Hour {
			t.Errorf("%+v", s)
		}
		b, err := json.Marshal(s)
		if err != nil || strings.Contains(string(b), strings.Split(tok, ".")[2]) || strings.Contains(string(b), "planted") {
			t.Errorf("%s, %v", b, err)
		}
	}
	old := forge(t, object{"alg": "none"}, object{"iss": "x", "exp": "soon", "iat": -1}, nil)
	if s := token.Show(old); !s.Expires.IsZero() || !s.Issued.IsZero() || s.Header["alg"] != "none" || s.Sealed {
		t.Errorf("%+v", s)
	}
	for tok, want := range map[string]token.Reason{
		"": token.ReasonMalformed, strings.Repeat("x", 1<<20): token.ReasonTooLarge,
		forge(t, object{"alg": "none"}, `{"iss":"x","a":1,"a":2}`, nil): token.ReasonMalformed,
	} {
		if s := token.Show(tok); s.Reason != want || len(s.Claims) > 1 {
			t.Errorf("%+v", s)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	p := newProvider(t, "ed1")
	o := token.Options{Registry: reg, Transport: p}
	c := newCodec(t, p.config(), o)
	newCodec(t, p.config(), o) // takes the same metrics
	tok := encode(t, c, anna())
	_, _ = c.Decode(t.Context(), tok)
	_, _ = c.Decode(t.Context(), tok[1:])
	_, _ = c.DecodeWait(t.Context(), p.sign())
	c.Show(t.Context(), tok)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "ropewalk_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, n := range map[string]float64{
		"tokens_total ok": 2, "tokens_total malformed": 1, "tokens_total fetching": 1,
		"token_key_fetches_total " + p.url + " ok": 1,
	} {
		if got[name] != n {
			t.Errorf("%s is %v, want %v: %v", name, got[name], n, got)
		}
	}
	taken := prometheus.NewRegistry()
	taken.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "ropewalk_tokens_total", Help: "x"})) //nolint:promlinter // it is in the way on purpose
	if _, err := token.New(token.Config{}, token.Options{Registry: taken}); err == nil {
		t.Error("the name of a metric is taken, and nothing is said")
	}
}
