package call

import (
	"context"
	"iter"
	"sync"

	"github.com/ropewalk/ropewalk/message"
)

// Watch is a topic that is being watched.
//
// One goroutine at a time may use Updates and Next; the other methods may be
// called by anybody. A Watch has to end: by Close, or by the context it was
// started with; else it ends when the server says so, for instance with
// CodeRevoked.
//
// Nobody waits for a slow reader. Of a state topic only the newest content waits
// for it. Of an event topic a bounded number of events does ([WithBuffer],
// [MaxBufferBytes]); when they have no room the oldest are dropped, and an
// update with Gap stands in their place.
type Watch struct {
	address string
	wake    chan struct{} // holds one token when there is something new to read
	ready   chan struct{} // closed when it is armed, or over
	done    chan struct{} // closed when it is over

	mu     sync.Mutex
	list   []Update // those not read yet are list[head:]
	head   int
	bytes  int
	limit  int
	lost   *Update // events before list[head] were dropped; this is the last of them
	armed  bool
	events bool
	ended  bool
	err    error
	detach func() bool          // from the context
	stop   func(*message.Error) // tells the producer
}

// WatchFeed is the producing end of a [Watch], for those who implement a
// [Watcher]. Its methods do not block.
type WatchFeed struct{ watch Watch }

// NewWatchFeed makes a watch of an address that ends with ctx. stop is called at
// most once, from any goroutine, when the watch ends before [WatchFeed.Finish]:
// because it was closed, or ctx ended. It must not block. nil will do.
func NewWatchFeed(ctx context.Context, address string, s *WatchSettings, stop func(*message.Error)) *WatchFeed {
	f := &WatchFeed{watch: Watch{
		address: address,
		wake:    make(chan struct{}, 1),
		ready:   make(chan struct{}),
		done:    make(chan struct{}),
		limit:   max(s.Buffer, 1),
		stop:    stop,
	}}
	w := &f.watch
	detach := context.AfterFunc(ctx, func() { w.abort(watchEnded(ctx)) })
	w.mu.Lock()
	w.detach = detach
	over := w.ended
	w.mu.Unlock()
	if over {
		detach()
	}
	return f
}

// FailedWatch returns a watch that ended with err before it began.
func FailedWatch(address string, err error) *Watch {
	f := NewWatchFeed(context.Background(), address, &WatchSettings{}, nil)
	f.Finish(err)
	return f.Watch()
}

// watchEnded is the error of a watch whose context is over.
func watchEnded(ctx context.Context) *message.Error {
	e := ended(ctx)
	if e.Code == message.CodeCanceled {
		e.Message = "the watch was canceled"
	} else {
		e.Message, e.Hint = "the time of the watch is over", ""
	}
	return e
}

// Watch returns the reading end.
func (f *WatchFeed) Watch() *Watch { return &f.watch }

// Arm says that every change from now on will be pushed, and whether these are
// events, which all count, or contents, of which only the newest does. It comes
// before the first Push.
func (f *WatchFeed) Arm(events bool) {
	w := &f.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.events = events
	if !w.armed {
		w.armed = true
		close(w.ready)
	}
}

// Push hands an update to the reader, after what waits for it, or in its place.
// It reports false if the watch is over.
func (f *WatchFeed) Push(u Update) bool {
	w := &f.watch
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return false
	}
	if u.Address == "" {
		u.Address = w.address
	}
	if !w.events {
		w.clear()
	}
	for w.events && w.held() > 0 && (w.held() >= w.limit || w.bytes+len(u.Body) > MaxBufferBytes) {
		gone := w.pop()
		w.lost = &Update{Epoch: gone.Epoch, Offset: gone.Offset, Address: w.address, Gap: true}
	}
	w.push(u)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// held is how many updates wait; w.mu is held, as for all that follow.
func (w *Watch) held() int { return len(w.list) - w.head }

func (w *Watch) clear() {
	clear(w.list)
	w.list, w.head, w.bytes, w.lost = w.list[:0], 0, 0, nil
}

func (w *Watch) push(u Update) {
	if w.head > 0 && len(w.list) == cap(w.list) {
		n := copy(w.list, w.list[w.head:])
		clear(w.list[n:])
		w.list, w.head = w.list[:n], 0
	}
	w.list = append(w.list, u)
	w.bytes += len(u.Body)
}

func (w *Watch) pop() Update {
	u := w.list[w.head]
	w.list[w.head] = Update{}
	w.head++
	w.bytes -= len(u.Body)
	if w.head == len(w.list) {
		w.list, w.head = w.list[:0], 0
	}
	return u
}

// Finish ends the watch with an error, or, with nil, because there will be
// nothing more. What waits can still be read. Only the first end counts; Finish
// reports whether it was this one.
func (f *WatchFeed) Finish(err error) bool { return f.watch.finish(err) }

func (w *Watch) finish(err error) bool {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return false
	}
	w.ended = true
	if err != nil {
		w.err = message.AsError(err)
	}
	if !w.armed {
		close(w.ready)
	}
	detach := w.detach
	w.mu.Unlock()
	close(w.done)
	if detach != nil {
		detach()
	}
	return true
}

// abort ends the watch from the reading side.
func (w *Watch) abort(err *message.Error) {
	if w.finish(err) && w.stop != nil {
		w.stop(err)
	}
}

// Address is what is watched.
func (w *Watch) Address() string { return w.address }

// Ready waits until the watch is armed: every change after that will be seen. It
// returns why the watch is over, if it is, or CodeCanceled or
// CodeDeadlineExceeded if ctx ends first, which does not end the watch.
func (w *Watch) Ready(ctx context.Context) error {
	select {
	case <-w.ready:
	case <-ctx.Done():
		return ended(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		return nil
	}
	return w.over()
}

// Events reports whether the topic has events, all of which count, in place of a
// content. It is known when the watch is ready.
func (w *Watch) Events() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events
}

// Updates returns the contents or events as they come. The sequence ends when
// the watch does, with one pair that has the error if there is one: CodeCanceled
// after [Watch.Close]. A loop may be left and begun anew: no update is seen
// twice, and leaving it does not end the watch.
func (w *Watch) Updates() iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		for {
			u, ok, err := w.next(context.Background())
			switch {
			case err != nil:
				yield(Update{}, err)
				return
			case !ok || !yield(u, nil):
				return
			}
		}
	}
}

// Next waits for the next update. It returns why the watch is over, if it is and
// nothing is left to read, or CodeCanceled or CodeDeadlineExceeded if ctx ends
// first, which does not end the watch.
func (w *Watch) Next(ctx context.Context) (Update, error) {
	u, ok, err := w.next(ctx)
	if err == nil && !ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		err = w.over()
	}
	return u, err
}

// next waits for an update or the end; ok is false at the end.
func (w *Watch) next(ctx context.Context) (u Update, ok bool, err error) {
	for {
		w.mu.Lock()
		if u, ok = w.take(); ok {
			w.mu.Unlock()
			return u, true, nil
		}
		over, err := w.ended, w.err
		w.mu.Unlock()
		if over {
			return Update{}, false, err
		}
		select {
		case <-w.wake:
		case <-w.done:
		case <-ctx.Done():
			return Update{}, false, ended(ctx)
		}
	}
}

func (w *Watch) take() (Update, bool) {
	switch {
	case w.lost != nil:
		u := *w.lost
		w.lost = nil
		return u, true
	case w.held() > 0:
		return w.pop(), true
	}
	return Update{}, false
}

// over is the error that says that the watch has ended.
func (w *Watch) over() error {
	if w.err != nil {
		return w.err
	}
	return message.NewError(message.CodeCanceled, "the watch is over", "")
}

// Done is closed when the watch is over; updates may still wait to be read.
func (w *Watch) Done() <-chan struct{} { return w.done }

// Err returns why the watch is over; nil while it is not, or if there will be
// nothing more.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close ends the watch. It may be called at any time and more than once; it does
// not wait for the server.
func (w *Watch) Close() error {
	w.abort(message.NewError(message.CodeCanceled, "the watch was closed", ""))
	return nil
}
