package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

type benchConnectCmd struct {
	link
	Count       int           `default:"1000" short:"n" placeholder:"N" help:"How many connections. Default: ${default}."`
	Concurrency int           `default:"16" short:"c" placeholder:"N" help:"How many are made at the same time. Default: ${default}."`
	Hold        time.Duration `placeholder:"TIME" help:"Keep them open so long before they are closed."`
}

// Run connects.
func (b *benchConnectCmd) Run(ctx context.Context, w *world) error {
	if b.Count < 1 || b.Concurrency < 1 {
		return usage("--count and --concurrency have to be more than 0", "Leave them out for the defaults.")
	}
	var (
		s       = newSamples()
		clients = make([]*client.Client, b.Count)
		next    atomic.Int64
		wg      sync.WaitGroup
		began   = time.Now()
	)
	stop := s.progress(w, "connections")
	for range min(b.Concurrency, b.Count) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.Count) && ctx.Err() == nil; i = next.Add(1) - 1 {
				start := time.Now()
				c, err := b.dial(ctx)
				if ctx.Err() == nil {
					s.add(time.Since(start), err)
				}
				clients[i] = c
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	stop()
	if b.Hold > 0 {
		hold := time.NewTimer(b.Hold)
		select {
		case <-hold.C:
		case <-ctx.Done():
			hold.Stop()
		}
	}
	closeAll(clients)
	if ctx.Err() != nil && s.good.Load() == 0 {
		return message.NewError(message.CodeCanceled, "interrupted before the first connection", "")
	}
	return s.print(w, "connections", took)
}
