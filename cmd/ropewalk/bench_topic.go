package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

type benchTopicCmd struct {
	target
	Address  string        `arg:"" optional:"" help:"Publish events to this event topic and watch it; if left out, an event topic that is served by this program itself."`
	Watchers int           `default:"100" short:"c" placeholder:"N" help:"How many watch, each by a connection of its own. Default: ${default}."`
	Size     int           `default:"128" placeholder:"BYTES" help:"How large each event is. Default: ${default}."`
	Rate     float64       `placeholder:"N" help:"So many events a second. Default: as many as the watchers take."`
	Window   int           `default:"8" placeholder:"N" help:"Without --rate: how many events may be on their way to the slowest watcher. Default: ${default}."`
	Duration time.Duration `default:"5s" name:"for" short:"d" placeholder:"TIME" help:"How long. Default: ${default}."`
}

// Help is printed below the flags.
func (*benchTopicCmd) Help() string {
	return `Prints how many events were delivered, to all watchers together, and how long each took from the program that sends it to the
program that watches, which are both this one.

Examples:

  ropewalk bench topic --watchers 1000
  ropewalk bench topic log:/bench --rate 10 --for 30s`
}

// Run measures.
func (b *benchTopicCmd) Run(ctx context.Context, w *world) error {
	if b.Watchers < 1 || b.Window < 1 || b.Duration == 0 || b.Size > 1<<20 {
		return usage("--watchers, --window and --for have to be more than 0, and --size at most 1 MiB", "Leave them out for the defaults.")
	}
	if b.Address != "" {
		if err := checkAddress(b.Address); err != nil {
			return err
		}
	}
	conn, err := b.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	f := &fanOut{b: b, s: newSamples(), ctx: ctx, moved: make(chan struct{}, 1), seen: make([]atomic.Uint64, b.Watchers)}
	if err := f.source(conn); err != nil {
		return err
	}
	clients, err := dialAll(ctx, &b.link, b.Watchers)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	took, err := f.run(w, clients)
	if err != nil {
		return err
	}
	return f.print(w, took)
}

// fanOut is one measurement: events go out, and come to all watchers.
type fanOut struct {
	b       *benchTopicCmd
	s       *samples
	ctx     context.Context //nolint:containedctx // the measurement is the call
	address string
	send    func(event []byte) error
	sent    uint64
	seen    []atomic.Uint64 // by watcher: the last event that it has, or that it has missed
	missed  atomic.Uint64
	moved   chan struct{} // holds a token when a watcher has got on
}

// source says how events are sent: to a topic of others, or one of our own.
func (f *fanOut) source(c *client.Client) error {
	if f.b.Address != "" {
		f.address = f.b.Address
		f.send = func(event []byte) error {
			_, err := c.Publish(f.ctx, f.address, route.JSON(event), f.b.options()...)
			return err
		}
		return nil
	}
	begun := make(chan func(route.Body) error, 1)
	s := service.New("bench-" + message.NewMid())
	s.Handle("/events", service.Events(func(ctx context.Context, _ struct{}, emit func(route.Body) error) error {
		select {
		case begun <- emit:
		default: // it runs again
		}
		<-ctx.Done()
		return ctx.Err()
	}))
	f.address = s.Name() + ":/events"
	var emit func(route.Body) error
	f.send = func(event []byte) error {
		if emit == nil {
			select {
			case emit = <-begun:
			case <-f.ctx.Done():
				return call.Ended(f.ctx)
			}
		}
		return emit(route.JSON(event))
	}
	if err := c.Serve(f.ctx, s); err != nil {
		e := *message.AsError(err)
		e.Hint = "Name an event topic of the node to publish to, if you may not serve one."
		return &e
	}
	return nil
}

// run has all watch, sends events for the time, and waits until they have come.
func (f *fanOut) run(w *world, clients []*client.Client) (time.Duration, error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	failed := make(chan error, len(clients))
	watches := make([]*call.Watch, len(clients))
	for i, c := range clients {
		watches[i] = c.Watch(ctx, f.address, call.WithBuffer(partBuffer))
	}
	for i, watch := range watches {
		if err := watch.Ready(ctx); err != nil {
			return 0, err
		}
		if !watch.Events() {
			return 0, usage(printable(f.address)+" is a state topic: the events would overwrite its content", "Name an event topic, or none.")
		}
		wg.Go(func() {
			if err := f.watch(watch, &f.seen[i]); err != nil && ctx.Err() == nil {
				failed <- err
			}
		})
	}
	stop := f.s.progress(w, "deliveries")
	defer stop()
	began := time.Now()
	err := f.publish(began, failed)
	if err == nil {
		err = f.settle(failed, f.sent)
	}
	return time.Since(began), err
}

// publish sends events until the time is over.
func (f *fanOut) publish(began time.Time, failed <-chan error) error {
	var event []byte
	for {
		due := time.Duration(0)
		if f.b.Rate > 0 {
			due = time.Duration(float64(f.sent) / f.b.Rate * float64(time.Second))
		}
		if time.Since(began) >= f.b.Duration || due >= f.b.Duration {
			return nil
		}
		wait := time.NewTimer(due - time.Since(began))
		select {
		case <-wait.C:
		case <-f.ctx.Done():
			wait.Stop()
			return nil
		}
		if f.b.Rate == 0 && f.sent >= uint64(f.b.Window) { //nolint:gosec // checked
			if err := f.settle(failed, f.sent-uint64(f.b.Window)+1); err != nil { //nolint:gosec // checked
				return err
			}
		}
		f.sent++
		event = appendEvent(event[:0], f.sent, f.b.Size)
		if err := f.send(event); err != nil {
			return err
		}
	}
}

// stall is after what time without any delivery the measurement is given up.
const stall = 10 * time.Second

// settle waits until all watchers have an event.
func (f *fanOut) settle(failed <-chan error, event uint64) error {
	for i := range f.seen {
		for f.seen[i].Load() < event {
			limit := time.NewTimer(stall)
			select {
			case <-f.moved:
			case err := <-failed:
				return err
			case <-f.ctx.Done():
				limit.Stop()
				return nil
			case <-limit.C:
				return message.NewError(message.CodeDeadlineExceeded, fmt.Sprintf("a watcher got nothing for %s", stall),
					"Look at the node's log; with --rate the slowest watcher is not waited for.")
			}
			limit.Stop()
		}
	}
	return nil
}

// watch takes what comes to a watcher.
func (f *fanOut) watch(w *call.Watch, seen *atomic.Uint64) error {
	for u, err := range w.Updates() {
		switch {
		case err != nil:
			return err
		case u.Fault != nil:
			return u.Fault
		}
		n, at, ok := readEvent(u.Body)
		if !ok {
			continue // a gap: the next event says how many are missing; or somebody else's
		}
		if last := seen.Load(); n > last+1 {
			f.missed.Add(n - last - 1)
		}
		seen.Store(n)
		f.s.add(time.Since(at), nil)
		select {
		case f.moved <- struct{}{}:
		default:
		}
	}
	return nil
}

// eventHead begins an event; the times are those of this program.
const eventHead = `{"bench":`

// appendEvent writes an event: its number, the time, and what fills it up.
func appendEvent(dst []byte, n uint64, size int) []byte {
	dst = strconv.AppendUint(append(dst, eventHead...), n, 10)
	dst = strconv.AppendInt(append(dst, `,"at":`...), time.Now().UnixNano(), 10)
	dst = append(dst, `,"fill":"`...)
	for len(dst) < size-2 {
		dst = append(dst, 'x')
	}
	return append(dst, `"}`...)
}

// readEvent reads what appendEvent wrote.
func readEvent(b []byte) (n uint64, at time.Time, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(eventHead))
	if !ok {
		return 0, at, false
	}
	number, rest, _ := bytes.Cut(rest, []byte(`,"at":`))
	nanos, _, _ := bytes.Cut(rest, []byte(","))
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0, at, false
	}
	ns, err := strconv.ParseInt(string(nanos), 10, 64)
	return n, time.Unix(0, ns), err == nil
}

// print writes the result.
func (f *fanOut) print(w *world, took time.Duration) error {
	if w.json {
		return unwritable(w.line(struct {
			result

			Watchers int    `json:"watchers"`
			Events   uint64 `json:"events"`
			Missed   uint64 `json:"missed"`
		}{f.s.result("deliveries", took), f.b.Watchers, f.sent, f.missed.Load()}))
	}
	err := w.printf(`%-12s %d, each by a connection of its own, of %s
%-12s %d of %d bytes, %.0f a second
`, "watchers", f.b.Watchers, printable(f.address), "events", f.sent, f.b.Size, float64(f.sent)/max(took.Seconds(), 1e-9))
	if n := f.missed.Load(); n > 0 && err == nil {
		err = w.printf("%-12s %d: they came faster than they were taken\n", "missed", n)
	}
	if err != nil {
		return unwritable(err)
	}
	return f.s.print(w, "deliveries", took)
}
