package script_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/message"
)

// radio is a host with topics that somebody else speaks on.
type radio struct {
	changed chan string // watched addresses, whenever these are others

	mu     sync.Mutex
	events map[string]func(script.Event)
}

func (r *radio) watch(ctx context.Context, _ script.Origin, address string, event func(script.Event)) error {
	r.tell(address, event)
	<-ctx.Done()
	r.tell(address, nil)
	return message.NewError(message.CodeCanceled, "over", "")
}

func (r *radio) tell(address string, event func(script.Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	word := "+"
	if r.events[address] = event; event == nil {
		word = "-"
	}
	r.changed <- word + address
}

func (r *radio) say(address string) {
	r.mu.Lock()
	event := r.events[address]
	r.mu.Unlock()
	event(script.Event{Address: address})
}

// lines is what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// A script that is edited watches something else; one that fails is logged, but not
// with each event; one without a grant watches nothing.
func TestEvents(t *testing.T) {
	t.Parallel()
	r := &radio{changed: make(chan string, 100), events: map[string]func(script.Event){}}
	dir, log := t.TempDir(), &lines{}
	for name, text := range map[string]string{
		"a.js":    `export const events = ["a:/x", "a:/y"]; export const event = () => { throw new Error("x") }`,
		"poor.js": `export const events = ["a:/x"]; export const event = () => {}`,
	} {
		put(t, dir, name, text)
	}
	p, err := script.New(script.Settings{Root: dir, Grants: []script.Grant{{Paths: []string{"/a.js"}, Watch: []string{"a:/**"}}}},
		script.Host{Watch: r.watch}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ran := make(chan string, 100)
	s := script.NewScheduler(p, script.SchedulerOptions{Rescan: 20 * time.Millisecond, Ran: func(p, export string, _ time.Duration, err error) {
		ran <- fmt.Sprint(p, " ", export, " ", message.CodeOf(err))
	}})
	defer s.Close()
	want := func(from chan string, texts ...string) {
		t.Helper()
		left := map[string]bool{}
		for _, text := range texts {
			left[text] = true
		}
		for len(left) > 0 {
			select {
			case got := <-from:
				if !left[got] {
					t.Fatalf("got %q, want %q", got, texts)
				}
				delete(left, got)
			case <-time.After(20 * time.Second):
				t.Fatalf("%v does not come", left)
			}
		}
	}
	want(r.changed, "+a:/x", "+a:/y")
	want(ran, "/poor.js event forbidden")
	for range 3 {
		r.say("a:/x")
		want(ran, "/a.js event script_failed")
	}
	put(t, dir, "a.js", `export const events = ["a:/y", "a:/z"]; export const event = () => {}`)
	want(r.changed, "-a:/x", "+a:/z")
	r.say("a:/z")
	want(ran, "/a.js event ")
	if err := os.Remove(filepath.Join(dir, "a.js")); err != nil {
		t.Fatal(err)
	}
	want(r.changed, "-a:/y", "-a:/z")
	s.Close()
	log.mu.Lock()
	defer log.mu.Unlock()
	text := log.text.String()
	if strings.Count(text, "a script failed with an event") != 1 || !strings.Contains(text, "events of a:/x") {
		t.Error(text)
	}
}
