package client

import (
	"context"
	"log/slog"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// The loop that connects may find out that a connection was lost, or has been
// made, just when the client is closed: closed is the end all the same.
func TestClosedIsTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults()
		cfg.lazy = true
		cfg.dial = func(ctx context.Context, _ *place) (transport, *welcome, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}
		c, err := start(t.Context(), []*url.URL{{Scheme: "http", Host: "test"}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []State{Offline, Connecting, Online, Draining} {
			c.mu.Lock()
			c.setState(s)
			c.mu.Unlock()
			if got := c.State(); got != Closed {
				t.Errorf("after Close and %v the state is %v", s, got)
			}
		}
	})
}

// A message that must not wait for a connection does not wait for the next one
// while the node drains this one either.
func TestNoWaitWhileDraining(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name             string
		online, draining bool
		code             message.Code
	}{
		{"ok", true, false, ""},
		{"offline", false, false, message.CodeNotReady},
		{"draining", true, true, message.CodeNotReady},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSession(limits{messages: 8, bytes: 1 << 20, frame: 1 << 20})
			if tc.online {
				s.connect(0).draining = tc.draining
			}
			err := s.admit(&outgoing{noWait: true, cost: 1})
			if (err == nil) != (tc.code == "") || err != nil && err.Code != tc.code {
				t.Errorf("admit: %v", err)
			}
		})
	}
}

// A node that died with its machine does not refuse: the client does not wait
// long for it while there are others, and waits as long as for any later on.
func TestHopsAreShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type try struct {
			host string
			took time.Duration
		}
		var (
			first *pipe
			tries []try
		)
		cfg := defaults()
		cfg.log = slog.New(slog.DiscardHandler)
		cfg.dial = func(ctx context.Context, at *place) (transport, *welcome, error) {
			if first == nil {
				first = newPipe()
				return first, &welcome{ID: "me"}, nil
			}
			ctx, cancel := context.WithTimeout(ctx, DefaultHandshake)
			defer cancel()
			began := time.Now()
			<-ctx.Done()
			tries = append(tries, try{at.url.Host, time.Since(began)})
			return nil, nil, ctx.Err()
		}
		c, err := start(t.Context(), []*url.URL{{Scheme: "http", Host: "a"}, {Scheme: "http", Host: "b"}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		first.kill()
		time.Sleep(hopTimeout + time.Hour)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if len(tries) < 10 || tries[0] != (try{"b", hopTimeout}) || tries[1].took != DefaultHandshake {
			t.Fatalf("%v", tries)
		}
	})
}
