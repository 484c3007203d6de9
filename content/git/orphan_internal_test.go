package git

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// snapshotPacks returns the files of packs.
func snapshotPacks(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, name := range files {
		if all[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func restore(t *testing.T, files map[string][]byte, match func(string) bool) {
	t.Helper()
	for name, b := range files {
		if !match(name) {
			continue
		}
		if _, err := os.Stat(name); err == nil {
			continue
		}
		if err := os.WriteFile(name, b, 0o444); err != nil {
			t.Fatal(err)
		}
	}
}

func all(string) bool { return true }

// packsOf makes packs of a few commits each.
func packsOf(t *testing.T, s *Store, n int) *compactor {
	t.Helper()
	c := newCompactor(s.objects)
	c.loose, c.packs, c.age = 0, 1000, 0
	for i := range n {
		for k := range 3 {
			write(t, s, "/a.txt", fmt.Sprint(i, k))
		}
		if err := c.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// A process was killed when it had joined packs and not yet removed those: the next
// time they go.
func TestJoinKilled(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	dir := s.refs.dir
	c := packsOf(t, s, 4)
	c.packs = 3
	was := snapshotPacks(t, dir)
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	restore(t, was, all)
	for range 2 {
		if err := c.run(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, packs := counts(t, dir); packs > c.packs {
		t.Errorf("there are %d packs", packs)
	}
	program(t, dir, "fsck", "--strict", "--full")
}

// A process was killed when it had placed the index of a pack, and not the pack.
func TestPlaceKilled(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	dir := s.refs.dir
	c := packsOf(t, s, 4)
	c.packs = 3
	was := snapshotPacks(t, dir)
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name := range snapshotPacks(t, dir) {
		if was[name] == nil && strings.HasSuffix(name, ".pack") {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	restore(t, was, all)
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	if _, packs := counts(t, dir); packs > c.packs {
		t.Errorf("there are %d packs", packs)
	}
	program(t, dir, "fsck", "--strict", "--full")
}

// The git program puts a pack into place before its index, and removes it after that,
// and may be killed between.
func TestPackWithoutIndex(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	dir := s.refs.dir
	packsOf(t, s, 2)
	if err := os.WriteFile(filepath.Join(dir, "objects", "pack", "pack-"+strings.Repeat("1", 40)+".pack"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	reads(t, s, "/a.txt", "1 2")
	fresh := inside(t, Settings{Repository: dir})
	reads(t, fresh, "/a.txt", "1 2")
	c := newCompactor(s.objects)
	c.loose, c.packs, c.age = 0, 1, 0
	write(t, s, "/a.txt", "x")
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	reads(t, s, "/a.txt", "x")
}

// What is too large to be compared is not read.
func TestCompactLarge(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	c := newCompactor(s.objects)
	c.loose, c.age, c.batch = 0, 0, 1<<10
	write(t, s, "/a.txt", strings.Repeat("large", 1<<10))
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	if loose, packs := counts(t, s.refs.dir); loose != 1 || packs != 1 {
		t.Errorf("%d are loose, %d packs", loose, packs)
	}
}

// A power loss leaves empty objects, of programs that do not sync: they are told of,
// and all others are packed.
func TestCompactBroken(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	c := newCompactor(s.objects)
	c.loose, c.age = 0, 0
	write(t, s, "/a.txt", "1")
	dir := filepath.Join(s.refs.dir, "objects", "11")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, strings.Repeat("1", 38))
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t.Context()); err == nil || !strings.Contains(err.Error(), strings.Repeat("1", 40)) {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(broken); err != nil {
		t.Error(err)
	}
	if loose, packs := counts(t, s.refs.dir); loose != 1 || packs != 1 {
		t.Errorf("%d are loose, %d packs", loose, packs)
	}
	reads(t, s, "/a.txt", "1")
}

// Another program has made an index of all packs while they were joined: it names them.
// Or it had made it before.
func TestJoinLeavesIndexed(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	c := packsOf(t, s, 4)
	c.packs = 3
	c.alive = func() { program(t, s.refs.dir, "multi-pack-index", "write") }
	for range 2 {
		if err := c.run(t.Context()); err != nil {
			t.Error(err)
		}
	}
	program(t, s.refs.dir, "multi-pack-index", "verify")
	program(t, s.refs.dir, "fsck", "--strict", "--full")
	if _, packs := counts(t, s.refs.dir); packs != 5 {
		t.Errorf("there are %d packs", packs)
	}
}

// Objects that are in another repository are not served, and it is said why.
func TestAlternates(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	s := inside(t, Settings{Repository: filepath.Join(base, "a.git")})
	write(t, s, "/a.txt", "1")
	program(t, base, "clone", "-q", "--bare", "--shared", "a.git", "b.git")
	set := Settings{Repository: filepath.Join(base, "b.git")}
	if _, err := New(set, Options{}); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("the error is %v", err)
	}
	program(t, set.Repository, "repack", "-q", "-a", "-d")
	if err := os.Remove(filepath.Join(set.Repository, "objects", "info", "alternates")); err != nil {
		t.Fatal(err)
	}
	reads(t, inside(t, set), "/a.txt", "1")
}
