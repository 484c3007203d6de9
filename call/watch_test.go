package call_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

func event(i int) call.Update {
	return call.Update{Body: fmt.Append(nil, i), Epoch: "e", Offset: uint64(i)} //nolint:gosec // small
}

func newWatch(t *testing.T, events bool, opts ...call.WatchOption) *call.WatchFeed {
	t.Helper()
	s := call.CollectWatch(opts)
	f := call.NewWatchFeed(t.Context(), "a:/b", &s, nil)
	f.Arm(events)
	return f
}

// drain reads what waits: numbers, and the offsets of gaps.
func drain(f *call.WatchFeed) (got []string) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		// A context that is over ends only what would wait.
		u, err := f.Watch().Next(over)
		switch {
		case err != nil:
			return got
		case u.Gap:
			got = append(got, fmt.Sprint("gap ", u.Offset))
		default:
			got = append(got, string(u.Body))
		}
	}
}

func TestWatchKeepsTheNewestContent(t *testing.T) {
	t.Parallel()
	f := newWatch(t, false)
	for i := range 10 {
		if !f.Push(event(i)) {
			t.Fatal("it is not over")
		}
	}
	if got := drain(f); !slices.Equal(got, []string{"9"}) {
		t.Fatal(got)
	}
	f.Push(event(10))
	u, err := f.Watch().Next(t.Context())
	if err != nil || u.Address != "a:/b" || u.Position() != (call.Position{Epoch: "e", Offset: 10}) {
		t.Fatal(u, err)
	}
}

func TestWatchKeepsEvents(t *testing.T) {
	t.Parallel()
	f := newWatch(t, true, call.WithBuffer(3))
	for i := 1; i <= 5; i++ {
		f.Push(event(i))
	}
	if got := drain(f); !slices.Equal(got, []string{"gap 2", "3", "4", "5"}) {
		t.Fatal(got)
	}
	f.Push(event(6))
	f.Push(call.Update{Gap: true, Epoch: "e", Offset: 9})
	f.Push(event(10))
	if got := drain(f); !slices.Equal(got, []string{"6", "gap 9", "10"}) {
		t.Fatal(got)
	}
	big := call.Update{Body: make([]byte, call.MaxBufferBytes), Offset: 11}
	f.Push(big)
	big.Offset = 12
	f.Push(big)
	u, err := f.Watch().Next(t.Context())
	if err != nil || !u.Gap || u.Offset != 11 {
		t.Fatal("the bytes are not bounded", u.Offset, err)
	}
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		end     func(f *call.WatchFeed, cancel context.CancelFunc)
		code    message.Code
		stopped bool
	}{
		{"nothing more", func(f *call.WatchFeed, _ context.CancelFunc) { f.Finish(nil) }, "", false},
		{"revoked", func(f *call.WatchFeed, _ context.CancelFunc) {
			f.Finish(message.NewError(message.CodeRevoked, "no", ""))
		}, message.CodeRevoked, false},
		{"failed", func(f *call.WatchFeed, _ context.CancelFunc) { f.Finish(errors.New("x")) }, message.CodeInternal, false},
		{"closed", func(f *call.WatchFeed, _ context.CancelFunc) { _ = f.Watch().Close() }, message.CodeCanceled, true},
		{"canceled", func(_ *call.WatchFeed, cancel context.CancelFunc) { cancel() }, message.CodeCanceled, true},
		{"deadline", func(*call.WatchFeed, context.CancelFunc) { time.Sleep(time.Minute) }, message.CodeDeadlineExceeded, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				stops := 0
				s := call.CollectWatch(nil)
				f := call.NewWatchFeed(ctx, "a:/b", &s, func(e *message.Error) {
					stops++
					code(t, e, tt.code)
				})
				f.Arm(true)
				f.Push(event(1))
				tt.end(f, cancel)
				synctest.Wait()
				if (stops == 1) != tt.stopped {
					t.Fatalf("told to stop %d times", stops)
				}
				if f.Finish(nil) || f.Push(event(2)) {
					t.Fatal("it is over")
				}
				w := f.Watch()
				_ = w.Close()
				<-w.Done()
				code(t, w.Ready(t.Context()), "") // it was, before
				code(t, w.Err(), tt.code)
				var got []string
				var last error
				for u, err := range w.Updates() {
					if last = err; err == nil {
						got = append(got, string(u.Body))
					}
				}
				code(t, last, tt.code)
				if !slices.Equal(got, []string{"1"}) {
					t.Fatal("what waited is gone", got)
				}
				if _, err := w.Next(t.Context()); err == nil {
					t.Fatal("there is nothing more")
				}
			})
		})
	}
}

func TestWatchReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := call.CollectWatch(nil)
		f := call.NewWatchFeed(t.Context(), "a:/b", &s, nil)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		code(t, f.Watch().Ready(short), message.CodeDeadlineExceeded)
		go f.Arm(true)
		code(t, f.Watch().Ready(t.Context()), "")
		if !f.Watch().Events() || f.Watch().Address() != "a:/b" {
			t.Fatal("the kind or the address is wrong")
		}
		f.Finish(nil)
	})
	w := call.FailedWatch("x:/", message.NewError(message.CodeForbidden, "no", ""))
	code(t, w.Ready(t.Context()), message.CodeForbidden)
	_, err := w.Next(t.Context())
	code(t, err, message.CodeForbidden)
	s := call.CollectWatch(nil)
	f := call.NewWatchFeed(t.Context(), "a:/b", &s, nil)
	f.Finish(nil)
	f.Arm(true)
	code(t, f.Watch().Ready(t.Context()), message.CodeCanceled)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code(t, call.NewWatchFeed(ctx, "a:/b", &s, nil).Watch().Ready(t.Context()), message.CodeCanceled)
}

func TestWatchOptions(t *testing.T) {
	t.Parallel()
	s := call.CollectWatch([]call.WatchOption{
		call.WithParams(map[string]any{"b": 1.50, "a": "<x>"}), call.WithDelta(), call.WithHistory(3),
		call.WithRecover(call.Position{Epoch: "e", Offset: 7}), call.WithBuffer(0),
	})
	if string(s.Params) != `{"a":"<x>","b":1.5}` || len(s.Delta) != 3 || s.History != 3 || s.Recover.Offset != 7 || s.Buffer != 1 || s.Err != nil {
		t.Fatalf("%+v", s)
	}
	if s = call.CollectWatch([]call.WatchOption{call.WithDelta(call.DeltaRows)}); s.Buffer != call.DefaultBuffer || !slices.Equal(s.Delta, []string{"rows"}) {
		t.Fatalf("%+v", s)
	}
	for _, bad := range []any{[]int{1}, "x", func() {}, []byte("{}")} {
		s := call.CollectWatch([]call.WatchOption{call.WithParams(bad)})
		code(t, s.Err, message.CodeInvalidInput)
		code(t, call.Collect([]call.Option{call.WithParams(bad)}).ParamsErr, message.CodeInvalidInput)
	}
}

// oneTopic is a Watcher of one topic that has what it was given.
type oneTopic struct {
	watch  *call.Watch
	update call.Update
}

func (o oneTopic) Watch(context.Context, string, ...call.WatchOption) *call.Watch { return o.watch }

func (o oneTopic) Get(context.Context, string, ...call.Option) (*call.Update, error) {
	return &o.update, nil
}

func (o oneTopic) Publish(context.Context, string, any, ...call.Option) (*call.Answer, error) {
	return nil, errors.ErrUnsupported
}

func TestTypedWatch(t *testing.T) {
	t.Parallel()
	f := newWatch(t, true)
	down := message.NewError(message.CodeSourceDown, "gone", "")
	f.Push(event(1))
	f.Push(call.Update{Gap: true, Offset: 5})
	f.Push(call.Update{Fault: down})
	f.Push(event(6))
	f.Push(call.Update{Body: []byte(`"x"`)})
	w := call.WatchOf[int](t.Context(), oneTopic{watch: f.Watch()}, "a:/b")
	code(t, w.Ready(t.Context()), "")
	first, err := w.Next(t.Context())
	if err != nil || first.Value != 1 || first.Offset != 1 {
		t.Fatal(first, err)
	}
	var got []string
	var last error
	for u, err := range w.Updates() {
		if last = err; err == nil {
			got = append(got, fmt.Sprint(u.Value, u.Gap, u.Fault != nil))
		}
	}
	code(t, last, message.CodeBadMessage)
	if !slices.Equal(got, []string{"0 true false", "0 false true", "6 false false"}) {
		t.Fatal(got)
	}
	<-w.Watch().Done() // a content of the wrong type ends it
	_, err = w.Next(t.Context())
	code(t, err, message.CodeCanceled)
	_ = w.Close()
}

func TestGetOf(t *testing.T) {
	t.Parallel()
	if n, err := call.GetOf[int](t.Context(), oneTopic{update: event(7)}, "a:/b"); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	down := message.NewError(message.CodeSourceDown, "gone", "")
	_, err := call.GetOf[int](t.Context(), oneTopic{update: call.Update{Fault: down}}, "a:/b")
	code(t, err, message.CodeSourceDown)
}

// TestWatchModel compares a watch with a plain queue.
func TestWatchModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "buffer")
		events := rapid.Bool().Draw(t, "events")
		s := call.CollectWatch([]call.WatchOption{call.WithBuffer(limit)})
		f := call.NewWatchFeed(context.Background(), "a:/b", &s, nil)
		f.Arm(events)
		var queue []string
		gap, n := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(*rapid.T) {
				n++
				f.Push(event(n))
				if !events {
					queue = nil
				}
				if len(queue) == limit {
					_, _ = fmt.Sscan(queue[0], &gap)
					queue = queue[1:]
				}
				queue = append(queue, fmt.Sprint(n))
			},
			"read": func(t *rapid.T) {
				want := queue
				if gap > 0 {
					want = append([]string{fmt.Sprint("gap ", gap)}, want...)
				}
				if got := drain(f); !slices.Equal(got, want) {
					t.Fatalf("read %v, want %v", got, want)
				}
				queue, gap = nil, 0
			},
		})
		f.Finish(nil)
	})
}

func TestWatchAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	f := newWatch(t, true)
	u := event(1)
	n := testing.AllocsPerRun(1000, func() {
		f.Push(u)
		for range f.Watch().Updates() {
			break
		}
	})
	if n > 0 {
		t.Fatalf("%v allocations an event", n)
	}
}

func BenchmarkWatch(b *testing.B) {
	s := call.CollectWatch(nil)
	f := call.NewWatchFeed(b.Context(), "a:/b", &s, nil)
	f.Arm(true)
	u := event(1)
	b.ReportAllocs()
	for b.Loop() {
		f.Push(u)
		for range f.Watch().Updates() {
			break
		}
	}
}
