package call

import (
	"context"
	"iter"
)

// GetOf returns the content of a topic, decoded into a T as [Decode] says.
func GetOf[T any](ctx context.Context, w Watcher, address string, opts ...Option) (T, error) {
	var v T
	u, err := w.Get(ctx, address, opts...)
	if err != nil {
		return v, err
	}
	err = u.Decode(&v)
	return v, err
}

// TypedUpdate is an [Update] whose content is a T.
type TypedUpdate[T any] struct {
	Update

	// Value is the content, or the event; the zero T with a Fault or a Gap.
	Value T
}

// TypedWatch is a [Watch] of contents or events that are a T. The rules of Watch
// hold.
type TypedWatch[T any] struct{ watch *Watch }

// WatchOf watches address; contents and events are decoded as [Decode] says.
func WatchOf[T any](ctx context.Context, w Watcher, address string, opts ...WatchOption) *TypedWatch[T] {
	return &TypedWatch[T]{watch: w.Watch(ctx, address, opts...)}
}

// Updates returns the contents or events as they come, as [Watch.Updates] does.
// One that is no T ends the sequence with an error, and the watch.
func (w *TypedWatch[T]) Updates() iter.Seq2[TypedUpdate[T], error] {
	return func(yield func(TypedUpdate[T], error) bool) {
		for u, err := range w.watch.Updates() {
			var t TypedUpdate[T]
			if err == nil {
				t, err = typedUpdate[T](w.watch, u)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// Next waits for the next update, as [Watch.Next] does.
func (w *TypedWatch[T]) Next(ctx context.Context) (TypedUpdate[T], error) {
	u, err := w.watch.Next(ctx)
	if err != nil {
		return TypedUpdate[T]{}, err
	}
	return typedUpdate[T](w.watch, u)
}

func typedUpdate[T any](w *Watch, u Update) (TypedUpdate[T], error) {
	t := TypedUpdate[T]{Update: u}
	// A fault and a gap have no body, which decodes to nothing.
	err := Decode(u.Body, u.ContentType, &t.Value)
	if err != nil {
		_ = w.Close()
		t = TypedUpdate[T]{}
	}
	return t, err
}

// Ready waits until the watch is armed; see [Watch.Ready].
func (w *TypedWatch[T]) Ready(ctx context.Context) error { return w.watch.Ready(ctx) }

// Watch returns the watch without types.
func (w *TypedWatch[T]) Watch() *Watch { return w.watch }

// Close ends the watch; see [Watch.Close].
func (w *TypedWatch[T]) Close() error { return w.watch.Close() }
