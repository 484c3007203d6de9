package call

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/ropewalk/ropewalk/message"
)

// Stream is a call in progress whose parts are read one by one.
//
// One goroutine at a time may use Parts and Answer; Close may be called by
// anybody. A Stream need not be read to its end, but it has to end: by its
// answer, by Close, or by the context it was started with.
//
// It holds a bounded number of parts for its reader ([WithBuffer],
// [MaxBufferBytes]). Nobody waits for a slow reader, because all calls of a
// connection come by the same way: when the parts have no room the server is
// told to stop, the parts held can still be read, and after them comes an
// error with CodeSlowConsumer.
type Stream struct {
	wake chan struct{} // holds one token when there is something new to read
	done chan struct{} // closed when the call has ended

	mu      sync.Mutex
	parts   []Part // those not read yet are parts[head:]
	head    int
	bytes   int
	limit   int
	discard bool // Answer was called: parts are not wanted any more
	ended   bool
	answer  *Answer
	err     error
	detach  func() bool          // from the context
	stop    func(*message.Error) // tells the producer
}

// Feed is the producing end of a [Stream], for those who implement a [Caller].
// Its methods do not block.
type Feed struct{ stream Stream }

// NewFeed makes a stream that holds up to buffer parts and ends with ctx.
// stop is called at most once, from any goroutine, when the stream ends before
// [Feed.Finish]: because it was closed, ctx ended, or its reader is slow. It
// must not block. nil will do.
func NewFeed(ctx context.Context, buffer int, stop func(*message.Error)) *Feed {
	f := &Feed{stream: Stream{
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		limit: max(buffer, 1),
		stop:  stop,
	}}
	s := &f.stream
	detach := context.AfterFunc(ctx, func() { s.abort(ended(ctx)) })
	s.mu.Lock()
	s.detach = detach
	over := s.ended
	s.mu.Unlock()
	if over {
		detach()
	}
	return f
}

// Failed returns a stream that ended with err before it began.
func Failed(err error) *Stream {
	f := NewFeed(context.Background(), 1, nil)
	f.Finish(nil, err)
	return f.Stream()
}

// ended is the error of a call whose context is over.
func ended(ctx context.Context) *message.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e := message.NewError(message.CodeDeadlineExceeded, "no answer before the deadline of the context",
			"Give it more time, or find out what the service is waiting for.")
		e.Cause = context.Cause(ctx)
		return e
	}
	e := message.NewError(message.CodeCanceled, "the caller canceled the call", "")
	e.Cause = context.Cause(ctx)
	return e
}

// Ended returns the error of a call that ends because ctx did: CodeCanceled or
// CodeDeadlineExceeded. ctx must be over.
func Ended(ctx context.Context) *message.Error { return ended(ctx) }

// Stream returns the reading end.
func (f *Feed) Stream() *Stream { return &f.stream }

// Push hands a part to the reader. It returns the error with which the stream
// ended, if it has; CodeSlowConsumer if it ends now because there is no room.
func (f *Feed) Push(p Part) error {
	s := &f.stream
	s.mu.Lock()
	if s.ended {
		defer s.mu.Unlock()
		return s.over()
	}
	if s.discard {
		s.mu.Unlock()
		return nil
	}
	held := len(s.parts) - s.head
	if held >= s.limit || held > 0 && s.bytes+len(p.Body) > MaxBufferBytes {
		s.mu.Unlock()
		err := message.NewError(message.CodeSlowConsumer, "the parts came faster than they were read",
			"Read the stream faster, or give it a larger buffer with WithBuffer.")
		s.abort(err)
		return err
	}
	if s.head > 0 && len(s.parts) == cap(s.parts) {
		n := copy(s.parts, s.parts[s.head:])
		clear(s.parts[n:])
		s.parts, s.head = s.parts[:n], 0
	}
	s.parts = append(s.parts, p)
	s.bytes += len(p.Body)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Finish ends the stream with an answer or an error. Only the first end
// counts; Finish reports whether it was this one.
func (f *Feed) Finish(a *Answer, err error) bool { return f.stream.finish(a, err) }

// over is the error that says that the stream has ended; s.mu is held.
func (s *Stream) over() error {
	if s.err != nil {
		return s.err
	}
	return message.NewError(message.CodeConflict, "the call has been answered", "")
}

func (s *Stream) finish(a *Answer, err error) bool {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	s.ended, s.answer = true, a
	if err != nil {
		s.err, s.answer = message.AsError(err), nil
	}
	detach := s.detach
	s.mu.Unlock()
	close(s.done)
	if detach != nil {
		detach()
	}
	return true
}

// abort ends the stream from the reading side.
func (s *Stream) abort(err *message.Error) {
	if s.finish(nil, err) && s.stop != nil {
		s.stop(err)
	}
}

// Parts returns the parts as they come. The sequence ends after the last part
// of a call that was answered; if the call fails it ends with one pair that
// has the error. A loop may be left and begun anew: no part is seen twice, and
// leaving it does not cancel the call (use Close).
func (s *Stream) Parts() iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		for {
			p, ok, err := s.next()
			switch {
			case err != nil:
				yield(Part{}, err)
				return
			case !ok || !yield(p, nil):
				return
			}
		}
	}
}

// next waits for a part or the end; ok is false at the end.
func (s *Stream) next() (p Part, ok bool, err error) {
	for {
		s.mu.Lock()
		if s.head < len(s.parts) {
			p = s.parts[s.head]
			s.parts[s.head] = Part{}
			s.head++
			s.bytes -= len(p.Body)
			if s.head == len(s.parts) {
				s.parts, s.head = s.parts[:0], 0
			}
			s.mu.Unlock()
			return p, true, nil
		}
		over, err := s.ended, s.err
		s.mu.Unlock()
		if over {
			return Part{}, false, err
		}
		select {
		case <-s.wake:
		case <-s.done:
		}
	}
}

// Answer waits for the end of the call and returns its reply. Parts that were
// not read before are dropped. It may be called again.
func (s *Stream) Answer() (*Answer, error) {
	s.mu.Lock()
	s.discard = true
	s.parts, s.head, s.bytes = nil, 0, 0
	s.mu.Unlock()
	<-s.done
	return s.answer, s.err
}

// Done is closed when the call has ended; parts may still wait to be read.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Close cancels the call if it has not ended, so that Parts and Answer return
// CodeCanceled. It may be called at any time and more than once; it does not
// wait for the server.
func (s *Stream) Close() error {
	s.abort(message.NewError(message.CodeCanceled, "the caller closed the stream", ""))
	return nil
}
