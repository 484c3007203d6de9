package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the example with a few flights on a free port until the test is
// over.
func start(t *testing.T) (url string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	s := settings{
		listen: "127.0.0.1:0", data: t.TempDir(), source: "testdata", content: "content", sdk: "../../sdk/ts/dist", out: io.Discard,
	}
	go func() { ended <- run(ctx, s, func(u string) { ready <- u }) }()
	select {
	case u := <-ready:
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return u
	case err := <-ended:
		stop()
		t.Fatal(err)
		return ""
	}
}

func dial(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), strings.Replace(url, "http://localhost", "ws://127.0.0.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// line is a row of the board.
type line struct {
	ID              int
	Scheduled       string
	Delay, Recorded int
	Origin          string
	DestinationCity string `json:"destination_city"`
}

// TestBoard watches a board, delays a flight from elsewhere, and sees both
// queries follow.
func TestBoard(t *testing.T) {
	t.Parallel()
	url := start(t)
	board, editor := dial(t, url), dial(t, url)
	params := call.WithParams(map[string]any{"date": "2001-01-03"})
	watch := call.WatchOf[[]line](t.Context(), board, "query:/departures/board.sql", params, call.WithDelta("rows"))
	hours := call.WatchOf[[]struct{ Hour, Flights, Late, Minutes int }](t.Context(), board, "query:/departures/hours.sql", params)
	minutes := func() (n int) {
		list, err := hours.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list.Value {
			n += h.Minutes
		}
		return n
	}
	first, err := watch.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Value) != 60 || !strings.HasPrefix(first.Value[0].Scheduled, "2001-01-03") || first.Value[0].DestinationCity == "" {
		t.Fatalf("got %d rows, the first %+v", len(first.Value), first.Value[0])
	}
	before := minutes()
	late := first.Value[7]
	if _, err := editor.Publish(t.Context(), "query:/departures/delay.sql", map[string]int{"id": late.ID, "delay": late.Delay + 45}); err != nil {
		t.Fatal(err)
	}
	next, err := watch.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := next.Value[7]; got.ID != late.ID || got.Delay != late.Delay+45 || got.Recorded != late.Recorded {
		t.Errorf("got %+v, want 45 minutes more than %+v", got, late)
	}
	if after := minutes(); after != before+45 {
		t.Errorf("%d minutes late in all, %d before", after, before)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := dial(t, start(t))
	for _, r := range []struct {
		address string
		body    any
		code    message.Code
	}{
		{"query:/departures/delay.sql", map[string]any{"id": 1, "delay": 100_000}, message.CodeInvalidInput},
		{"query:/departures/delay.sql", map[string]any{"id": 1, "delay": "x"}, message.CodeInvalidInput},
		{"query:/departures/board.sql", map[string]any{}, message.CodeForbidden},
		{"query:/departures/other.sql", map[string]any{}, message.CodeForbidden},
	} {
		_, err := c.Publish(t.Context(), r.address, r.body)
		if message.CodeOf(err) != r.code {
			t.Errorf("%s %v: got %v, want %s", r.address, r.body, err, r.code)
		}
	}
}

// TestAgain starts the example with a database that is there.
func TestAgain(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := settings{data: t.TempDir(), source: "testdata", out: &out}
	file, err := prepare(t.Context(), s)
	if err != nil || !strings.Contains(out.String(), "] 68/68") {
		t.Fatalf("%v, it said %q", err, out.String())
	}
	out.Reset()
	if again, err := prepare(t.Context(), s); err != nil || again != file || out.Len() > 0 {
		t.Errorf("%s, %v, it said %q", again, err, out.String())
	}
	s.data, s.source = t.TempDir(), t.TempDir()
	if _, err := prepare(t.Context(), s); err == nil {
		t.Error("there are no data")
	}
	if left, err := os.ReadDir(s.data); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestBrowser has an editor's page delay a flight and two boards follow, in
// Chromium.
func TestBrowser(t *testing.T) {
	t.Parallel()
	const driver = "../../console/node_modules/playwright-core"
	chromium, err := exec.LookPath("chromium")
	if p := os.Getenv("CHROMIUM"); p != "" {
		chromium, err = p, nil
	}
	if _, missing := os.Stat(filepath.FromSlash(driver)); missing != nil || err != nil || testing.Short() {
		t.Skip("it needs Chromium, and playwright-core in console/node_modules: make test-e2e brings both")
	}
	cmd := exec.CommandContext(t.Context(), "node", "browser.test.mjs", start(t), chromium) //nolint:gosec // a test
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
