package ropewalk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic/delta"
)

// Many watch the same at several nodes: it is computed once for each of the
// parameters, and ends with the last watcher.
func TestOneRunForAllWatchers(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		w.add([]string{"a", "b", "c"})
		var runs atomic.Int32
		left := make(chan int, 10)
		svc := ropewalk.NewService("sum")
		svc.Handle("/x", ropewalk.HandleWatch(func(ctx context.Context, in struct{ N int }, set func(int) error) error {
			runs.Add(1)
			if err := set(in.N); err != nil {
				return err
			}
			<-ctx.Done()
			left <- in.N
			return ctx.Err()
		}))
		if err := w.nodes[0].Serve(svc); err != nil {
			t.Fatal(err)
		}
		w.offer("sum:/x", 1)
		var watches []*call.Watch
		for i, n := range w.nodes {
			c, d := dial(t, w.urls[i], quiet), dial(t, w.urls[i], quiet)
			for k := range 4 {
				for _, door := range []call.Watcher{n, c, d} {
					x := door.Watch(t.Context(), "sum:/x", call.WithParams(map[string]int{"N": k % 2}))
					if u := next(t, x); string(u.Body) != fmt.Sprint(k%2) {
						t.Fatalf("%s", u.Body)
					}
					watches = append(watches, x)
				}
			}
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("it ran %d times for %d watchers of 2 contents", n, len(watches))
		}
		for _, x := range watches[1:] {
			_ = x.Close()
		}
		if n := take(t, left, "the end of what nobody watches"); n != 1 {
			t.Errorf("%d has ended", n)
		}
		_ = watches[0].Close()
		take(t, left, "the end of the other one")
	})
}

// Whoever asks for changes gets the smallest that it understands, and the whole
// where that is smaller.
func TestChangesOnTheWire(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, withTopics)
	row := func(id int, v string) string {
		return fmt.Sprintf(`{"id":%d,"text":"a row with a text that is long enough","v":%q}`, id, v)
	}
	table := func(third string) string {
		return "[" + strings.Join([]string{row(1, "a"), row(2, "b"), row(3, third), row(4, "d")}, ",") + "]"
	}
	for _, c := range []struct{ asks, old, now, contentType, body string }{
		{`["merge"]`, `{"a":"` + strings.Repeat("x", 100) + `","b":1}`, `{"a":"` + strings.Repeat("x", 100) + `","b":2}`, delta.MergeType, `{"b":2}`},
		{`["merge","patch"]`, `{"a":"` + strings.Repeat("x", 100) + `","b":1}`, `{"a":"` + strings.Repeat("x", 100) + `","b":2}`, delta.MergeType, `{"b":2}`},
		{`["patch"]`, table("c"), table("z"), delta.PatchType, `[{"op":"replace","path":"/2/v","value":"z"}]`},
		{`["rows"]`, table("c"), table("z"), delta.RowsType, `"z"`},
		{`["rows:v"]`, table("c"), table("z"), delta.RowsType, `"z"`},
		{`["merge","patch"]`, table("c"), table("z"), delta.PatchType, `"z"`},
		{`["merge","patch","rows"]`, `{"a":1}`, `[7]`, "", `[7]`}, // the whole is smaller
		{`["rows"]`, `{"a":1}`, `{"a":2}`, "", `{"a":2}`},         // there are no rows
		{`["nonsense"]`, table("c"), table("z"), "", table("z")},  // nobody knows it
		{`[]`, table("c"), table("z"), "", table("z")},            // nobody asks
		{`["rows:text"]`, table("c"), table("z"), "", table("z")}, // a key that is none
	} {
		t.Run(c.asks, func(t *testing.T) {
			t.Parallel()
			at := "state:/" + t.Name()
			publish := func(body string) {
				t.Helper()
				if _, err := n.Publish(t.Context(), at, json.RawMessage(body)); err != nil {
					t.Fatal(err)
				}
			}
			publish(c.old)
			r := dialRaw(t.Context(), t, url)
			r.say(`{"vrb":"subscribe","mid":"1","to":%q,"bdy":{"delta":%s}}`, at, c.asks)
			if m := r.hear(); m.Verb != message.VerbReply || string(m.Body) != c.old {
				t.Fatalf("%s %s", m.Verb, m.Body)
			}
			publish(c.now)
			m := r.hear()
			if m.Verb != message.VerbUpdate || string(m.ContentType) != c.contentType || !strings.Contains(string(m.Body), c.body) {
				t.Errorf("%s %s %s, want %s %s", m.Verb, m.ContentType, m.Body, c.contentType, c.body)
			}
			if c.contentType != "" && len(m.Body) >= len(c.now) {
				t.Errorf("%d bytes in place of %d", len(m.Body), len(c.now))
			}
		})
	}
}

// Whoever comes back after more events than are kept is told that there is a gap, and
// gets those that are there; after fewer, those that it has missed, and no word.
func TestHoleThatCannotBeFilled(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, func(c *ropewalk.Config) {
		c.Topics = map[string]route.Topic{"log:/**": {Events: true, History: route.History{Count: 3}}}
	})
	for name, door := range map[string]call.Watcher{"inside": n, "client": dial(t, url)} {
		at := "log:/" + name
		publish := func(from, to int) {
			t.Helper()
			for i := from; i <= to; i++ {
				if _, err := n.Publish(t.Context(), at, i); err != nil {
					t.Fatal(err)
				}
			}
		}
		w := door.Watch(t.Context(), at)
		ready(t, w)
		publish(1, 1)
		first := next(t, w)
		seen := first.Position()
		_ = w.Close()
		for _, c := range []struct {
			to   int
			want string
		}{{4, "[2 3 4]"}, {5, "[gap 3 4 5]"}, {20, "[gap 18 19 20]"}} {
			publish(lastOfLog(t, n, at)+1, c.to)
			w := door.Watch(t.Context(), at, call.WithRecover(seen))
			var got []string
			for len(got) == 0 || got[len(got)-1] != fmt.Sprint(c.to) {
				u := next(t, w)
				if u.Gap {
					u.Body = []byte("gap")
				}
				got = append(got, string(u.Body))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("%s, %d: got %v, want %s", name, c.to, got, c.want)
			}
			_ = w.Close()
		}
	}
}

// lastOfLog is the newest event of a topic.
func lastOfLog(t *testing.T, n *ropewalk.Node, at string) (i int) {
	t.Helper()
	u, err := n.Get(t.Context(), at)
	if err != nil || json.Unmarshal(u.Body, &i) != nil {
		t.Fatalf("%s, %v", u.Body, err)
	}
	return i
}
