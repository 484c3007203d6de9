package lane_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/internal/lane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCloseWaitsForAll(t *testing.T) {
	t.Parallel()
	l := lane.New(t.Context(), nil)
	var ended atomic.Int32
	for range 10 {
		l.Go("worker", func(ctx context.Context) { <-ctx.Done(); ended.Add(1) })
		l.Do(func(ctx context.Context) { <-ctx.Done(); ended.Add(1) })
	}
	l.Close()
	if got := ended.Load(); got != 20 {
		t.Fatalf("%d goroutines had ended, want 20", got)
	}
	if l.Go("late", func(context.Context) {}) || l.Do(func(context.Context) {}) {
		t.Fatal("a closed lane started a goroutine")
	}
	l.Close()
}

func TestPanicIsLoggedAndContained(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := lane.New(t.Context(), slog.New(slog.NewTextHandler(&out, nil)))
	l.Go("fragile", func(context.Context) { panic("boom") })
	l.Close()
	for _, want := range []string{"boom", "lane=fragile", "lane_test.go"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log %q lacks %q", out.String(), want)
		}
	}
}

func TestWaitDoesNotCancel(t *testing.T) {
	t.Parallel()
	l := lane.New(t.Context(), nil)
	release := make(chan struct{})
	l.Do(func(ctx context.Context) {
		select {
		case <-release:
		case <-ctx.Done():
			t.Error("Wait canceled a goroutine")
		}
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("Wait with an ended context: %v", err)
	}
	close(release)
	if err := l.Wait(t.Context()); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	l.Close()
}
