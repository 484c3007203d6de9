package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// snapshot returns the files of packs.
func snapshot(t *testing.T, dir string) map[string][]byte {
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

// packNames returns the packs.
func packNames(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// restore writes files anew that are gone, if the crash has left them, sorted.
func restore(t *testing.T, files map[string][]byte, left func(n int, file string) bool) {
	t.Helper()
	for n, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := os.Stat(name); err == nil || !left(n, name) {
			continue
		}
		if err := os.WriteFile(name, files[name], 0o444); err != nil {
			t.Fatal(err)
		}
	}
}

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

// joined has four packs joined, and returns the files that there were before.
func joined(t *testing.T) (c *compactor, dir string, was map[string][]byte) {
	t.Helper()
	s := inside(t, Settings{})
	dir = s.refs.dir
	c = packsOf(t, s, 4)
	c.packs = 3
	was = snapshot(t, dir)
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, dir, was
}

// A process was killed when it had joined packs, and removed nothing of those, or some
// of it: the next time all goes.
func TestJoinKilled(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]func(n int, file string) bool{
		"all":             func(int, string) bool { return true },
		"every other one": func(n int, _ string) bool { return n/2%2 == 0 },
		"an index":        func(n int, file string) bool { return n > 1 || strings.HasSuffix(file, ".idx") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, dir, was := joined(t)
			restore(t, was, left)
			program(t, dir, "fsck", "--strict", "--full")
			for range 2 {
				if err := c.run(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if got := packNames(t, dir); len(got) > c.packs {
				t.Errorf("there are %v", got)
			}
			program(t, dir, "fsck", "--strict", "--full")
			reads(t, inside(t, Settings{Repository: dir}), "/a.txt", "3 2")
		})
	}
}

// A process was killed when it had placed the index of a pack, and not the pack.
func TestPlaceKilled(t *testing.T) {
	t.Parallel()
	c, dir, was := joined(t)
	for _, name := range packNames(t, dir) {
		if was[name] == nil {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	restore(t, was, func(int, string) bool { return true })
	program(t, dir, "fsck", "--strict", "--full")
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	if _, packs := counts(t, dir); packs > c.packs {
		t.Errorf("there are %d packs", packs)
	}
	program(t, dir, "fsck", "--strict", "--full")
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
	c := packsOf(t, s, 2)
	c.packs = 1
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

// A pack may have nothing in it. With another it would become that one itself.
func TestJoinEmpty(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	c := packsOf(t, s, 1)
	cmd := exec.CommandContext(t.Context(), "git", "pack-objects", filepath.Join(c.dir, "pack", "pack"))
	cmd.Dir = s.refs.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := packNames(t, s.refs.dir); len(got) != 2 {
		t.Fatalf("there are %v", got)
	}
	c.packs = 1
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	if got := packNames(t, s.refs.dir); len(got) != 1 {
		t.Errorf("there are %v", got)
	}
	program(t, s.refs.dir, "fsck", "--strict", "--full")
	reads(t, inside(t, Settings{Repository: s.refs.dir}), "/a.txt", "0 2")
}

// Another program has made an index of all packs while they were joined: it names them.
// Or it had made it before.
func TestJoinLeavesIndexed(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	c := packsOf(t, s, 4)
	c.packs = 3
	c.alive = func() {
		if temp, err := filepath.Glob(filepath.Join(c.dir, "pack", "tmp_pack_*")); err == nil && len(temp) > 0 {
			program(t, s.refs.dir, "multi-pack-index", "write")
		}
	}
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

// An exchange with the remote does not wait for packing, and nothing is removed while
// it is under way.
func TestCompactTakesTurns(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	c := packsOf(t, s, 3)
	c.packs = 2
	write(t, s, "/a.txt", "1")
	// What there is when it waits: first for loose objects, then for packs.
	type have struct{ loose, packs int }
	now := func() have {
		loose, err := filepath.Glob(filepath.Join(c.dir, "??", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return have{len(loose), len(packNames(t, s.refs.dir))}
	}
	var got []have
	c.turn = func(context.Context) (func(), error) {
		got = append(got, now())
		return func() {}, nil
	}
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got = append(got, now()); !slices.Equal(got, []have{{3, 4}, {0, 5}, {0, 1}}) {
		t.Errorf("there were %v", got)
	}
	write(t, s, "/a.txt", "2")
	// With a remote it waits for that.
	s = inside(t, Settings{Repository: s.refs.dir, Remote: Remote{URL: filepath.Join(t.TempDir(), "none")}})
	give, err := s.remote.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer give()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.compactOnce(ctx, c) }()
	for len(packNames(t, s.refs.dir)) == 1 && ctx.Err() == nil {
		program(t, s.refs.dir, "show-ref") // it takes a while
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if n := now().loose; n != 3 {
		t.Errorf("there are %d loose objects", n)
	}
}
