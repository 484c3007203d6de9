package mesh_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
)

// counter counts what a backplane is given.
type counter struct {
	mesh.Backplane
	sent, published atomic.Int64
	mute            atomic.Bool // what is sent is lost
}

func (c *counter) Send(node string, data []byte) error {
	if c.sent.Add(1); c.mute.Load() {
		return nil
	}
	return c.Backplane.Send(node, data)
}

func (c *counter) Publish(data []byte) error {
	if c.published.Add(1); c.mute.Load() {
		return nil
	}
	return c.Backplane.Publish(data)
}

// picky dials only nodes with a smaller id.
type picky struct {
	mesh.Lines
	id string
}

func (p picky) Dial(ctx context.Context, c *mesh.Card) error {
	if c.ID > p.id {
		return errors.New("not from here")
	}
	return p.Lines.Dial(ctx, c)
}

// board is a discovery that spreads cards without the backplane.
type board struct {
	mu   sync.Mutex
	dirs []mesh.Directory
}

func (*board) Name() string           { return "board" }
func (*board) Trusts(*mesh.Card) bool { return true }

func (b *board) Run(ctx context.Context, d mesh.Directory) {
	b.mu.Lock()
	b.dirs = append(b.dirs, d)
	b.mu.Unlock()
	ticker := time.NewTicker(d.Interval())
	defer ticker.Stop()
	for ctx.Err() == nil {
		b.mu.Lock()
		all := slices.Clone(b.dirs)
		b.mu.Unlock()
		for _, other := range all {
			_ = other.Seen(d.Card())
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
