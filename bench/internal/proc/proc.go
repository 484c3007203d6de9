//go:build linux

// Package proc reads what another process of this machine has used, exactly,
// and says where a process runs.
package proc

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuClockSched asks a process clock for the scheduler's own account, in
// nanoseconds (linux/posix-timers.h).
const cpuClockSched = 2

// CPU is the time that all threads of all these processes have run so far, user
// and kernel, those that have ended included. It is the sum that the schedstat
// files of the threads show, taken at one moment for each process and with the
// part of the time slice that is running.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		d, err := cpu(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func cpu(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &ts); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Schedstat is the same from /proc/PID/task/*/schedstat. It lacks threads that
// have ended and up to a tick of each that runs; it is here to check [CPU].
func Schedstat(pid int) (time.Duration, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("list threads: %w", err)
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(dir + "/" + task.Name() + "/schedstat")
		if os.IsNotExist(err) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return 0, fmt.Errorf("read schedstat: %w", err)
		}
		run, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(run, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse schedstat: %w", err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// RSS is the resident memory of all these processes in bytes.
func RSS(pids ...int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		n, err := rss(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func rss(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read status: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("parse VmRSS: %w", err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS: it has ended", pid)
}

// RaiseFiles lifts the limit on open descriptors as far as this process may,
// and returns it.
func RaiseFiles() (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("read file limit: %w", err)
	}
	for _, hard := range []uint64{1 << 17, lim.Max} { // beyond the hard limit only root may go
		next := unix.Rlimit{Cur: max(hard, lim.Cur), Max: max(hard, lim.Max)}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &next) == nil {
			return next.Cur, nil
		}
	}
	return lim.Cur, nil
}

// OnCore runs f on a thread that may only use the given core, so that a
// process started in f is bound to it from its first instruction and its Go
// runtime counts one processor. A core below 0 binds nothing.
func OnCore(core int, f func() error) error {
	if core < 0 {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		// Locked and never unlocked: the thread ends with the goroutine and
		// nobody else inherits the binding.
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(core)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			result <- fmt.Errorf("bind to core %d: %w", core, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// tick is the unit of /proc/stat.
const tick = 10 * time.Millisecond

// Busy is the time that all cores of the machine together have been at work
// since it started, to a hundredth of a second.
func Busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read stat: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum int64
	// cpu user nice system idle iowait irq softirq steal guest guestnice;
	// the last two are also in the first.
	for i, field := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}
