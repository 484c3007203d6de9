package web_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// store is a server of JSON that a test sets.
type store struct {
	*httptest.Server

	mu    sync.Mutex
	all   map[string]int
	asked map[string]int
}

func newStore(t testing.TB) *store {
	s := &store{all: map[string]int{}, asked: map[string]int{}}
	s.Server = serve(t, s.serve)
	return s
}

func (s *store) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.Trim(r.URL.Path, "/")
	s.asked[name]++
	n, ok := s.all[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%d"`, n)
	if r.Method == http.MethodGet {
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.Method == http.MethodPost {
		_, _ = fmt.Fprintf(w, `{"n":%d,"params":%s}`, n, body)
		return
	}
	_, _ = fmt.Fprintf(w, `{"n":%d}`, n)
}

func (s *store) set(name string, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = n
	return nil
}

func (s *store) remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
	return nil
}

// closer has a suite close the Web of a provider.
type closer struct {
	content.Provider
	io.Closer
}

func TestConformance(t *testing.T) {
	t.Parallel()
	contenttest.Run(t, contenttest.Features{Missing: true, Params: true}, func(t *testing.T) contenttest.Env {
		s := newStore(t)
		w := start(t, web.Settings{Allow: []web.Entry{
			{URL: s.URL, Private: true, Methods: []string{"GET", "POST"}, Poll: duration.Duration(time.Second)},
		}})
		req := func(name, params string) *content.Request {
			_, r := request(s.URL+"/"+name, params)
			return r
		}
		return contenttest.Env{
			Provider: closer{w.Scheme("http"), w},
			Request:  func(name string) *content.Request { return req(name, "") },
			Write:    s.set,
			Remove:   s.remove,
			Content:  func(n int) content.Content { return content.Content{Body: fmt.Appendf(nil, `{"n":%d}`, n)} },
			Filtered: func(name string) (a, b *content.Request) { return req(name, `{"a":1}`), req(name, `{"a":2}`) },
		}
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		kind, body, _ := strings.Cut(r.URL.Query().Get("answer"), "|")
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		} else {
			w.Header()["Content-Type"] = nil
		}
		if r.URL.Path == "/none" {
			w.WriteHeader(http.StatusNoContent)
		}
		_, _ = io.WriteString(w, body)
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	for _, c := range []struct{ answer, params, kind, body string }{
		{`application/json|{"a":1.0}`, "", "", `{"a":1.0}`},
		{`application/problem+json|[1]`, "", "", `[1]`},
		{"application/json|\ufeff[1]", "", "", `[1]`},
		{`application/merge-patch+json|[1]`, "", "", `[1]`}, // never taken for a change
		{`text/plain;charset=utf-8|hi`, "", "text/plain; charset=utf-8", "hi"},
		{`|hi`, "", "application/octet-stream", "hi"},
		{`;;|hi`, "", "application/octet-stream", "hi"},
		{`image/png|hi`, `{"$encoding":"base64"}`, "", `{"base64":"aGk=","contentType":"image/png"}`},
		{`application/json|[1]`, `{"$encoding":"base64"}`, "", `[1]`},
	} {
		got, err := get(t, w, s.URL+"/?answer="+url.QueryEscape(c.answer), c.params)
		if err != nil || string(got.Body) != c.body || got.ContentType != c.kind {
			t.Errorf("%s: got %q %s, %v", c.answer, got.ContentType, got.Body, err)
		}
	}
	if got, err := get(t, w, s.URL+"/none", ""); err != nil || string(got.Body) != "null" {
		t.Errorf("no content: got %s, %v", got.Body, err)
	}
	_, err := get(t, w, s.URL+"/?answer=application/json|{", "")
	fails(t, err, message.CodeBadContent)
	for params, code := range map[string]message.Code{
		`{"$encoding":"hex"}`: message.CodeInvalidInput,
		`{"$other":1}`:        message.CodeInvalidInput,
		`{"a":1}`:             message.CodeForbidden, // POST is not allowed
	} {
		_, err := get(t, w, s.URL+"/", params)
		fails(t, err, code)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "hunter2"})
		_, _ = io.WriteString(w, "x")
	})
	entry := near(s)
	entry.Methods = []string{"GET", "POST"}
	entry.Headers = map[string]string{"x-api-key": "hunter2"}
	w := start(t, web.Settings{Allow: []web.Entry{entry}})
	for range 2 {
		if _, err := get(t, w, s.URL+"/a b/%41/é/?q=a b&c=\u00e9#", ""); err != nil {
			t.Fatal(err)
		}
		if got.Method != "GET" || got.RequestURI != "/a%20b/%41/%C3%A9/?q=a%20b&c=%C3%A9%23" || body != "" {
			t.Errorf("got %s %s %q", got.Method, got.RequestURI, body)
		}
		if got.Header.Get("X-Api-Key") != "hunter2" || got.Header.Get("Cookie") != "" || got.Header.Get("Referer") != "" {
			t.Errorf("the headers are %v", got.Header)
		}
	}
	if _, err := get(t, w, s.URL+"/x", `{"$encoding":"base64","a":"<&>"}`); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || body != `{"a":"<&>"}` || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %q %v", got.Method, body, got.Header)
	}
	// Of a program's request the headers count, but not those of the entry and of
	// the connection.
	status, text, err := do(t, w, "POST", s.URL+"/x", http.Header{"X-Api-Key": {"mine"}, "X-Other": {"1"}, "Host": {"evil"}, "Range": {"bytes=0-1"}}, strings.NewReader("body"))
	if err != nil || status != 200 || text != "x" {
		t.Fatalf("got %d %s, %v", status, text, err)
	}
	if got.Header.Get("X-Api-Key") != "hunter2" || got.Header.Get("X-Other") != "1" || got.Header.Get("Range") != "" || got.Host == "evil" || body != "body" {
		t.Errorf("got %v %q", got.Header, body)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "99999")
		status := 0
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "hunter2")
	})
	entry := near(s)
	entry.Headers = map[string]string{"Authorization": "Bearer hunter2"}
	w := start(t, web.Settings{Allow: []web.Entry{entry}})
	for status, code := range map[int]message.Code{
		301: message.CodeSourceDown, // without a Location
		400: message.CodeInvalidInput, 401: message.CodeForbidden, 403: message.CodeForbidden, 404: message.CodeNotFound, 410: message.CodeNotFound,
		418: message.CodeSourceDown, 422: message.CodeInvalidInput, 429: message.CodeSourceDown, 500: message.CodeSourceDown, 503: message.CodeSourceDown,
	} {
		_, err := get(t, w, fmt.Sprintf("%s/%d", s.URL, status), "")
		e := fails(t, err, code)
		if string(e.Details) != fmt.Sprintf(`{"status":%d}`, status) {
			t.Errorf("%d: the details are %s", status, e.Details)
		}
		if code == message.CodeSourceDown && e.RetryAfter != 10*time.Minute {
			t.Errorf("%d: again after %v", status, e.RetryAfter)
		}
		if got, text, err := do(t, w, "GET", fmt.Sprintf("%s/%d", s.URL, status), nil, nil); err != nil || got != status || text != "hunter2" {
			t.Errorf("%d: a program gets %d %s, %v", status, got, text, err)
		}
	}
}

func TestValidators(t *testing.T) {
	t.Parallel()
	var asked, unchanged atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h := w.Header()
		h.Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/fresh":
			h.Set("Cache-Control", "public, max-age=60")
		case "/old":
			h.Set("Cache-Control", "max-age=60")
			h.Set("Age", "60")
		case "/never":
			h.Set("Cache-Control", "no-store, max-age=60")
		case "/check":
			h.Set("Cache-Control", "no-cache, max-age=60")
		}
		h.Set("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
		if r.Header.Get("If-Modified-Since") != "" {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "hi")
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}, CacheBytes: 2000})
	for _, c := range []struct {
		path             string
		asked, unchanged int32
	}{{"/fresh", 1, 0}, {"/old", 3, 2}, {"/never", 3, 0}, {"/check", 3, 2}} {
		asked.Store(0)
		unchanged.Store(0)
		for range 3 {
			if got, err := get(t, w, s.URL+c.path, ""); err != nil || string(got.Body) != "hi" {
				t.Fatalf("%s: got %s, %v", c.path, got.Body, err)
			}
		}
		if asked.Load() != c.asked || unchanged.Load() != c.unchanged {
			t.Errorf("%s: asked %d times, unchanged %d times", c.path, asked.Load(), unchanged.Load())
		}
	}
	// What was used last stays, others make room.
	for i := range 5 {
		if _, err := get(t, w, fmt.Sprintf("%s/old?%d", s.URL, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	unchanged.Store(0)
	for _, i := range []int{4, 0} {
		if _, err := get(t, w, fmt.Sprintf("%s/old?%d", s.URL, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if unchanged.Load() != 1 {
		t.Errorf("%d of two were kept", unchanged.Load())
	}
}

func TestWatchNeedsPoll(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w := start(t, web.Settings{Allow: []web.Entry{near(s.Server)}})
	res, err := open(t, w, s.URL+"/a", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = res.Watch(func() {})
	fails(t, err, message.CodeUnimplemented)
}

func TestPause(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var broken atomic.Bool
	broken.Store(true)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1); broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "hi")
	})
	entry := near(s)
	entry.Poll = duration.Duration(time.Second)
	w := start(t, web.Settings{Allow: []web.Entry{entry}})
	res, err := open(t, w, s.URL+"/a", "")
	if err != nil {
		t.Fatal(err)
	}
	ring := make(chan struct{}, 1)
	stop, err := res.Watch(func() {
		select {
		case ring <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	// While it fails it is not asked again and again, whoever wants it.
	for range 10 {
		_, err := res.Get(t.Context())
		fails(t, err, message.CodeSourceDown)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	broken.Store(false)
	for {
		select {
		case <-ring:
		case <-time.After(20 * time.Second):
			t.Fatal("it is not asked again")
		}
		if got, err := res.Get(t.Context()); err == nil {
			if string(got.Body) != "hi" {
				t.Errorf("got %s", got.Body)
			}
			break
		}
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
	})
	defer close(release)
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	done := make(chan error)
	go func() {
		_, err := get(t, w, s.URL+"/a", "")
		done <- err
	}()
	<-asked
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, <-done, message.CodeShuttingDown)
	_, err := get(t, w, s.URL+"/a", "")
	fails(t, err, message.CodeShuttingDown)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-release
	})
	defer close(release)
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}, PerHost: 1})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := open(t, w, s.URL+"/a", "")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := res.Get(ctx)
		done <- err
	}()
	<-asked
	// Another one waits for the only slot of the host, but not for ever.
	late, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	other, err := open(t, w, s.URL+"/b", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Get(late)
	fails(t, err, message.CodeDeadlineExceeded)
	cancel()
	fails(t, <-done, message.CodeCanceled)
}

func TestPerHost(t *testing.T) {
	t.Parallel()
	const limit = 3
	var now, most atomic.Int32
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_, _ = io.WriteString(w, "hi")
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}, PerHost: limit})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if _, err := get(t, w, fmt.Sprintf("%s/%d", s.URL, i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	if wg.Wait(); most.Load() > limit {
		t.Errorf("%d requests at a time", most.Load())
	}
}
