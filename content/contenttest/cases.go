package contenttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

func (s *suite) content() {
	s.write("a", 1)
	s.write("b", 2)
	a, b := s.watch(s.Request("a")), s.watch(s.Request("b"))
	a.now(1)
	b.now(2)
	for range 3 { // without Watch
		c, err := s.get(s.Request("a"))
		if err != nil {
			s.Fatal(err)
		}
		s.wants(c, 1)
	}
	s.write("a", 3)
	c, err := s.get(s.Request("a"))
	if err != nil {
		s.Fatal(err)
	}
	s.wants(c, 3)
}

func (s *suite) key() {
	s.write("a", 1)
	s.write("b", 1)
	first := s.open(s.Request("a"))
	key := first.Key()
	if key == "" {
		s.Error("the key is empty")
	}
	if again := s.open(s.Request("a")).Key(); again != key {
		s.Errorf("the keys of equal requests differ: %q and %q", key, again)
	}
	if other := s.open(s.Request("b")).Key(); other == key {
		s.Errorf("the keys of different paths are the same: %q", key)
	}
	if _, err := first.Get(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.write("a", 2)
	if first.Key() != key {
		s.Errorf("the key changed from %q to %q", key, first.Key())
	}
}

func (s *suite) params() {
	s.write("a", 1)
	x, y := s.Filtered("a")
	if s.open(x).Key() == s.open(y).Key() {
		s.Errorf("the keys are the same with the parameters %s and %s: %q", x.Params, y.Params, s.open(x).Key())
	}
	if first, again := s.open(x).Key(), s.open(x).Key(); first != again {
		s.Errorf("the keys of equal parameters differ: %q and %q", first, again)
	}
	a, err := s.get(x)
	if err != nil {
		s.Fatal(err)
	}
	b, err := s.get(y)
	if err != nil {
		s.Fatal(err)
	}
	if string(plain(a)) == string(plain(b)) {
		s.Errorf("the content is the same with the parameters %s and %s: %.200q", x.Params, y.Params, a.Body)
	}
}

func (s *suite) changes() {
	s.write("a", 1)
	w, also := s.watch(s.Request("a")), s.watch(s.Request("a"))
	w.now(1)
	also.now(1)
	for n := 2; n <= 6; n++ {
		s.write("a", n)
		w.sees(n)
		also.sees(n)
	}
}

// burst writes faster than anybody computes; the last one must be seen.
func (s *suite) burst() {
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	w.now(1)
	for n := range 50 {
		s.write("a", n+2)
	}
	w.sees(51)
}

// noHole writes while the resource is being watched and computed for the first
// time: either the first content has it or it is told.
func (s *suite) noHole() {
	for round := range 20 {
		name := fmt.Sprintf("r%d", round)
		s.write(name, 1)
		done := make(chan error, 1)
		go func() { done <- s.Write(name, 2) }()
		w := s.watch(s.Request(name))
		_, _ = w.get(s.Context()) // 1 or 2, or a half of it if the writing is not atomic
		if err := <-done; err != nil {
			s.Fatal(err)
		}
		w.sees(2)
		w.stop()
	}
}

func (s *suite) quiet() {
	s.write("a", 1)
	s.write("b", 1)
	w := s.watch(s.Request("a"))
	if w.now(1); s.Blind {
		return
	}
	w.rest()
	before := w.count.Load()
	for range 3 { // to compute is no change
		w.now(1)
	}
	timer := time.After(quiet)
	<-timer
	if n := w.count.Load() - before; n > int64(s.Invalidations) {
		s.Errorf("told of %d changes within %v although there was none", n, quiet)
	}
}

func (s *suite) appears() {
	w := s.watch(s.Request("late"))
	_, err := w.get(s.Context())
	s.isMissing(err)
	s.write("late", 1)
	w.sees(1)
}

// isMissing fails the test unless err says that there is nothing, as people and
// programs can read it.
func (s *suite) isMissing(err error) {
	s.Helper()
	if message.CodeOf(err) != message.CodeNotFound {
		s.Fatalf("the error is %v, not one with the code %s", err, message.CodeNotFound)
	}
	if e := message.AsError(err); e.Message == "" || e.Hint == "" {
		s.Errorf("the error has no message or hint: %+v", e)
	}
}

func (s *suite) removed() {
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	w.now(1)
	for n := 2; n <= 4; n++ {
		if err := s.Remove("a"); err != nil {
			s.Fatal(err)
		}
		w.misses()
		s.write("a", n)
		w.sees(n)
	}
}

func (s *suite) publisher() content.Publisher {
	s.Helper()
	p, ok := s.Provider.(content.Publisher)
	if !ok {
		s.Fatalf("%T is no content.Publisher", s.Provider)
	}
	return p
}

func (s *suite) publish() {
	p := s.publisher()
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	w.now(1)
	for n := 2; n <= 5; n++ {
		w.rest()
		before := w.count.Load()
		r, c := s.Publication("a", n)
		if _, err := p.Publish(s.Context(), r, c); err != nil {
			s.Fatalf("publish %d: %v", n, err)
		}
		if w.count.Load() == before {
			s.Fatal("Publish returned before the watcher was told")
		}
		w.now(n) // without waiting
		got, err := s.get(s.Request("a"))
		if err != nil {
			s.Fatal(err)
		}
		s.wants(got, n)
	}
	if !s.Blind { // what is published here does not hide what others do
		s.write("a", 6)
		w.sees(6)
	}
}

// publishConcurrently publishes from many at a time: one of the contents stays,
// in one piece, and who watches has it at the end.
func (s *suite) publishConcurrently() {
	const many = 8
	p := s.publisher()
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	w.now(1)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			for n := range 5 {
				r, c := s.Publication("a", 10+n*many+i)
				_, err := p.Publish(s.Context(), r, c)
				if code := message.CodeOf(err); err != nil && code != message.CodeConflict && code != message.CodeOverloaded {
					s.Errorf("publish: %v", err)
				}
			}
		})
	}
	wg.Wait()
	got, err := w.get(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for n := range 5 * many {
		if s.differs(got, 10+n) == "" {
			return
		}
	}
	s.Errorf("the content at the end is none of those published: %.200q", got.Body)
}

func (s *suite) remove() {
	p := s.publisher()
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	w.now(1)
	r, c := s.Deletion("a")
	if _, err := p.Publish(s.Context(), r, c); err != nil {
		s.Fatal(err)
	}
	if w.count.Load() == 0 {
		s.Error("Publish returned before the watcher was told")
	}
	_, err := w.get(s.Context())
	s.isMissing(err)
	r, c = s.Publication("a", 2)
	if _, err := p.Publish(s.Context(), r, c); err != nil {
		s.Fatal(err)
	}
	w.now(2)
}

// trickPaths lead out of a tree of files that is not careful. Addresses from
// the network cannot have all of them; a provider does not rely on that.
var trickPaths = []string{
	"/..", "/../..", "/../../../../etc/passwd", "/a/../../../../etc/passwd", "//etc/passwd", "/./././etc",
	"/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/%2fetc/passwd", "/..\\..\\etc\\passwd", "/C:/windows/win.ini",
	"/a\x00b", "/a/\x00", "/.git/config", "/.env", "/a/.git/HEAD", "/CON", "/aux.json", "/a.json::$DATA", "/a.json.", "/a.json ",
	"/\xff\xfe", "/a\r\nSet-Cookie: b", "/proc/self/environ", "/dev/zero", "/" + strings.Repeat("a", 5000),
	"/" + strings.Repeat("a/", 2000) + "b",
}

// secrets would be in a content that should not be read.
var secrets = []string{"root:x:0:0", "[core]", "PATH="}

func (s *suite) tricks() {
	s.write("a", 1)
	requests := s.Forbidden
	for _, path := range trickPaths {
		requests = append(requests, Request(path))
		dir := Request(path)
		dir.Dir = true
		requests = append(requests, dir)
	}
	for i, r := range requests {
		c, err := s.attempt(r)
		named := i < len(s.Forbidden)
		switch {
		case err == nil && named:
			s.Errorf("%.100q succeeds: %.200q", r.Path, c.Body)
		case err == nil:
			for _, secret := range secrets {
				if strings.Contains(string(c.Body), secret) {
					s.Errorf("%.100q reads %.200q", r.Path, c.Body)
				}
			}
		case message.CodeOf(err) == message.CodeInternal:
			s.Errorf("%.100q: the error has no code: %v", r.Path, err)
		}
		if p, ok := s.Provider.(content.Publisher); ok && named {
			if _, err := p.Publish(s.Context(), r, content.Content{Body: []byte(`{"pwned":true}`)}); err == nil {
				s.Errorf("publish to %.100q succeeds", r.Path)
			}
		}
	}
	w := s.watch(s.Request("a")) // and all is well
	w.now(1)
}

// attempt does with a request what the runner does.
func (s *suite) attempt(r *content.Request) (content.Content, error) {
	ctx, cancel := context.WithTimeout(s.Context(), s.Latency)
	defer cancel()
	res, err := s.Provider.Open(ctx, r)
	if err != nil {
		return content.Content{}, err
	}
	if stop, err := res.Watch(func() {}); err == nil {
		defer stop()
	}
	return res.Get(ctx)
}

func (s *suite) stop() {
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	if w.now(1); !s.Blind {
		s.write("a", 2)
		w.sees(2)
		w.rest()
	}
	other := s.watch(s.Request("a"))
	other.now(map[bool]int{false: 2, true: 1}[s.Blind])
	w.stop()
	before := w.count.Load()
	s.write("a", 3)
	if s.Blind {
		return
	}
	other.sees(3) // stopping one leaves the other
	other.rest()
	if n := w.count.Load() - before; n > 0 {
		s.Errorf("told of %d changes after it was stopped", n)
	}
	again := s.watch(s.Request("a"))
	again.now(3)
	s.write("a", 4)
	again.sees(4)
}

func (s *suite) cancel() {
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	done := make(chan error, 1)
	go func() {
		_, err := w.get(ended)
		done <- err
	}()
	select {
	case err := <-done: // it may be quicker than the look at its context
		if err != nil && message.CodeOf(err) == message.CodeNotFound {
			s.Errorf("a Get whose context has ended says that there is nothing: %v", err)
		}
	case <-time.After(s.Latency):
		s.Fatal("a Get whose context has ended does not return")
	}
	w.now(1) // the next one is not harmed
}

// crowd does everything at once, for the race detector.
func (s *suite) crowd() {
	const names, workers, rounds = 3, 6, 10
	for n := range names {
		s.write(fmt.Sprintf("c%d", n), 1)
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for round := range rounds {
				s.visit(fmt.Sprintf("c%d", (i+round)%names))
			}
		})
	}
	wg.Go(func() {
		for round := range rounds {
			if err := s.Write(fmt.Sprintf("c%d", round%names), round+2); err != nil {
				s.Errorf("write: %v", err)
			}
		}
	})
	wg.Wait()
	for n := range names {
		s.write(fmt.Sprintf("c%d", n), 99)
		s.watch(s.Request(fmt.Sprintf("c%d", n))).now(99)
	}
}

func (s *suite) visit(name string) {
	res, err := s.Provider.Open(s.Context(), s.Request(name))
	if err != nil {
		s.Errorf("open %s: %v", name, err)
		return
	}
	stop, err := res.Watch(func() {})
	if err != nil {
		if !s.Blind {
			s.Errorf("watch %s: %v", name, err)
		}
		stop = func() {}
	}
	defer stop()
	// In the middle of a write that is not atomic there is anything.
	if _, err := res.Get(s.Context()); err != nil && message.CodeOf(err) == message.CodeInternal {
		s.Errorf("get %s: %v", name, err)
	}
	_ = res.Key()
}

// close closes the provider while it is used.
func (s *suite) close() {
	s.write("a", 1)
	w := s.watch(s.Request("a"))
	w.now(1)
	if s.shut(); !s.closed.Load() {
		return // it has no Close
	}
	before := w.count.Load()
	ctx, cancel := context.WithTimeout(s.Context(), s.Latency)
	defer cancel()
	if res, err := s.Provider.Open(ctx, s.Request("b")); err == nil { // may fail, but must not panic or hang
		_, _ = res.Get(ctx)
	}
	_, _ = w.get(ctx)
	w.stop()
	if n := w.count.Load() - before; n > 1 {
		s.Errorf("told of %d changes after Close", n)
	}
	if err := ctx.Err(); err != nil {
		s.Error("a closed provider blocks")
	}
}
