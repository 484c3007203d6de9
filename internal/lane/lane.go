// Package lane gives every goroutine an owner. A Lane starts goroutines under a
// name, survives their panics, and waits for all of them.
package lane

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"sync"
)

// Lane owns goroutines. Make one with [New]; the owner calls [Lane.Close]
// once. All methods may be called from any goroutine.
type Lane struct {
	ctx    context.Context //nolint:containedctx // the Lane is the life of its goroutines
	cancel context.CancelFunc
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// New returns a Lane whose goroutines get a context that ends with parent or
// with [Lane.Close]. A nil logger means [slog.Default].
func New(parent context.Context, log *slog.Logger) *Lane {
	if log == nil {
		log = slog.Default()
	}
	ctx, cancel := context.WithCancel(parent)
	return &Lane{ctx: ctx, cancel: cancel, log: log}
}

// Context ends when the Lane is closed.
func (l *Lane) Context() context.Context { return l.ctx }

// Go runs f in a goroutine that profiles show under name. A panic in f is
// logged with its stack and ends only that goroutine. Go reports false, and
// does not run f, after Close or Cancel.
func (l *Lane) Go(name string, f func(ctx context.Context)) bool {
	if !l.enter() {
		return false
	}
	go func() {
		defer l.wg.Done()
		defer l.recover(name)
		pprof.Do(l.ctx, pprof.Labels("lane", name), f)
	}()
	return true
}

// Do runs f in a goroutine without name or labels: the cheap form of
// [Lane.Go], for goroutines that are started once a message.
func (l *Lane) Do(f func(ctx context.Context)) bool {
	if !l.enter() {
		return false
	}
	go func() {
		defer l.wg.Done()
		defer l.recover("message")
		f(l.ctx)
	}()
	return true
}

// enter counts a goroutine in, unless the Lane is closed.
func (l *Lane) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	return true
}

func (l *Lane) recover(name string) {
	if p := recover(); p != nil {
		l.log.Error("goroutine panicked", "lane", name, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// Cancel ends the context and refuses new goroutines, without waiting.
func (l *Lane) Cancel() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
}

// Close cancels and waits until every goroutine has ended. It may be called
// more than once, but not from one of the Lane's own goroutines.
func (l *Lane) Close() {
	l.Cancel()
	l.wg.Wait()
}

// Wait waits until every goroutine that was started has ended or ctx has,
// without canceling them; it refuses new ones from now on. It returns ctx's
// error if that came first.
func (l *Lane) Wait(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
