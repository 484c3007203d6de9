package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

type benchCallCmd struct {
	target
	Address string `arg:"" optional:"" default:"node:/info" help:"What to call; node:/info if left out, which each node has."`
	input
	InFlight    int           `default:"16" short:"c" placeholder:"N" help:"Calls at the same time. Default: ${default}."`
	Connections int           `default:"1" placeholder:"N" help:"Connections that they are spread over. Default: ${default}."`
	Duration    time.Duration `default:"5s" short:"d" placeholder:"TIME" help:"How long. Default: ${default}."`
	Count       int64         `short:"n" placeholder:"N" help:"End after this many calls, if that is before the time is over."`
}

// Help is printed below the flags.
func (*benchCallCmd) Help() string {
	return `Example:

  ropewalk bench call math:/decimal/mul '{"a":2,"b":5}' --in-flight 64 --duration 10s`
}

// Run calls again and again.
func (b *benchCallCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(b.Address); err != nil {
		return err
	}
	body, err := b.read(w)
	if err != nil {
		return err
	}
	if b.InFlight < 1 || b.Connections < 1 || b.Duration == 0 {
		return usage("--in-flight, --connections and --duration have to be more than 0", "Leave them out for the defaults.")
	}
	clients, err := dialAll(ctx, &b.link, b.Connections)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	var (
		s     = newSamples()
		left  atomic.Int64
		opts  = slices.Concat(b.target.options(), b.input.options())
		wg    sync.WaitGroup
		began = time.Now()
	)
	left.Store(b.Count)
	// No deadline: the calls would carry it, and run into it at the end.
	until, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(b.Duration, cancel).Stop()
	stop := s.progress(w, "calls")
	for i := range b.InFlight {
		c := clients[i%len(clients)]
		wg.Go(func() { b.loop(until, c, body, opts, s, &left) })
	}
	wg.Wait()
	took := time.Since(began)
	stop()
	if ctx.Err() != nil && s.good.Load() == 0 {
		return message.NewError(message.CodeCanceled, "interrupted before the first answer", "")
	}
	return s.print(w, "calls", took)
}

// loop calls until the time is over or no calls are left. The call during which
// the time ends does not count.
func (b *benchCallCmd) loop(ctx context.Context, c call.Caller, body any, opts []call.Option, s *samples, left *atomic.Int64) {
	for ctx.Err() == nil && (b.Count == 0 || left.Add(-1) >= 0) {
		began := time.Now()
		_, err := c.Call(ctx, b.Address, body, opts...)
		if err != nil && ctx.Err() != nil {
			return
		}
		s.add(time.Since(began), err)
		if code := message.CodeOf(err); code == message.CodeConnectionLost || code == message.CodeNotReady {
			return
		}
	}
}
