//go:build linux

package proc_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

// TestCPU burns time and expects both accounts to show it alike.
func TestCPU(t *testing.T) { //nolint:paralleltest // measures this process
	clock, stat := read(t, cpu), read(t, proc.Schedstat)
	for read(t, cpu)-clock < 200*time.Millisecond { // burns
		_, _ = proc.RSS(os.Getpid())
	}
	clock, stat = read(t, cpu)-clock, read(t, proc.Schedstat)-stat
	// A running thread's schedstat is up to a tick old.
	if diff := clock - stat; diff.Abs() > 50*time.Millisecond {
		t.Errorf("clock says %v, schedstat %v", clock, stat)
	}
}

func cpu(pid int) (time.Duration, error) { return proc.CPU(pid) }

func read(t *testing.T, of func(int) (time.Duration, error)) time.Duration {
	t.Helper()
	d, err := of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRSS(t *testing.T) {
	t.Parallel()
	before, err := proc.RSS(os.Getpid())
	if err != nil || before < 1<<20 {
		t.Fatalf("RSS = %d, %v", before, err)
	}
	if _, err := proc.RSS(1 << 30); err == nil {
		t.Error("a process that does not exist has memory")
	}
	if _, err := proc.CPU(1 << 22); err == nil {
		t.Error("a process that does not exist has used time")
	}
}

func TestOnCore(t *testing.T) {
	t.Parallel()
	for _, core := range []int{0, -1} {
		var set unix.CPUSet
		err := proc.OnCore(core, func() error { return unix.SchedGetaffinity(0, &set) })
		if err != nil {
			t.Fatal(err)
		}
		if core >= 0 && (set.Count() != 1 || !set.IsSet(core)) {
			t.Errorf("on core %d: may use %d cores", core, set.Count())
		}
	}
	if proc.OnCore(1000, func() error { return nil }) == nil {
		t.Error("bound to a core that does not exist")
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	d, err := proc.Busy()
	if err != nil || d <= 0 {
		t.Errorf("Busy = %v, %v", d, err)
	}
	if n, err := proc.RaiseFiles(); err != nil || n < 256 {
		t.Errorf("RaiseFiles = %d, %v", n, err)
	}
}
