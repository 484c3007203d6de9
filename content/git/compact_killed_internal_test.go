package git

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// victimDir names, in a process that is to be killed, the repository of that.
const victimDir = "ROPEWALK_TEST_VICTIM"

// A process that commits, packs and joins is killed at any moment. Nothing of what it
// has said to be committed is lost, and packing goes on.
func TestCompactKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(victimDir); dir != "" {
		victim(t, dir)
		return
	}
	dir := filepath.Join(t.TempDir(), "site.git")
	s := inside(t, Settings{Repository: dir})
	write(t, s, "/a.txt", "start")
	committed := 1
	for range 25 {
		committed += killVictim(t, dir)
		breakLocks(t, dir)
		program(t, dir, "fsck", "--strict", "--full")
		c := newCompactor(s.objects)
		c.loose, c.packs, c.age = 0, 2, 0
		if err := c.run(t.Context()); err != nil {
			t.Errorf("after the crash: %v", err)
		}
		program(t, dir, "fsck", "--strict", "--full")
		reads(t, s, "/a.txt", "start")
	}
	if got := strings.Count(program(t, dir, "log", "--format=%H", "main"), "\n"); got < committed {
		t.Errorf("there are %d commits, want at least %d", got, committed)
	}
}

// breakLocks removes the locks of a process that was killed: else it takes minutes
// until they are stale.
func breakLocks(t *testing.T, dir string) {
	t.Helper()
	for _, in := range []string{".", "refs/heads"} {
		locks, err := filepath.Glob(filepath.Join(dir, in, "*.lock"))
		if err != nil {
			t.Fatal(err)
		}
		for _, lock := range locks {
			if err := os.Remove(lock); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// killVictim runs a process and kills it, and returns how many commits it has made.
func killVictim(t *testing.T, dir string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCompactKilled$")
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	n := 0
	for lines.Scan() {
		if lines.Text() != "committed" {
			t.Error("before it was killed:", lines.Text())
			continue
		}
		if n++; n == 5 { // by now it packs
			time.AfterFunc(rand.N(50*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	return n
}

// victim commits and packs until it is killed.
func victim(t *testing.T, dir string) {
	t.Helper()
	s := inside(t, Settings{Repository: dir})
	s.lane.Go("pack", func(ctx context.Context) {
		c := newCompactor(s.objects)
		c.loose, c.packs, c.batch, c.age = 3, 2, 2048, 0
		for ctx.Err() == nil {
			if err := s.compactOnce(ctx, c); err != nil {
				fmt.Println("compact:", err)
			}
		}
	})
	for n := 0; ; n++ {
		write(t, s, fmt.Sprintf("/d%d/a.txt", n%3), fmt.Sprint(os.Getpid(), n))
		fmt.Println("committed")
	}
}
