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

func part(i int) call.Part { return call.Part{Body: fmt.Append(nil, i), Seq: uint64(i)} } //nolint:gosec // small

// read collects parts until the end.
func read(s *call.Stream) (got []string, err error) {
	for p, e := range s.Parts() {
		if e != nil {
			return got, e
		}
		got = append(got, string(p.Body))
	}
	return got, nil
}

func code(t *testing.T, err error, want message.Code) {
	t.Helper()
	if message.CodeOf(err) != want {
		t.Fatalf("error %v, want %s", err, want)
	}
}

func TestStreamPartsThenAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := call.NewFeed(t.Context(), 2, nil)
		go func() {
			for i := range 10 {
				synctest.Wait() // the reader has taken what was there
				if err := f.Push(part(i)); err != nil {
					t.Error(err)
				}
			}
			f.Finish(&call.Answer{Body: []byte("1")}, nil)
		}()
		got, err := read(f.Stream())
		if err != nil || len(got) != 10 || !slices.IsSorted(got) {
			t.Fatal(got, err)
		}
		for range 2 {
			if a, err := f.Stream().Answer(); err != nil || string(a.Body) != "1" {
				t.Fatal(a, err)
			}
		}
	})
}

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	over := errors.New("secret")
	tests := []struct {
		name    string
		end     func(f *call.Feed, cancel context.CancelFunc)
		code    message.Code
		stopped bool
	}{
		{"answered", func(f *call.Feed, _ context.CancelFunc) { f.Finish(&call.Answer{}, nil) }, "", false},
		{"failed", func(f *call.Feed, _ context.CancelFunc) {
			f.Finish(nil, message.NewError(message.CodeConflict, "no", ""))
		}, message.CodeConflict, false},
		{"failed otherwise", func(f *call.Feed, _ context.CancelFunc) { f.Finish(nil, over) }, message.CodeInternal, false},
		{"closed", func(f *call.Feed, _ context.CancelFunc) { _ = f.Stream().Close() }, message.CodeCanceled, true},
		{"canceled", func(_ *call.Feed, cancel context.CancelFunc) { cancel() }, message.CodeCanceled, true},
		{"deadline", func(*call.Feed, context.CancelFunc) { time.Sleep(time.Minute) }, message.CodeDeadlineExceeded, true},
		{"slow", func(f *call.Feed, _ context.CancelFunc) {
			_ = f.Push(part(1))
			_ = f.Push(part(2))
		}, message.CodeSlowConsumer, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				stops := 0
				f := call.NewFeed(ctx, 2, func(e *message.Error) {
					stops++
					if e.Code != tt.code {
						t.Errorf("stopped with %v", e)
					}
				})
				if err := f.Push(part(0)); err != nil {
					t.Fatal(err)
				}
				tt.end(f, cancel)
				synctest.Wait()
				if (stops == 1) != tt.stopped {
					t.Fatalf("told to stop %d times", stops)
				}
				if f.Finish(&call.Answer{}, nil) {
					t.Fatal("a second end counts")
				}
				if f.Push(part(9)) == nil {
					t.Fatal("a part after the end was taken")
				}
				_ = f.Stream().Close()
				got, err := read(f.Stream())
				if len(got) == 0 || got[0] != "0" {
					t.Fatal("the part that was held is gone", got)
				}
				code(t, err, tt.code)
				_, err = f.Stream().Answer()
				code(t, err, tt.code)
				<-f.Stream().Done()
			})
		})
	}
}

func TestStreamBytesAreBounded(t *testing.T) {
	t.Parallel()
	f := call.NewFeed(t.Context(), 1000, nil)
	big := make([]byte, call.MaxBufferBytes+1)
	if err := f.Push(call.Part{Body: big}); err != nil {
		t.Fatal("one part is always taken:", err)
	}
	code(t, f.Push(call.Part{Body: []byte("x")}), message.CodeSlowConsumer)
}

func TestStreamAnswerDropsParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := call.NewFeed(t.Context(), 1, nil)
		if err := f.Push(part(0)); err != nil {
			t.Fatal(err)
		}
		go func() {
			synctest.Wait()
			for i := range 100 {
				if err := f.Push(part(i)); err != nil {
					t.Error(err)
				}
			}
			f.Finish(&call.Answer{}, nil)
		}()
		if _, err := f.Stream().Answer(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailed(t *testing.T) {
	t.Parallel()
	s := call.Failed(message.NewError(message.CodeBadAddress, "no", ""))
	got, err := read(s)
	code(t, err, message.CodeBadAddress)
	if len(got) != 0 {
		t.Fatal(got)
	}
}

// TestStreamModel compares a stream with a plain queue.
func TestStreamModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "buffer")
		f := call.NewFeed(context.Background(), limit, nil)
		var queue []string
		ended := false
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				n++
				err := f.Push(part(n))
				switch {
				case ended:
					if err == nil {
						t.Fatal("taken after the end")
					}
				case len(queue) == limit:
					if message.CodeOf(err) != message.CodeSlowConsumer {
						t.Fatal("over the limit:", err)
					}
					ended = true
				case err != nil:
					t.Fatal(err)
				default:
					queue = append(queue, fmt.Sprint(n))
				}
			},
			"read": func(t *rapid.T) {
				if len(queue) == 0 {
					return
				}
				for p, err := range f.Stream().Parts() {
					if err != nil || string(p.Body) != queue[0] {
						t.Fatalf("read %s, %v, want %s", p.Body, err, queue[0])
					}
					break
				}
				queue = queue[1:]
			},
			"finish": func(t *rapid.T) {
				if f.Finish(&call.Answer{}, nil) == ended {
					t.Fatal("the wrong end counts")
				}
				ended = true
			},
		})
		f.Finish(nil, errors.New("x"))
		if got, _ := read(f.Stream()); !slices.Equal(got, queue) {
			t.Fatalf("left %v, want %v", got, queue)
		}
	})
}

func TestStreamAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	f := call.NewFeed(t.Context(), 16, nil)
	p := part(1)
	n := testing.AllocsPerRun(1000, func() {
		_ = f.Push(p)
		for range f.Stream().Parts() {
			break
		}
	})
	if n > 0 {
		t.Fatalf("%v allocations a part", n)
	}
	f.Finish(nil, nil)
}

func BenchmarkStream(b *testing.B) {
	f := call.NewFeed(b.Context(), 16, nil)
	p := part(1)
	b.ReportAllocs()
	for b.Loop() {
		_ = f.Push(p)
		for range f.Stream().Parts() {
			break
		}
	}
	f.Finish(nil, nil)
}
