//go:build linux

package proctest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/message"
)

// patience is more than anything here takes on a busy machine.
const patience = 60 * time.Second

// program is the ropewalk command, built by TestMain.
var program string

func TestMain(m *testing.M) {
	if os.Getenv("FAULTS_TEST") == "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "ropewalk-faults-")
	if err == nil {
		program = filepath.Join(dir, "ropewalk")
		err = build(program)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func build(to string) error {
	out, err := exec.CommandContext(context.Background(), "go", "build", "-o", to, "github.com/ropewalk/ropewalk/cmd/ropewalk").CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// needed skips a test that nobody asked for.
func needed(t *testing.T) {
	t.Helper()
	if program == "" {
		t.Skip("these tests take long and start many processes; run them with: make test-faults")
	}
	t.Parallel()
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// take waits for something on a channel.
func take[T any](t *testing.T, from <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
	return v
}

func wantCode(t *testing.T, err error, want message.Code) *message.Error {
	t.Helper()
	if message.CodeOf(err) != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	return message.AsError(err)
}

var quiet = slog.New(slog.DiscardHandler)
