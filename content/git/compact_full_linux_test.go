package git

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// However much is left of a disk when it becomes full: what was there stays, and
// nothing is left of what could not be done.
func TestCompactFullDisk(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if err := syscall.Mount("tmpfs", base, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("no file system can be mounted: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(base, syscall.MNT_DETACH) })
	dir := filepath.Join(base, "site.git")
	s := inside(t, Settings{Repository: dir})
	c := packsOf(t, s, 3)
	c.packs = 2
	for n := range 10 {
		write(t, s, "/b.txt", strings.Repeat(fmt.Sprint(n), 100))
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(base, &disk); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(base, "filler")
	full := 0
	for left := range 12 { // blocks
		if err := os.WriteFile(filler, make([]byte, (int(disk.Bfree)-left)*int(disk.Bsize)), 0o600); err != nil {
			t.Fatal(err)
		}
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
