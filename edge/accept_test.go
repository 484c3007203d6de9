//go:build linux

package edge_test

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/edge"
)

const childEnv = "EDGE_TEST_FEW_DESCRIPTORS"

// When the process has no descriptors left, accepting pauses without burning
// CPU, and goes on when there are some again. It runs in a process of its own.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"poller", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFewDescriptors$", "-test.v")
			cmd.Env = append(os.Environ(), childEnv+"="+driver)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

//nolint:paralleltest // it has the process for itself
func TestFewDescriptors(t *testing.T) {
	driver, ok := edge.ParseDriver(os.Getenv(childEnv))
	if !ok || driver == edge.DriverAuto {
		t.Skip("TestOutOfDescriptors runs this")
	}
	n := start(t, edge.Config{Listeners: []edge.ListenerConfig{{Driver: driver}}}, newRecorder())
	n.ws(t) // everything that takes descriptors once has been used
	most := uint64(descriptors(t) + 21)
	limit := syscall.Rlimit{Cur: most, Max: most}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var clients []net.Conn
	for len(clients) < 40 { // each takes one here, and one of the server
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
	}
	if len(clients) < 8 || len(clients) == 40 {
		t.Fatalf("%d clients could connect", len(clients))
	}
	before := cpu(t)
	<-time.After(300 * time.Millisecond)
	if used := cpu(t) - before; used > 100*time.Millisecond {
		t.Errorf("the pause takes %v CPU in 300 ms", used)
	}
	half := len(clients) / 2
	for _, c := range clients[:half] {
		_ = c.Close()
	}
	for _, c := range clients[half:] {
		r := &raw{Conn: c}
		_ = c.SetDeadline(time.Now().Add(patience))
		r.write(t, []byte(hello()))
	}
	for range clients[half:] {
		n.rec.waitOpen(t)
	}
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
