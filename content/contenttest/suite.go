package contenttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// suite is one subtest.
type suite struct {
	*testing.T
	Features
	Env

	closed atomic.Bool
}

// shut closes the provider, once, and fails if that takes for ever.
func (s *suite) shut() {
	c, ok := s.Provider.(content.Closer)
	if !ok || !s.closed.CompareAndSwap(false, true) {
		return
	}
	done := make(chan error, 1)
	go func() { done <- c.Close() }()
	select {
	case err := <-done:
		if err != nil {
			s.Errorf("Close: %v", err)
		}
	case <-time.After(s.Latency + defaultLatency):
		s.Error("Close does not return")
	}
}

func (s *suite) write(name string, n int) {
	s.Helper()
	if err := s.Write(name, n); err != nil {
		s.Fatalf("write %d to %s: %v", n, name, err)
	}
}

func (s *suite) open(r *content.Request) content.Resource {
	s.Helper()
	res, err := s.Provider.Open(s.Context(), r)
	if err != nil {
		s.Fatalf("open %s: %v", r.Path, err)
	}
	return res
}

// get asks a resource that is not watched for its content, as it is now.
func (s *suite) get(r *content.Request) (content.Content, error) {
	s.Helper()
	return s.open(r).Get(s.Context())
}

// wants fails the test unless the content is n.
func (s *suite) wants(c content.Content, n int) {
	s.Helper()
	if why := s.differs(c, n); why != "" {
		s.Fatal(why)
	}
}

// differs says in what a content is not n; "" if it is.
func (s *suite) differs(c content.Content, n int) string {
	want := s.Content(n)
	switch {
	case c.Body == nil:
		return "the body of a content is nil"
	case c.ContentType != want.ContentType:
		return fmt.Sprintf("the content type is %q, not %q", c.ContentType, want.ContentType)
	case c.ContentType == "" && !message.ValidJSON(c.Body):
		return fmt.Sprintf("the content is no JSON: %.200q", c.Body)
	case !bytes.Equal(plain(c), plain(want)):
		return fmt.Sprintf("the content is %.200q, not %.200q", c.Body, want.Body)
	}
	return ""
}

// plain returns a content without what does not matter.
func plain(c content.Content) []byte {
	var b bytes.Buffer
	if c.ContentType == "" && json.Compact(&b, c.Body) == nil {
		return b.Bytes()
	}
	return c.Body
}

// watched is a resource that is watched, as the runner does it.
type watched struct {
	s     *suite
	req   *content.Request
	res   content.Resource
	ring  chan struct{}
	count atomic.Int64
	stop  func()
}

// watch opens a resource and watches it. It is stopped when the test ends.
func (s *suite) watch(r *content.Request) *watched {
	s.Helper()
	w := &watched{s: s, req: r, ring: make(chan struct{}, 1)}
	w.begin()
	return w
}

// begin opens the resource and watches it.
func (w *watched) begin() {
	s := w.s
	s.Helper()
	w.res = s.open(w.req)
	stop, err := w.res.Watch(w.changed)
	if err != nil {
		if s.Blind {
			w.stop = func() {}
			return
		}
		s.Fatalf("watch %s: %v", w.req.Path, err)
	}
	var once atomic.Bool
	w.stop = func() {
		if once.CompareAndSwap(false, true) {
			stop()
		}
	}
	s.Cleanup(w.stop)
}

func (w *watched) changed() {
	w.count.Add(1)
	select {
	case w.ring <- struct{}{}:
	default:
	}
}

// get computes the content, of a resource that is opened anew if it asks for
// that.
func (w *watched) get(ctx context.Context) (content.Content, error) {
	c, err := w.res.Get(ctx)
	if errors.Is(err, content.ErrReopen) {
		w.stop()
		w.begin()
		c, err = w.res.Get(ctx)
	}
	return c, err
}

// now fails the test unless the content is n now.
func (w *watched) now(n int) {
	w.s.Helper()
	c, err := w.get(w.s.Context())
	if err != nil {
		w.s.Fatalf("get: %v", err)
	}
	w.s.wants(c, n)
}

// until computes whenever there may be a change, until ok says that the result
// is right. what says what was waited for.
func (w *watched) until(what string, ok func(content.Content, error) bool) {
	w.s.Helper()
	late := time.After(w.s.Latency)
	for {
		c, err := w.get(w.s.Context())
		if ok(c, err) {
			return
		}
		select {
		case <-w.ring:
		case <-late:
			w.s.Fatalf("%s is not seen: the last content is %.200q, error %v; told of %d changes", what, c.Body, err, w.count.Load())
		}
	}
}

// sees waits until the content is n.
func (w *watched) sees(n int) {
	w.s.Helper()
	w.until(fmt.Sprintf("the content %d", n), func(c content.Content, err error) bool {
		return err == nil && w.s.differs(c, n) == ""
	})
}

// misses waits until there is nothing.
func (w *watched) misses() {
	w.s.Helper()
	w.until("that there is nothing", func(_ content.Content, err error) bool {
		return err != nil && message.CodeOf(err) == message.CodeNotFound
	})
}

// rest waits until the resource has been quiet for a moment, so that late echoes
// of what was done are not counted as changes.
func (w *watched) rest() {
	late := time.After(w.s.Latency)
	for {
		before := w.count.Load()
		select {
		case <-time.After(quiet):
			if w.count.Load()-before <= int64(w.s.Invalidations) {
				return
			}
		case <-late:
			w.s.Fatal("the resource says again and again that it changed")
		}
	}
}
