package script

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func BenchmarkCompile(b *testing.B) {
	dir := b.TempDir()
	old := time.Now().Add(-time.Hour)
	for name, text := range map[string]string{
		"a.ts": `import { f } from "./b"; export default (p: { n: number }) => f(p.n)`, "b.ts": `export const f = (n: number) => n * 2`,
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(file, old, old); err != nil {
			b.Fatal(err)
		}
	}
	t, err := openTree(&Settings{Root: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			if p := compile(t, "/a.ts", DefaultMaxFile); p.err != nil {
				b.Fatal(p.err)
			}
		}
	})
	b.Run("cached", func(b *testing.B) {
		ps := newPrograms(t, DefaultMaxFile)
		for b.Loop() {
			if p := ps.get("/a.ts"); p.err != nil {
				b.Fatal(p.err)
			}
		}
	})
}

// TestYoung changes a file without a trace in its size and time.
func TestYoung(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.js")
	now := time.Now()
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now, now); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := openTree(&Settings{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	ps := newPrograms(tr, DefaultMaxFile)
	put("1")
	first := ps.get("/a.js")
	if ps.get("/a.js") != first {
		t.Error("it was compiled again")
	}
	put("2")
	if got := ps.get("/a.js").code; got != "2" {
		t.Errorf("the code is %s", got)
	}
}
