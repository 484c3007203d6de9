package middleware

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// shedding is a Shedder whose load the test sets.
type shedding struct {
	*Shedder

	now  time.Time
	mean time.Duration
	h    route.Handler
	open []*answered
}

// answered is a Responder that keeps its finishers until it is told to end.
type answered struct {
	err       *message.Error
	finishers []route.Finisher
}

func (a *answered) Part(route.Body) error { return nil }

func (a *answered) Reply(route.Body) error {
	for _, f := range a.finishers {
		f.Finished(route.Outcome{})
	}
	return nil
}

func (a *answered) Fail(err error) error {
	a.err = message.AsError(err)
	return a.Reply(route.Body{})
}

func (a *answered) OnFinish(f route.Finisher) { a.finishers = append(a.finishers, f) }

type from string

func (from) ID() string         { return "p1" }
func (f from) Listener() string { return string(f) }
func (from) RemoteAddr() string { return "" }

func newShedding(t *testing.T, m *ShedMetrics, cfg ShedConfig) *shedding {
	t.Helper()
	s := &shedding{now: time.Unix(1000, 0)}
	s.Shedder = newShedder(m, cfg, func() time.Duration { return s.mean })
	s.Shedder.now = func() time.Time { return s.now }
	s.h = s.Middleware()(route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {}))
	return s
}

// call makes a call of a priority, and returns whether it passed.
func (s *shedding) call(priority string, change ...func(*route.Request)) bool {
	req := &route.Request{Peer: from("main"), Route: "a:/x"}
	req.Message.Verb = message.VerbCall
	if priority != "" {
		req.Message.SetHeader(PriorityHeader, priority)
	}
	for _, f := range change {
		f(req)
	}
	a := &answered{}
	s.h.Handle(context.Background(), req, a)
	if a.err == nil {
		s.open = append(s.open, a)
	}
	return a.err == nil
}

// passing are the priorities that pass at a delay, a second later.
func (s *shedding) passing(mean time.Duration) string {
	s.mean = mean
	s.now = s.now.Add(200 * time.Millisecond)
	var out []string
	for _, p := range priorities {
		if s.call(p) {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}

const all = "low normal high critical"

func TestShedByDelay(t *testing.T) {
	t.Parallel()
	s := newShedding(t, nil, ShedConfig{Max: "critical"})
	s.passing(0)
	for _, c := range []struct {
		delay time.Duration
		want  string
	}{
		{0, all},
		{15 * time.Millisecond, all},
		{16 * time.Millisecond, "normal high critical"},
		{15 * time.Millisecond, "normal high critical"}, // not at once
		{11 * time.Millisecond, all},
		{20 * time.Millisecond, "high critical"},
		{25 * time.Millisecond, "critical"},
		{40 * time.Millisecond, ""},
		{31 * time.Millisecond, ""},
		{29 * time.Millisecond, "critical"},
		{18 * time.Millisecond, "high critical"},
		{14 * time.Millisecond, "normal high critical"},
		{11 * time.Millisecond, all},
	} {
		if got := s.passing(c.delay); got != c.want {
			t.Errorf("at %v pass %q, want %q", c.delay, got, c.want)
		}
	}
	// It is not looked at more often than ten times a second.
	s.mean = time.Second
	if !s.call("low") {
		t.Error("it was looked at again at once")
	}
	// After a long silence it means nothing.
	s.now = s.now.Add(time.Minute)
	if !s.call("low") {
		t.Error("the mean of a silence counted")
	}
}

func TestShedByCalls(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := NewShedMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	s := newShedding(t, m, ShedConfig{Calls: 10, Max: "critical"})
	count := func(priority string) (n int) {
		for n < 100 && s.call(priority) {
			n++
		}
		return n
	}
	if got := []int{count("low"), count("normal"), count("high"), count("critical")}; got[0] != 8 || got[1] != 2 || got[2] != 3 || got[3] != 7 {
		t.Errorf("passed %v", got)
	}
	end := func(n int) {
		for _, a := range s.open[:n] {
			_ = a.Reply(route.Body{})
		}
		s.open = s.open[n:]
	}
	if end(4); s.call("critical") || s.inFlight.Load() != 16 {
		t.Error("one came back too early")
	}
	if end(2); !s.call("critical") || s.call("high") {
		t.Error("critical ones did not come back")
	}
	if end(10); !s.call("low") {
		t.Error("low ones did not come back")
	}
	for p, want := range map[string]float64{"low": 1, "normal": 1, "high": 2, "critical": 2} {
		if got := testutil.ToFloat64(m.refused.WithLabelValues(p)); got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
}

func TestShedPriority(t *testing.T) {
	t.Parallel()
	claims := func(v any) func(*route.Request) {
		return func(req *route.Request) { req.SetSession(session.New("anna", session.Claims{"priority": v}, nil)) }
	}
	for name, c := range map[string]struct {
		cfg  ShedConfig
		asks string
		by   func(*route.Request)
		want priority
	}{
		"none":             {ShedConfig{}, "", nil, normal},
		"low":              {ShedConfig{}, "low", nil, low},
		"high":             {ShedConfig{}, "high", nil, high},
		"too high":         {ShedConfig{}, "critical", nil, high},
		"unknown":          {ShedConfig{}, "urgent\r\n\x00", nil, normal},
		"huge":             {ShedConfig{}, strings.Repeat("critical", 10000), nil, normal},
		"default":          {ShedConfig{Default: "low"}, "", nil, low},
		"default over max": {ShedConfig{Default: "high", Max: "normal"}, "", nil, normal},
		"max":              {ShedConfig{Max: "critical"}, "critical", nil, critical},
		"listener":         {ShedConfig{Listeners: map[string]string{"main": "low"}}, "high", nil, low},
		"other listener":   {ShedConfig{Listeners: map[string]string{"inner": "critical"}}, "critical", nil, high},
		"claim":            {ShedConfig{Claim: "priority"}, "critical", claims("critical"), critical},
		"lower claim":      {ShedConfig{Claim: "priority"}, "critical", claims("low"), low},
		"strange claim":    {ShedConfig{Claim: "priority"}, "critical", claims([]any{1}), high},
		"no claim":         {ShedConfig{Claim: "other"}, "critical", claims("critical"), high},
		"route":            {ShedConfig{Routes: map[string]string{"a:/x": "critical"}}, "low", nil, critical},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShedding(t, nil, c.cfg)
			req := &route.Request{Peer: from("main"), Route: "a:/x"}
			if c.asks != "" {
				req.Message.SetHeader(PriorityHeader, c.asks)
			}
			if c.by != nil {
				c.by(req)
			}
			if got := s.priority(req); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// shown is a state as people see it.
func shown(t *testing.T, s route.Stateful) string {
	t.Helper()
	b, err := json.Marshal(s.State())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestShedState(t *testing.T) {
	t.Parallel()
	s := newShedding(t, nil, ShedConfig{Calls: 4})
	s.call("")
	if got := shown(t, s); got != `{"load":0.25,"inFlight":1,"refusing":[]}` {
		t.Errorf("state %s", got)
	}
	if err := s.SetState([]byte(`{"refuse":"normal"}`)); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, s); !strings.Contains(got, `["low","normal"]`) || s.call("") || !s.call("high") {
		t.Errorf("state %s", got)
	}
	if err := s.SetState([]byte(`{"refuse":"critical"}`)); err != nil || s.call("critical") {
		t.Errorf("critical calls pass: %v", err)
	}
	if !s.call("low", func(req *route.Request) { req.Address.Name = "node" }) {
		t.Error("the call that takes it back does not pass")
	}
	if err := s.SetState([]byte(`{"refuse":""}`)); err != nil || !s.call("low") {
		t.Error("it did not end")
	}
	for _, bad := range []string{`{}`, `{"refuse":"moon"}`, `{"refuse":1}`, `{"x":1}`, `7`} {
		if s.SetState([]byte(bad)) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	for settings, field := range map[string]string{
		`{"calls":-1}`: "calls", `{"default":"x"}`: "default", `{"max":"x"}`: "max",
		`{"listeners":{"main":""}}`: "listeners.main", `{"routes":{"a:/x":"moon"}}`: "routes.a:/x",
	} {
		var cfg ShedConfig
		if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
			t.Fatal(err)
		}
		if err := message.AsError(cfg.Validate()); err.Path != field || err.Hint == "" {
			t.Errorf("%s: %+v", settings, err)
		}
	}
}

// The delay of the scheduler is really measured.
func TestSchedDelay(t *testing.T) {
	t.Parallel()
	var d schedDelay
	if first := d.mean(); first != 0 {
		t.Errorf("the first time %v", first)
	}
	done := make(chan struct{})
	for range 100 {
		go func() { done <- struct{}{} }()
	}
	for range 100 {
		<-done
	}
	if mean := d.mean(); mean <= 0 || mean > time.Minute {
		t.Errorf("mean %v", mean)
	}
}
