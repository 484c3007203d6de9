package web_test

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/message"
)

// What must not be stored is not, whatever else the answer says of it.
func TestNoStore(t *testing.T) {
	t.Parallel()
	var conditional atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			conditional.Add(1)
		}
		w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate")
		w.Header().Set("Etag", `"1"`)
		_, _ = io.WriteString(w, "hi")
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	for range 2 {
		if got, err := get(t, w, s.URL+"/a", ""); err != nil || string(got.Body) != "hi" {
			t.Fatalf("got %s, %v", got.Body, err)
		}
	}
	if conditional.Load() != 0 {
		t.Error("the answer was kept")
	}
}

// Validators are those of one URL: where a redirect leads may change, to what is
// older than what was seen last.
func TestValidatorsOfARedirect(t *testing.T) {
	t.Parallel()
	var latest atomic.Value
	latest.Store("/v2")
	var unchanged atomic.Int32
	modified := map[string]time.Time{
		"/v1": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"/v2": time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		at, ok := modified[r.URL.Path]
		if !ok {
			http.Redirect(w, r, latest.Load().(string), http.StatusFound)
			return
		}
		w.Header().Set("Last-Modified", at.Format(http.TimeFormat))
		if since, err := http.ParseTime(r.Header.Get("If-Modified-Since")); err == nil && !at.After(since) {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	for i, want := range []string{"/v2", "/v2", "/v1", "/v1", "/v2"} {
		latest.Store(want)
		if got, err := get(t, w, s.URL+"/latest", ""); err != nil || string(got.Body) != want {
			t.Errorf("%d: got %s, %v, want %s", i, got.Body, err, want)
		}
	}
	if unchanged.Load() != 2 {
		t.Errorf("%d answers were unchanged, want 2", unchanged.Load())
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	var after atomic.Value
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", after.Load().(string))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	for _, c := range []struct {
		after       string
		least, most time.Duration
	}{
		{"30", 30 * time.Second, 30 * time.Second},
		{time.Now().Add(5 * time.Minute).UTC().Format(http.TimeFormat), time.Minute, 5 * time.Minute},
		{time.Now().Add(5 * time.Hour).UTC().Format(http.TimeFormat), 10 * time.Minute, 10 * time.Minute},
		{fmt.Sprint(1 << 40), 10 * time.Minute, 10 * time.Minute},
		{"Sun, 22 Nov 2015 15:14:10 GMT", 0, 0},
		{"-1", 0, 0},
		{"soon", 0, 0},
	} {
		after.Store(c.after)
		_, err := get(t, w, s.URL+"/a", "")
		if e := fails(t, err, message.CodeSourceDown); e.RetryAfter < c.least || e.RetryAfter > c.most {
			t.Errorf("%s: to be tried again after %v", c.after, e.RetryAfter)
		}
	}
}

// That it must not be stored any more may be said when it has not changed.
func TestNoStoreWhenUnchanged(t *testing.T) {
	t.Parallel()
	var conditional atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") != "" {
			conditional.Add(1)
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "hi")
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	for range 3 {
		if got, err := get(t, w, s.URL+"/a", ""); err != nil || string(got.Body) != "hi" {
			t.Fatalf("got %s, %v", got.Body, err)
		}
	}
	if n := conditional.Load(); n != 1 {
		t.Errorf("it was asked %d times whether it has changed, want once", n)
	}
}
