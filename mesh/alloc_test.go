package mesh_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
)

// What is sent and received between nodes leaves no garbage: packets are used
// again when they were acknowledged. The one that is allowed leaves room for what a
// node does beside that.
func TestMessageAllocations(t *testing.T) { //nolint:paralleltest // counts allocations
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	for _, batch := range []int{1, 64} {
		once := newLine(t, batch)
		for range 1000 { // until there are as many packets as wait for acknowledgements
			once()
		}
		least := testing.AllocsPerRun(1000, once)
		for range 5 { // on a busy machine acknowledgements may be late
			least = min(least, testing.AllocsPerRun(1000, once))
		}
		if least > 1 {
			t.Errorf("%v allocations for %d messages, want at most 1", least, batch)
		}
	}
}
