package natsplane_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/mesh/natsplane"
)

// answerer answers whatever arrives, as a mesh answers the card of a node.
type answerer struct {
	*natsplane.Plane

	to    string
	heard atomic.Int32
}

func (a *answerer) Received([]byte) {
	a.heard.Add(1)
	_ = a.Send(a.to, []byte("answer"))
}

func (*answerer) Connected(bool) {}

// What arrives while a Plane is being opened can be answered.
func TestAnswersWhileItIsOpened(t *testing.T) {
	t.Parallel()
	cfg := natsplane.Config{NATS: []string{runServer(t, "").url()}, Secret: secret + t.Name()}
	loud := start(t, cfg)
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() {
		often := time.NewTicker(100 * time.Microsecond)
		defer often.Stop()
		for {
			select {
			case <-done:
				return
			case <-often.C:
				_ = loud.Publish([]byte("card"))
			}
		}
	})
	for range 8 {
		p, err := natsplane.New(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		a := &answerer{Plane: p, to: loud.id}
		opened := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		go func() { opened <- p.Open(ctx, loud.id+"x", a) }()
		select {
		case err := <-opened:
			if err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatal("it is not opened")
		}
		cancel()
		eventually(t, "a message", func() bool { return a.heard.Load() > 0 }, nil)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
