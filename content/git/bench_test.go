package git_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ropewalk/ropewalk/content/git"
)

// BenchmarkPublish is a commit of one file in a tree of 1,000, until its
// watcher was told.
func BenchmarkPublish(b *testing.B) {
	s, _ := open(b, nil)
	fill(b, s)
	w := watch(b, s.JSON(), "/d7/f7.json")
	n := 0
	for b.Loop() {
		n++
		publish(b, s.JSON(), "/d7/f7.json", fmt.Sprint(n))
		<-w.ring
	}
}

// BenchmarkFollow is from a commit in one store to the content in another on the
// same repository.
func BenchmarkFollow(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "r")
	s, _ := reopen(b, git.Settings{Repository: dir})
	other, _ := reopen(b, git.Settings{Repository: dir})
	fill(b, s)
	w := watch(b, other.JSON(), "/d7/f7.json")
	w.sees("0")
	n := 0
	for b.Loop() {
		n++
		publish(b, s.JSON(), "/d7/f7.json", fmt.Sprint(n))
		w.sees(fmt.Sprint(n))
	}
}

// BenchmarkGet is reading a file.
func BenchmarkGet(b *testing.B) {
	s, _ := open(b, nil)
	fill(b, s)
	b.ReportAllocs()
	for b.Loop() {
		wants(b, s.JSON(), "/d7/f7.json", "0")
	}
}

// BenchmarkDraft is reading a file in a workspace with one change.
func BenchmarkDraft(b *testing.B) {
	s, _ := open(b, drafts)
	fill(b, s)
	publish(b, s.JSON(), "/d1/f1.json?workspace=w", "1")
	b.ReportAllocs()
	for b.Loop() {
		wants(b, s.JSON(), "/d7/f7.json?workspace=w", "0")
	}
}

// fill writes 1,000 files in 10 directories.
func fill(b *testing.B, s *git.Store) {
	b.Helper()
	files := ""
	for d := range 10 {
		for f := range 100 {
			files += fmt.Sprintf(`,{"path":"d%d/f%d.json","json":0}`, d, f)
		}
	}
	publish(b, s.Files(true), "/", `{"files":[`+files[1:]+`]}`)
	publish(b, s.JSON(), "/d7/f7.json", "1")
	publish(b, s.JSON(), "/d7/f7.json", "0")
}
