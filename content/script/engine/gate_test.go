package engine_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/content/script/engine"
)

// mute is a host that answers when it is told to.
type mute struct {
	asked   chan struct{}
	release chan struct{}
}

func (m *mute) Invoke(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
	m.asked <- struct{}{}
	select {
	case <-m.release:
		return json.RawMessage("1"), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (*mute) Log(string, string) {}

// TestWaitingJobsHoldNoPlace has five times as many jobs wait for the host as may
// compute: others are run meanwhile, and all go on when it answers.
func TestWaitingJobsHoldNoPlace(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, e engine.Engine) {
		const waiting = 10
		m := &mute{asked: make(chan struct{}, waiting), release: make(chan struct{})}
		var all sync.WaitGroup
		for range waiting {
			all.Go(func() {
				if got, err := e.Run(t.Context(), topic(`return (await call("math:/add", 1)) + 1`), m); err != nil || string(got) != "2" {
					t.Errorf("one that waited: %s, %v", got, err)
				}
			})
		}
		for range waiting {
			<-m.asked
		}
		for range 20 {
			if got, err := e.Run(t.Context(), topic(`return 7`), &host{}); err != nil || string(got) != "7" {
				t.Fatalf("%s, %v", got, err)
			}
		}
		close(m.release)
		all.Wait()
	})
}
