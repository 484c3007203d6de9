package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ropewalk/ropewalk/content/file"
)

// BenchmarkLatency is the time from when another program has replaced a file
// until its watcher is told; 10 ms of it is waiting for what may follow.
func BenchmarkLatency(b *testing.B) {
	tr, dir := tree(b, file.Settings{})
	put(b, dir, "a/b/x.json", "1")
	w := watch(b, tr.JSON(), request("/a/b/x.json"))
	tmp, path := filepath.Join(dir, "a/b/.new"), filepath.Join(dir, "a/b/x.json")
	for b.Loop() {
		if err := os.WriteFile(tmp, []byte("2"), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(tmp, path); err != nil {
			b.Fatal(err)
		}
		<-w.ring
	}
}

func BenchmarkGet(b *testing.B) {
	tr, dir := tree(b, file.Settings{})
	put(b, dir, "a/b/x.json", `{"a": 1, "b": [1, 2, 3]}`)
	res, err := tr.JSON().Open(b.Context(), request("/a/b/x.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := res.Get(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish has two fsyncs in it.
func BenchmarkPublish(b *testing.B) {
	tr, dir := tree(b, file.Settings{})
	put(b, dir, "a/b/x.json", "1")
	p := tr.JSON()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := publish(b.Context(), p, "/a/b/x.json", "", `{"a":1}`); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWatched watches 10,000 files in 100 directories, and stops.
func BenchmarkWatched(b *testing.B) {
	const dirs, files = 100, 100
	tr, dir := tree(b, file.Settings{})
	for d := range dirs {
		for f := range files {
			put(b, dir, fmt.Sprintf("app/%d/%d.json", d, f), "1")
		}
	}
	p := tr.JSON()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		list := make([]func(), 0, dirs*files)
		for d := range dirs {
			for f := range files {
				res, err := p.Open(b.Context(), request(fmt.Sprintf("/app/%d/%d.json", d, f)))
				if err != nil {
					b.Fatal(err)
				}
				stop, err := res.Watch(func() {})
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, stop)
			}
		}
		b.ReportMetric(float64(heap()-before)/(dirs*files), "B/watch")
		for _, stop := range list {
			stop()
		}
	}
}
