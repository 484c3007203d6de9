package git

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/session"
)

// program runs the git program, which is an implementation that is not ours.
func program(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// counts returns how many loose objects and packs there are.
func counts(t *testing.T, dir string) (loose, packs int) {
	t.Helper()
	var rest string
	_, err := fmt.Sscanf(strings.Join(strings.Fields(program(t, dir, "count-objects", "-v")), " "),
		"count: %d size: %s in-pack: %s packs: %d", &loose, &rest, &rest, &packs)
	if err != nil {
		t.Fatal(err)
	}
	return loose, packs
}

func reads(t *testing.T, s *Store, path, want string) {
	t.Helper()
	res, err := s.Files(true).Open(t.Context(), &content.Request{Path: path, Session: session.Anonymous()})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := res.Get(t.Context()); err != nil || string(c.Body) != want {
		t.Errorf("%s is %.20q, %v, want %.20q", path, c.Body, err, want)
	}
}

// Whatever is committed again and again takes few files, all of it is there still,
// and another node that has read before goes on.
func TestCompact(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site.git")
	s, other := inside(t, Settings{Repository: dir}), inside(t, Settings{Repository: dir})
	c := newCompactor(s.objects)
	c.loose, c.packs, c.batch, c.age = 10, 3, 4096, 0
	large := strings.Repeat("a line of it\n", 200)
	for round := range 6 {
		for n := range 8 {
			write(t, s, "/d/a.txt", fmt.Sprint(large, round, n))
			write(t, s, "/d/b.txt", fmt.Sprint(n%2)) // the same objects again
		}
		if err := c.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(large, round, 7)
		reads(t, s, "/d/a.txt", want)
		reads(t, other, "/d/a.txt", want)
		if _, packs := counts(t, dir); packs > c.packs {
			t.Errorf("round %d: there are %d packs", round, packs)
		}
	}
	c.loose, c.age = 0, time.Minute
	write(t, s, "/c.txt", "1")
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if loose, _ := counts(t, dir); loose < 3 {
		t.Errorf("there are %d loose objects: young ones were packed", loose)
	}
	c.age = 0
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if loose, _ := counts(t, dir); loose != 0 {
		t.Errorf("there are %d loose objects", loose)
	}
	if got := strings.TrimSpace(program(t, dir, "rev-list", "--count", "main")); got != "97" {
		t.Errorf("there are %s commits", got)
	}
	program(t, dir, "fsck", "--strict", "--full")
	program(t, dir, "gc", "-q")
	reads(t, s, "/d/b.txt", "1")
	fresh := inside(t, Settings{Repository: dir})
	reads(t, fresh, "/d/b.txt", "1")
}

// Two nodes commit and pack at the same time, and do not wait until objects are old.
func TestCompactTogether(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site.git")
	nodes := []*Store{inside(t, Settings{Repository: dir}), inside(t, Settings{Repository: dir})}
	write(t, nodes[0], "/start.txt", "0")
	const rounds = 15
	var writers, packers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i, s := range nodes {
		writers.Go(func() {
			for n := range rounds {
				write(t, s, fmt.Sprintf("/d%d/a.txt", i), fmt.Sprint(n))
				reads(t, s, fmt.Sprintf("/d%d/a.txt", i), fmt.Sprint(n))
			}
		})
		packers.Go(func() {
			c := newCompactor(s.objects)
			c.loose, c.packs, c.batch, c.age = 5, 2, 1024, 0
			for ctx.Err() == nil {
				if err := s.compactOnce(ctx, c); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	stop()
	packers.Wait()
	if got := strings.TrimSpace(program(t, dir, "rev-list", "--count", "main")); got != fmt.Sprint(2*rounds+1) {
		t.Errorf("there are %s commits", got)
	}
	program(t, dir, "fsck", "--strict", "--full")
}

// A crash leaves temporary files, which go away in time; a pack that is broken, or
// that somebody wants to keep, stays as it is.
func TestCompactLeaves(t *testing.T) {
	t.Parallel()
	s := inside(t, Settings{})
	dir := s.refs.dir
	c := newCompactor(s.objects)
	c.loose, c.packs, c.age = 0, 1, 0
	packs := func() []string {
		list, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	write(t, s, "/a.txt", "1")
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept := packs()[0]
	old := time.Now().Add(-2 * forgotten)
	young := filepath.Join(dir, "objects", "pack", "tmp_pack_2")
	for name, at := range map[string]time.Time{
		strings.TrimSuffix(kept, ".pack") + ".keep": old, young: time.Now(),
		filepath.Join(dir, "objects", "pack", "tmp_pack_1"): old,
	} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		write(t, s, "/a.txt", fmt.Sprint("2", n))
		if err := c.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "tmp_*")); len(left) != 1 || left[0] != young {
		t.Errorf("there are %v", left)
	}
	if all := packs(); len(all) != 2 || all[0] != kept && all[1] != kept {
		t.Errorf("there are %v", all)
	}
	for _, pack := range packs() {
		if pack == kept {
			continue
		}
		b, err := os.ReadFile(pack)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.Chmod(pack, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pack, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(strings.TrimSuffix(kept, ".pack") + ".keep"); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t.Context()); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("the error is %v", err)
	}
	if all := packs(); len(all) != 2 {
		t.Errorf("there are %v", all)
	}
}
