package gcpace

import (
	"context"
	"runtime/debug"
	"testing"
)

func TestPercent(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 400, 1 << 20: 800, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 1 << 30: 100,
	} {
		if got := percent(live); got != want {
			t.Errorf("%d bytes: %d, want %d", live, got, want)
		}
	}
}

func TestRunPutsThePaceBack(t *testing.T) { //nolint:paralleltest // changes the process
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(123)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Run(ctx)
	if got := debug.SetGCPercent(123); got != 123 {
		t.Errorf("the pace is %d after Run, want 123", got)
	}
	t.Setenv("GOGC", "50")
	Run(t.Context()) // returns at once
}
