package ropewalk_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
)

// tape is a service whose events are of two addresses.
func tape(pattern string, begin <-chan struct{}) *ropewalk.Service {
	svc := ropewalk.NewService("tape")
	svc.Handle(pattern, service.Events(func(ctx context.Context, _ struct{}, emit func(service.At[int]) error) error {
		select {
		case <-begin:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, path := range []string{"no slash", "", "/*", "/a/**"} {
			if err := emit(service.At[int]{Path: path}); message.CodeOf(err) != message.CodeInvalidInput {
				return fmt.Errorf("%q: %w", path, err)
			}
		}
		for i := range 6 {
			if err := emit(service.At[int]{Path: []string{"/a", "/b", "/b/c"}[i%3], Event: i}); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}))
	return svc
}

// Events of a service reach those who watch a pattern, with their addresses, and
// of one address those who watch that.
func TestEventsOfServiceByPattern(t *testing.T) {
	t.Parallel()
	for _, inside := range []bool{true, false} {
		t.Run(fmt.Sprintf("inside %t", inside), func(t *testing.T) {
			t.Parallel()
			w := towns["memory"](t)
			w.add([]string{"a", "b"})
			begin := make(chan struct{})
			if inside {
				if err := w.nodes[0].Serve(tape("/**", begin)); err != nil {
					t.Fatal(err)
				}
			} else if err := dial(t, w.urls[0]).Serve(t.Context(), tape("/**", begin)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all know the service", func() bool { return serversOf(w.nodes[1], "tape:/a") == 1 })
			want := map[string][]string{
				"tape:/**":   {"tape:/a 0", "tape:/b 1", "tape:/b/c 2", "tape:/a 3", "tape:/b 4", "tape:/b/c 5"},
				"tape:/*":    {"tape:/a 0", "tape:/b 1", "tape:/a 3", "tape:/b 4"},
				"tape:/b/**": {"tape:/b/c 2", "tape:/b/c 5"},
				"tape:/b":    {" 1", " 4"},
			}
			watches := map[*call.Watch]string{}
			for address := range want {
				for _, door := range []call.Watcher{w.nodes[0], w.nodes[1], dial(t, w.urls[0]), dial(t, w.urls[1])} {
					x := door.Watch(t.Context(), address, call.WithBuffer(10))
					ready(t, x)
					watches[x] = address
				}
			}
			close(begin)
			for x, address := range watches {
				var got []string
				for range want[address] {
					u := next(t, x)
					if u.Address == address {
						u.Address = ""
					}
					got = append(got, fmt.Sprintf("%s %s", u.Address, u.Body))
				}
				if !slices.Equal(got, want[address]) {
					t.Errorf("%s: %q, want %q", address, got, want[address])
				}
			}
		})
	}
}
