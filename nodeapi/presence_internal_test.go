package nodeapi

import (
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/topic"
)

// What all who watch are told about all who watch is bounded for each of them.
func TestPresenceTrafficIsBounded(t *testing.T) {
	t.Parallel()
	for n := 1; n <= topic.MaxPresent; n++ {
		p := topic.Presence{Count: n, Watchers: make([]topic.Watcher, n)}
		if each := float64(n) / gathering(&p).Seconds(); each > gatherEach/gatherFor.Seconds() {
			t.Fatalf("%d watchers: each is told of %.0f a second", n, each)
		}
	}
	if got := gathering(&topic.Presence{Count: 10 * topic.MaxPresent}); got != 100*time.Millisecond {
		t.Errorf("a count waits %v", got)
	}
}
