package call

import (
	"context"
	"iter"
)

// Do calls address with in and decodes the reply into an Out, as [Decode]
// says. The root package offers it as ropewalk.Call.
func Do[Out any](ctx context.Context, c Caller, address string, in any, opts ...Option) (Out, error) {
	var out Out
	a, err := c.Call(ctx, address, in, opts...)
	if err != nil {
		return out, err
	}
	err = a.Decode(&out)
	return out, err
}

// StreamOf is a [Stream] whose parts are of type P and whose reply is an Out.
// The rules of Stream hold.
type StreamOf[P, Out any] struct{ stream *Stream }

// Streamed calls address with in; parts and reply are decoded as [Decode] says.
func Streamed[P, Out any](ctx context.Context, c Caller, address string, in any, opts ...Option) *StreamOf[P, Out] {
	return &StreamOf[P, Out]{stream: c.Stream(ctx, address, in, opts...)}
}

// Parts returns the parts as they come, as [Stream.Parts] does. A part that is
// no P ends the sequence with an error and cancels the call.
func (s *StreamOf[P, Out]) Parts() iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		for part, err := range s.stream.Parts() {
			var p P
			if err == nil {
				if err = part.Decode(&p); err != nil {
					_ = s.stream.Close()
				}
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Answer waits for the end of the call and returns its reply; parts that were
// not read are dropped.
func (s *StreamOf[P, Out]) Answer() (Out, error) {
	var out Out
	a, err := s.stream.Answer()
	if err != nil {
		return out, err
	}
	err = a.Decode(&out)
	return out, err
}

// Close cancels the call if it has not ended; see [Stream.Close].
func (s *StreamOf[P, Out]) Close() error { return s.stream.Close() }
