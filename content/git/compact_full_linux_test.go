package git

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fill makes a file that takes all of the disk but so many bytes.
func fill(t *testing.T, path string, left int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it only takes room
	size := int64(0)
	for block := make([]byte, os.Getpagesize()); err == nil; {
		var n int
		n, err = f.Write(block)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(max(0, size-left)); err != nil {
		t.Fatal(err)
	}
}

// However much is left of a disk when it becomes full: what was there stays, and
// nothing is left of what could not be done.
func TestCompactFullDisk(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if err := syscall.Mount("tmpfs", base, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("no file system can be mounted: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(base, syscall.MNT_DETACH) })
	dir := filepath.Join(base, "site.git")
	s := inside(t, Settings{Repository: dir})
	c := packsOf(t, s, 3)
	c.packs = 2
	for n := range 10 {
		noise := make([]byte, 10<<10) // which cannot be compressed
		_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(noise)
		write(t, s, "/b.bin", string(noise))
	}
	full := 0
	for left := 0; left < 50; left += 4 { // blocks
		fill(t, filepath.Join(base, "filler"), int64(left*os.Getpagesize()))
		if err := c.run(t.Context()); err != nil {
			full++
		}
		files, err := os.ReadDir(filepath.Join(dir, "objects", "pack"))
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, f := range files {
			there[f.Name()] = true
		}
		for name := range there {
			if base, ok := strings.CutSuffix(name, ".idx"); strings.HasPrefix(name, "tmp_") || ok && !there[base+".pack"] {
				t.Errorf("%d blocks: %s is left", left, name)
			}
		}
		program(t, dir, "fsck", "--strict", "--full")
		reads(t, s, "/a.txt", "2 2")
	}
	if full < 3 {
		t.Errorf("the disk was full %d times", full)
	}
	if loose, packs := counts(t, dir); loose > 0 || packs > 2 {
		t.Errorf("there are %d loose objects and %d packs", loose, packs)
	}
}
