package client

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
)

// rosterAt makes a roster with places given.
func rosterAt(t *testing.T, urls ...string) *roster {
	t.Helper()
	cfg := defaults()
	list := make([]*url.URL, len(urls))
	for i, raw := range urls {
		list[i] = must(t, raw)
	}
	return newRoster(&cfg, list)
}

func must(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := parseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// hops takes the places of one turn.
func hops(r *roster) (list []string) {
	for {
		p, hop := r.next()
		if !hop {
			return list
		}
		list = append(list, p.url.Host)
	}
}

func TestRosterTriesWhatIsGivenInOrder(t *testing.T) {
	t.Parallel()
	r := rosterAt(t, "ws://a", "ws://b", "ws://A:80/", "ws://c")
	if got := hops(r); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("got %q", got)
	}
	// After that each comes once a turn, without a hop.
	for range 10 {
		seen := map[*place]bool{}
		for range 3 {
			p, hop := r.next()
			if hop {
				t.Fatalf("%s was tried before", p.url)
			}
			seen[p] = true
		}
		if len(seen) < 2 { // the turns began in the middle of one
			t.Fatalf("%d places", len(seen))
		}
	}
}

func TestRosterAfterALoss(t *testing.T) {
	t.Parallel()
	first := map[string]int{}
	for range 300 {
		r := rosterAt(t, "ws://a", "ws://lb")
		p, _ := r.next()
		r.met(p, "A")
		r.learn(p, []nodeRef{
			{ID: "A", URLs: []string{"ws://a/", "ws://a2"}}, {ID: "B", URLs: []string{"ws://b"}}, {ID: "C", URLs: []string{"ws://c"}},
		})
		if !r.others(p) {
			t.Fatal("nothing else is known")
		}
		r.left(p, true)
		got := hops(r)
		if len(got) != 3 || slices.Contains(got, "a") || slices.Contains(got, "a2") {
			t.Fatalf("the hops lead to %q", got)
		}
		first[got[0]]++
	}
	for _, host := range []string{"b", "c", "lb"} {
		if first[host] < 50 {
			t.Errorf("%d of 300 go to %s first", first[host], host)
		}
	}
}

func TestRosterHopsOnlyOnceWhileNothingLasts(t *testing.T) {
	t.Parallel()
	r := rosterAt(t, "ws://a", "ws://b", "ws://c")
	tries := 0
	for {
		p, hop := r.next()
		if !hop {
			break
		}
		tries++
		r.left(p, false) // a node that throws everybody out at once
	}
	if tries != 3 {
		t.Fatalf("%d hops", tries)
	}
}

func TestRosterLearns(t *testing.T) {
	t.Parallel()
	r := rosterAt(t, "ws://a")
	at, _ := r.next()
	r.met(at, "A")
	hosts := func() (list []string) {
		for _, p := range r.places {
			list = append(list, p.url.Host)
		}
		return list
	}
	r.learn(at, []nodeRef{{ID: "B", URLs: []string{"ws://b", "nonsense", "ws://localhost:1", "ws://me:secret@x"}}, {ID: "C", URLs: []string{"wss://c"}}})
	if got := hosts(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("got %q", got)
	}
	b := r.places[1]
	r.left(at, true)
	r.learn(at, []nodeRef{{ID: "B2", URLs: []string{"ws://b"}}})
	if got := hosts(); !slices.Equal(got, []string{"a", "b"}) || r.places[1] != b || b.node != "B2" {
		t.Fatalf("got %q", got)
	}
	if got := hops(r); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("hops to %q", got)
	}
	r.learn(at, nil)
	if r.others(at) {
		t.Fatal("a list without nodes leaves some")
	}
	var many []nodeRef
	for i := range 2 * maxTold {
		many = append(many, nodeRef{ID: fmt.Sprint(i), URLs: []string{fmt.Sprint("ws://n", i)}})
	}
	if r.learn(at, many); len(r.places) != 1+maxTold {
		t.Fatalf("%d places", len(r.places))
	}
	r.follow = false
	if r.learn(at, nil); len(r.places) != 1+maxTold {
		t.Fatal("it learns although it does not follow")
	}
}

func TestMayFollow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"ws://a", "ws://b", true},
		{"ws://a", "wss://b", true},
		{"wss://a", "wss://b", true},
		{"wss://a", "ws://b", false},
		{"ws://a", "ws://127.0.0.1:7420", false},
		{"ws://a", "ws://[::1]", false},
		{"ws://a", "ws://[::ffff:127.0.0.1]", false},
		{"ws://a", "ws://LOCALHOST:1", false},
		{"ws://a", "ws://x.localhost", false},
		{"ws://localhost", "ws://127.0.0.2", true},
		{"ws://a", "ws://user@b", false},
	} {
		if got := mayFollow(must(t, tt.from), must(t, tt.to)); got != tt.want {
			t.Errorf("from %s to %s: %v", tt.from, tt.to, got)
		}
	}
}
