package standard_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

// eventTopics are those of the tests.
var eventTopics = map[string]route.Topic{"prices:/**": {Events: true}, "state:/**": {}} //nolint:gochecknoglobals // a table

func publish(t *testing.T, n *ropewalk.Node, address string, body any) {
	t.Helper()
	if _, err := n.Publish(t.Context(), address, body); err != nil {
		t.Fatal(err)
	}
}

// heard waits for what a script says.
func heard(t *testing.T, got <-chan string) string {
	t.Helper()
	select {
	case s := <-got:
		return s
	case <-time.After(patience):
		t.Fatal("the script says nothing")
		return ""
	}
}

// streak publishes one number after the other until a node has handled n of these in
// a row, none of them twice and none of them at another node, and returns its name.
func streak(t *testing.T, from *ropewalk.Node, got <-chan string, n int) string {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	who, last, long := "", 0, 0
	for i, end := 1, time.Now().Add(patience); long < n; {
		select {
		case <-tick.C:
			_, _ = from.Publish(t.Context(), "prices:/eur", i) // while its owner changes it may fail
			i++
		case text := <-got:
			var name string
			var number int
			if _, err := fmt.Sscanf(text, "%s prices:/eur %d", &name, &number); err != nil {
				continue // a gap
			}
			if name != who || number != last+1 {
				long = 0
			}
			who, last, long = name, number, long+1
		}
		if time.Now().After(end) {
			t.Fatalf("the last was %d at %q, the %dth in a row", last, who, long)
		}
	}
	return who
}

// Of two nodes one handles events, each once and in order, and the other one when
// that is gone.
func TestEventsAreHandledAtOneNode(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	c := &ticks{got: make(chan string, 10_000), text: `/* the prices */ export const events = ["prices:/**"];
		export async function event(e) { await call("count-NAME:/up", { text: e.gap ? "gap" : e.address + " " + e.content }) }
		export const schedule = "*/5 1 1 1 *"`}
	nodes := map[string]*ropewalk.Node{"a": c.member(t, net, "a", ""), "b": c.member(t, net, "b", "")}
	idle := c.member(t, net, "idle", standard.SchedulesNone)
	knows(t, nodes["a"], nodes["b"])
	first := streak(t, idle, c.got, 50)
	if nodes[first] == nil {
		t.Fatal(first)
	}
	_ = nodes[first].Shutdown(context.Background())
	for len(c.got) > 0 {
		<-c.got
	}
	if second := streak(t, idle, c.got, 20); second == first || nodes[second] == nil {
		t.Fatal(second)
	}
}

// listener runs a node with a script whose words come by a channel. The script is
// held while hold is not nil and gives nothing.
func listener(t *testing.T, text string, watch []string, hold <-chan struct{}) (*ropewalk.Node, <-chan string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "script/a.js", text)
	got := make(chan string, 1000)
	told := ropewalk.NewService("told")
	told.Handle("/it", ropewalk.Handle(func(ctx context.Context, in string) (int, error) {
		got <- in
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return 0, nil
	}))
	n := startNode(t, ropewalk.Config{Topics: eventTopics}, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{
		Root: dir, Grants: []script.Grant{{Paths: []string{"/**"}, Call: []string{"told:/**"}, Watch: watch}},
		Limits: script.Limits{Wall: duration.Duration(time.Minute)},
	}}}, standard.Env{}, told)
	return n, got
}

// count waits until a counter of script runs has a value.
func count(t *testing.T, n *ropewalk.Node, result string, want float64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		var have float64
		families, err := n.Registry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "ropewalk_script_runs_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				if strings.Contains(m.String(), `"`+result+`"`) {
					have += m.GetCounter().GetValue()
				}
			}
		}
		if have == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%v runs with %s, want %v", have, result, want)
		}
	}
}

const says = `export async function event(e) {
	if (e.content === "bad") throw new Error("bad price");
	await call("told:/it", e.gap ? "gap" : JSON.stringify([e.address, e.content, typeof e.epoch, typeof e.offset]));
}
`

// A script that throws is counted, and gets what comes after that.
func TestEventsOfScriptThatThrows(t *testing.T) {
	t.Parallel()
	n, got := listener(t, says+`export const events = ["prices:/eur", "prices:/usd"]`, []string{"prices:/*"}, nil)
	for range 2 {
		if g := heard(t, got); g != "gap" {
			t.Fatal(g)
		}
	}
	publish(t, n, "prices:/eur", "bad")
	publish(t, n, "prices:/gbp", 1)
	publish(t, n, "prices:/eur", 2)
	if g := heard(t, got); g != `["prices:/eur",2,"string","number"]` {
		t.Fatal(g)
	}
	count(t, n, "error", 1)
	count(t, n, "ok", 3)
}

// What a script may not watch, and what has no events, it does not get.
func TestEventsNotGranted(t *testing.T) {
	t.Parallel()
	n, got := listener(t, says+`export const events = ["prices:/**", "state:/a", "prices:/eur"]`, []string{"prices:/*", "state:/**"}, nil)
	if g := heard(t, got); g != "gap" {
		t.Fatal(g)
	}
	count(t, n, "error", 1)
	publish(t, n, "state:/a", 1)
	publish(t, n, "prices:/a/b", 1)
	publish(t, n, "prices:/eur", 1)
	if g := heard(t, got); g != `["prices:/eur",1,"string","number"]` {
		t.Fatal(g)
	}
}

// A script that is too slow is told so, and goes on with the newest events.
func TestEventsOfSlowScript(t *testing.T) {
	t.Parallel()
	const sent = 600
	hold := make(chan struct{})
	n, got := listener(t, says+`export const events = ["prices:/**"]`, []string{"prices:/**"}, hold)
	if g := heard(t, got); g != "gap" {
		t.Fatal(g)
	}
	for i := range sent {
		publish(t, n, "prices:/eur", i+1)
	}
	close(hold)
	handled, gaps := 0, 0
	for last := ""; last != fmt.Sprintf(`["prices:/eur",%d,"string","number"]`, sent); {
		if last = heard(t, got); last == "gap" {
			gaps++
		} else {
			handled++
		}
	}
	if gaps == 0 || handled == 0 || handled >= sent {
		t.Errorf("%d events and %d gaps", handled, gaps)
	}
}
