package content_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	w, _ := inMemory(t, content.Options{Version: "1.2.0", Topic: route.Topic{Personal: true, Events: true}})
	for i, want := range []string{"/", "/**"} {
		r := w.svc.Routes()[i]
		if r.Pattern.String() != want || r.Info.Topic == nil || !r.Info.Topic.Personal || r.Info.Topic.Events || r.Info.Version != "1.2.0" {
			t.Errorf("%s: %+v, %+v", r.Pattern, r.Info, r.Info.Topic)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w, m := inMemory(t, content.Options{})
	s := w.subscribe("mem:/a", "")
	s.sees("not_found")
	m.Set("/a", "1")
	s.sees("not_found", "1")
	if got := w.do(message.VerbPublish, "mem:/a", "2"); got != "" {
		t.Error(got)
	}
	s.sees("1", "2")
	m.Touch("/a")
	if got := w.do(message.VerbGet, "mem:/a", ""); got != "2" {
		t.Error(got)
	}
	m.Fail("/a", message.NewError(message.CodeForbidden, "no", ""))
	s.sees("2", "forbidden")
	m.Fail("/a", nil)
	s.sees("forbidden", "2")
	if got := w.do(message.VerbPublish, "mem:/a", ""); got != "" {
		t.Error(got)
	}
	s.sees("2", "not_found")
	if got := s.all(); !slices.Equal(got, []string{"not_found", "1", "2", "forbidden", "2", "not_found"}) {
		t.Error(got)
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	w, m := inMemory(t, content.Options{})
	m.Set("/a", "1")
	a := w.subscribe("mem:/a", `{"params":{"y":2,"x":1.0}}`)
	b := w.subscribe("mem:/a", `{"params": { "x":1.0, "y":2 },"delta":["merge"]}`)
	want := `{"content":1,"params":{"x":1.0,"y":2}}`
	a.sees(want)
	b.sees(want)
	if n := m.Watched(); n != 1 {
		t.Errorf("%d resources are watched for the same parameters", n)
	}
	for body, want := range map[string]string{
		"":                   "1",
		`{}`:                 "1",
		`{"params":null}`:    "1",
		`{"params":{}}`:      "1",
		`{"params":{"a":0}}`: `{"content":1,"params":{"a":0}}`,
		`{"params":[1]}`:     "invalid_input",
		`{"params":"x"}`:     "invalid_input",
		`[]`:                 "invalid_input",
		`{"params":{"a":"` + strings.Repeat("x", message.MaxParams) + `"}}`: "too_large",
	} {
		if got := w.do(message.VerbGet, "mem:/a", body); got != want {
			t.Errorf("get %.60s: %s, want %s", body, got, want)
		}
		if !strings.HasPrefix(want, "{") && want != "1" {
			if got := w.subscribe("mem:/a", body).answer(); got != want {
				t.Errorf("subscribe %.60s: %s, want %s", body, got, want)
			}
		}
	}
	// A call of what is no Caller is a get, with the body as the parameters.
	for body, want := range map[string]string{"": "1", `{"a": 0}`: `{"content":1,"params":{"a":0}}`, `7`: "invalid_input"} {
		if got := w.do(message.VerbCall, "mem:/a", body); got != want {
			t.Errorf("call %s: %s, want %s", body, got, want)
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[content.Request]
	w := serve(t, own{func(r *content.Request) (content.Resource, error) {
		got.Store(r)
		return nil, content.NotFound(r.Path, "")
	}}, content.Options{})
	for to, want := range map[string]content.Request{
		"mem:/":         {Path: "/", Dir: true},
		"mem:/a/b":      {Path: "/a/b"},
		"mem:/a/b/":     {Path: "/a/b", Dir: true},
		"mem:/a/?x=/":   {Path: "/a", Dir: true, Query: "x=/"},
		"mem:/a?x=1/":   {Path: "/a", Query: "x=1/"},
		"mem:/%2e%2e/a": {Path: "/%2e%2e/a"},
	} {
		w.do(message.VerbGet, to, "")
		r := got.Load()
		if r.Path != want.Path || r.Dir != want.Dir || r.Query != want.Query || r.Session == nil {
			t.Errorf("%s: %+v", to, r)
		}
	}
}

func TestPublishRefused(t *testing.T) {
	t.Parallel()
	w := serve(t, own{}, content.Options{})
	r := w.ask(t.Context(), message.VerbPublish, "mem:/a", "1")
	if r.answer() != "unimplemented" || r.err.Hint == "" {
		t.Error(r.err)
	}
	m, _ := inMemory(t, content.Options{})
	if got := m.do(message.VerbPublish, "mem:/a", "{"); got != "invalid_input" {
		t.Error(got)
	}
	if got := m.do(message.VerbPublish, "mem:/a", ""); got != "not_found" {
		t.Error(got)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	m := contenttest.NewMemory()
	w := serve(t, m, content.Options{Topic: route.Topic{Personal: true}, Shared: []string{"/board/**", "/{shop}/prices"}, Borrowed: true})
	var got []string
	for _, r := range w.svc.Routes() {
		got = append(got, fmt.Sprint(r.Pattern, r.Info.Topic.Personal))
	}
	if want := []string{"/ true", "/** true", "/board/** false", "/{shop}/prices false"}; !slices.Equal(got, want) {
		t.Error(got)
	}
	var subject atomic.Value
	who := serve(t, own{func(r *content.Request) (content.Resource, error) {
		subject.Store(r.Session.Subject)
		return nil, content.NotFound(r.Path, "")
	}}, content.Options{Topic: route.Topic{Personal: true}, Shared: []string{"/board/**"}})
	for i, want := range map[int]string{1: "anna", 2: ""} {
		r := who.request(message.VerbGet, "mem:/board/a", "")
		r.req.SetSession(session.New("anna", nil, nil))
		who.run.Handler(who.svc.Routes()[i].Handler).Handle(t.Context(), r.req, r)
		if r.answer(); subject.Load() != want {
			t.Errorf("the provider sees %q, want %q", subject.Load(), want)
		}
	}
	w.end()
	if _, err := m.Open(t.Context(), contenttest.Request("/a")); err != nil {
		t.Errorf("the provider was closed with the service: %v", err)
	}
}

// caller is a provider of calls that panic on demand.
type caller struct {
	own

	do func(context.Context, *content.Request, content.Content) (content.Content, error)
}

func (c caller) Call(ctx context.Context, r *content.Request, body content.Content) (content.Content, error) {
	return c.do(ctx, r, body)
}

func (c caller) Publish(ctx context.Context, r *content.Request, body content.Content) (content.Content, error) {
	return c.do(ctx, r, body)
}

func TestCaller(t *testing.T) {
	t.Parallel()
	w := serve(t, caller{do: func(_ context.Context, r *content.Request, c content.Content) (content.Content, error) {
		if r.Path == "/panic" {
			panic("secret reason")
		}
		return content.Content{Body: append([]byte("got "), c.Body...), ContentType: "text/plain"}, nil
	}}, content.Options{})
	r := w.ask(t.Context(), message.VerbCall, "mem:/x", "[1]")
	if got := r.answer(); got != "got [1]" || r.body.ContentType != "text/plain" {
		t.Error(got, r.body)
	}
	for _, verb := range []message.Verb{message.VerbCall, message.VerbPublish} {
		if r := w.ask(t.Context(), verb, "mem:/panic", "1"); r.answer() != "internal" || strings.Contains(r.err.Message, "secret") {
			t.Error(r.err)
		}
	}
	if log := w.log.String(); !strings.Contains(log, "secret reason") || !strings.Contains(log, "service_test.go") {
		t.Error(log)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		m := contenttest.NewMemory()
		m.Set("/later", "1")
		w := serve(t, own{func(r *content.Request) (content.Resource, error) {
			switch {
			case r.Path == "/secret":
				return nil, message.NewError(message.CodeForbidden, "no", "")
			case r.Path == "/panic":
				panic("boom")
			case down.Load():
				return nil, message.NewError(message.CodeSourceDown, "down", "")
			}
			return m.Open(t.Context(), r)
		}}, content.Options{})
		defer w.end()
		if got := w.subscribe("mem:/secret", "").answer(); got != "forbidden" {
			t.Error(got)
		}
		p := w.subscribe("mem:/panic", "")
		p.sees("internal")
		s := w.subscribe("mem:/later", "")
		<-time.After(2 * time.Minute)
		if got := s.all(); !slices.Equal(got, []string{"source_down"}) {
			t.Error(got)
		}
		down.Store(false)
		<-time.After(time.Minute)
		s.sees("source_down", "1")
		m.Set("/later", "2")
		s.sees("1", "2")
		p.cancel()
	})
}

func TestBadContents(t *testing.T) {
	t.Parallel()
	contents := map[string]content.Content{
		"/nil": {}, "/broken": {Body: []byte("{")}, "/text": {Body: []byte("{"), ContentType: "text/plain"}, "/empty": {Body: []byte{}, ContentType: "text/plain"},
	}
	w := serve(t, own{func(r *content.Request) (content.Resource, error) {
		return ownResource{key: r.Path, get: func(context.Context) (content.Content, error) {
			switch r.Path {
			case "/panic":
				panic("boom")
			case "/foreign":
				return content.Content{}, errors.New("secret reason")
			}
			return contents[r.Path], nil
		}}, nil
	}}, content.Options{})
	for path, want := range map[string]string{
		"/nil": "internal", "/broken": "bad_content", "/text": "{ (text/plain)", "/empty": " (text/plain)", "/panic": "internal", "/foreign": "internal",
	} {
		w.subscribe("mem:"+path, "").sees(want)
	}
	if !strings.Contains(w.log.String(), "secret reason") || !strings.Contains(w.log.String(), "boom") {
		t.Error(w.log.String())
	}
}

func TestSharedByAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{})
		defer w.end()
		m.Set("/a", "0")
		release := m.Hold("/a")
		var subs []*asked
		for range 50 {
			subs = append(subs, w.subscribe("mem:/a", ""))
		}
		synctest.Wait()
		got := make(chan string, 50)
		for range cap(got) {
			go func() { got <- w.do(message.VerbGet, "mem:/a", "") }()
		}
		synctest.Wait()
		release()
		for range cap(got) {
			if s := <-got; s != "0" {
				t.Error(s)
			}
		}
		synctest.Wait()
		if n := m.Gets("/a"); n != 1 {
			t.Errorf("computed %d times", n)
		}
		release = m.Hold("/a")
		for i := range 100 { // one run is held, the others become one
			m.Set("/a", fmt.Sprint(i+1))
			if i == 0 {
				synctest.Wait()
			}
		}
		release()
		synctest.Wait()
		for _, s := range subs {
			if all := s.all(); !slices.Equal(all, []string{"0", "1", "100"}) {
				t.Fatal(all)
			}
			s.cancel()
		}
		if n := m.Gets("/a"); n != 3 {
			t.Errorf("computed %d times", n)
		}
		synctest.Wait()
		if n := m.Watched(); n != 0 {
			t.Errorf("%d are still watched", n)
		}
	})
}

// Of many gets at a time those that came during a computation share the next.
func TestGetsShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{})
		defer w.end()
		m.Set("/a", "1")
		release := m.Hold("/a")
		got := make(chan string, 20)
		get := func() { got <- w.do(message.VerbGet, "mem:/a", "") }
		first := w.ask(t.Context(), message.VerbGet, "mem:/a", "")
		synctest.Wait()
		m.Set("/a", "2") // which the first has not read
		for range cap(got) {
			go get()
		}
		synctest.Wait()
		release()
		for range cap(got) {
			if s := <-got; s != "2" {
				t.Error(s)
			}
		}
		if s, n := first.answer(), m.Gets("/a"); s != "1" || n != 2 {
			t.Errorf("%s for the first, computed %d times", s, n)
		}
	})
}

func TestGetIsCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{})
		defer w.end()
		m.Set("/a", "1")
		release := m.Hold("/a")
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		first := w.ask(ctx, message.VerbGet, "mem:/a", "")
		synctest.Wait()
		cancel() // nobody wants it any more: the computation is ended
		if got := first.answer(); got != "canceled" {
			t.Error(got)
		}
		ctx, cancel = context.WithCancel(t.Context())
		first = w.ask(ctx, message.VerbGet, "mem:/a", "")
		second := w.ask(t.Context(), message.VerbGet, "mem:/a", "")
		synctest.Wait()
		cancel()
		first.answer()
		release()
		if got := second.answer(); got != "1" {
			t.Error(got)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, m := inMemory(t, content.Options{Watches: 3})
		m.Set("/a", "1")
		rest := w.subscribe("mem:/a", "")
		rest.sees("1")
		release := m.Hold("/b")
		defer release()
		held := w.subscribe("mem:/b", "")
		get := w.ask(t.Context(), message.VerbGet, "mem:/b", "")
		down := w.subscribe("mem:/c", "")
		if got := w.subscribe("mem:/d", "").answer(); got != "too_many_topics" {
			t.Error(got)
		}
		synctest.Wait()
		if err := w.svc.Close(); err != nil {
			t.Error(err)
		}
		for _, s := range []*asked{rest, held, down, get} {
			if got := s.answer(); got != "shutting_down" {
				t.Error(got)
			}
		}
		if n := m.Watched(); n != 0 {
			t.Errorf("%d are watched", n)
		}
		for _, verb := range []message.Verb{message.VerbSubscribe, message.VerbGet, message.VerbPublish, message.VerbCall} {
			if got := w.ask(t.Context(), verb, "mem:/a", "").answer(); got != "shutting_down" {
				t.Error(verb, got)
			}
		}
		w.end()
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	metrics, err := content.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := content.NewMetrics(reg); err != nil {
		t.Fatal(err)
	}
	w, m := inMemory(t, content.Options{Metrics: metrics})
	m.Set("/a", "1")
	w.subscribe("mem:/a", "").sees("1")
	w.subscribe("mem:/b", "").sees("not_found")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			got[f.GetName()] += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"ropewalk_content_faults_total": 1, "ropewalk_content_run_seconds": 2, "ropewalk_content_runs_total": 2, "ropewalk_content_watched": 2,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
