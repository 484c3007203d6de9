package content_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// sink is the Responder of a subscribe that counts its parts.
type sink struct {
	count    *sync.WaitGroup
	finisher route.Finisher
}

func (s *sink) Part(route.Body) error { s.count.Done(); return nil }

func (s *sink) Reply(route.Body) error { return nil }

func (s *sink) Fail(error) error { return nil }

func (s *sink) OnFinish(f route.Finisher) { s.finisher = f }

// watchAll has n subscribes of what path says answered once.
func watchAll(b *testing.B, w *world, count *sync.WaitGroup, n int, path func(i int) string) []*sink {
	b.Helper()
	sinks := make([]*sink, n)
	count.Add(n)
	for i := range sinks {
		to := "mem:" + path(i)
		a, err := message.ParseStrict(to)
		if err != nil {
			b.Fatal(err)
		}
		sinks[i] = &sink{count: count}
		req := &route.Request{Address: a}
		req.Message.Verb, req.Message.To = message.VerbSubscribe, []byte(to)
		w.handler.Handle(b.Context(), req, sinks[i])
	}
	count.Wait()
	return sinks
}

// BenchmarkIdle tells what a watched content costs that nothing happens to,
// without what the provider keeps.
func BenchmarkIdle(b *testing.B) {
	const cells = 10_000
	for b.Loop() {
		m := contenttest.NewMemory()
		for i := range cells {
			m.Set(fmt.Sprintf("/a/%d", i), `{"n":1}`)
		}
		w := serve(b, m, content.Options{})
		before := heap()
		var count sync.WaitGroup
		sinks := watchAll(b, w, &count, cells, func(i int) string { return fmt.Sprintf("/a/%d", i) })
		b.ReportMetric(float64(heap()-before)/cells, "B/cell")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		for _, s := range sinks {
			s.finisher.Finished(route.Outcome{})
		}
		w.end()
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// BenchmarkChange is the time from a change to the last of those who watch it.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("watches=%d", n), func(b *testing.B) {
			w, m := inMemory(b, content.Options{})
			m.Set("/a", "0")
			var count sync.WaitGroup
			watchAll(b, w, &count, n, func(int) string { return "/a" })
			bodies := [2]string{`{"n":1}`, `{"n":2}`}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				count.Add(n)
				m.Set("/a", bodies[i%2])
				count.Wait()
			}
		})
	}
}

// BenchmarkUnchanged is a change after which the content is the same.
func BenchmarkUnchanged(b *testing.B) {
	w, m := inMemory(b, content.Options{})
	m.Set("/a", "0")
	var count sync.WaitGroup
	watchAll(b, w, &count, 1, func(int) string { return "/a" })
	b.ReportAllocs()
	for b.Loop() {
		before := m.Gets("/a")
		m.Touch("/a")
		for m.Gets("/a") == before {
			runtime.Gosched()
		}
	}
}

// BenchmarkGet is a get of what is watched, and of what is not.
func BenchmarkGet(b *testing.B) {
	for _, watched := range []bool{true, false} {
		b.Run(fmt.Sprintf("watched=%t", watched), func(b *testing.B) {
			w, m := inMemory(b, content.Options{})
			m.Set("/a", "0")
			var count sync.WaitGroup
			if watched {
				watchAll(b, w, &count, 1, func(int) string { return "/a" })
			}
			b.ReportAllocs()
			var wrong atomic.Int64
			for b.Loop() {
				if w.do(message.VerbGet, "mem:/a", "") != "0" {
					wrong.Add(1)
				}
			}
			if wrong.Load() > 0 {
				b.Fatal("wrong answers")
			}
		})
	}
}
