package script

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
)

// maxAtOnce is how many answers one run waits for at a time: each may be long, and
// is outside of the memory of the script until that takes it.
const maxAtOnce = 16

// budget bounds what one run has of the node's memory by what it asks the host.
type budget struct {
	places chan struct{}
	limit  int64
	used   atomic.Int64
}

func newBudget(limit int) *budget {
	return &budget{places: make(chan struct{}, maxAtOnce), limit: int64(limit)}
}

// spend counts bytes that are given or got.
func (b *budget) spend(n int) error {
	if b.used.Add(int64(n)) <= b.limit {
		return nil
	}
	return message.NewError(message.CodeLimitExceeded,
		fmt.Sprintf("what the script gives to the host and gets from it is more than %d bytes in all", b.limit),
		"Ask for less, or raise limits.memory of the scripts.")
}

// enter waits for a place, which leave gives back.
func (b *budget) enter(ctx context.Context) error {
	select {
	case b.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *budget) leave() { <-b.places }
