package route

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// maxTypos is how many letters a suggestion may differ by.
	maxTypos = 3
	// maxSuggestVisits bounds the work for one suggestion, because anybody can
	// ask for addresses that do not exist, as fast as he likes.
	maxSuggestVisits = 300
	// maxSuggestBytes is the longest segment that is compared.
	maxSuggestBytes = 64

	// justLeft is how long after its last server has left a route may have
	// another one soon: of a service that moves to another node it may be known
	// earlier that it has left than where it is.
	justLeft = time.Second
	// comesBack is when it is worth to look again: many times what news need
	// from node to node.
	comesBack = 200 * time.Millisecond
)

// fail makes the error of a look-up that found nobody.
func (t *Table) fail(a *message.Address, s *search) error {
	// The address is quoted without method and query, and without its end if
	// it is long.
	text := shorten(a.Name + ":" + a.Path)
	var err *message.Error
	switch {
	case s.visits <= 0:
		err = message.NewError(message.CodeOverloaded, "too many patterns compete for "+text,
			"Serve fewer patterns with wildcards in the same place, or call a more exact address.")
	case s.other:
		err = message.NewError(message.CodeServiceDown,
			fmt.Sprintf("the server %s does not serve %s, or is gone", shorten(a.Instance), text),
			"Others serve it: leave out the id in front of the @ to reach any of them.")
	case s.down:
		err = message.NewError(message.CodeServiceDown, "everybody who served "+text+" is gone",
			"Start the service again, or repeat the call when it is back.")
		if time.Since(time.Unix(0, s.left)) < justLeft {
			err.RetryAfter = comesBack
		}
	default:
		err = message.NewError(message.CodeNoService, "nobody serves "+text, t.hint(a))
	}
	err.Path = text
	return err
}

func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// hint says what may have been meant.
func (t *Table) hint(a *message.Address) string {
	service := t.root.kids.get(a.Name)
	g := guess{typos: maxTypos + 1, visits: maxSuggestVisits}
	path := trimSlash(a.Path)
	if service != nil {
		g.walk(service, path, 0)
	} else {
		name := newWord(a.Name)
		t.root.kids.each(func(n *node) bool {
			g.visits--
			if d := name.distance(n.seg, g.typos-1); d < g.typos {
				g.walk(n, path, d)
			}
			return g.visits > 0
		})
	}
	switch {
	case g.best != nil:
		return fmt.Sprintf("Did you mean %s? `ropewalk services` lists what is served.", g.best.seats[0].route)
	case service != nil:
		return fmt.Sprintf("The service %s has no such path; `ropewalk services` lists those it has.", a.Name)
	}
	if r := t.elsewhere(path); r != nil {
		return fmt.Sprintf("Did you mean %s? `ropewalk services` lists what is served.", r.seats[0].route)
	}
	if a.Name == wildOne {
		return "No service has such a path; `ropewalk services` lists what is served."
	}
	return fmt.Sprintf("No service %s is known here; `ropewalk services` lists those that are.", shorten(a.Name))
}

// elsewhere finds a service of any name that serves a path, and not just any path.
func (t *Table) elsewhere(path string) *roster {
	if path == "" || path[0] != '/' {
		return nil
	}
	s := search{visits: maxSuggestVisits}
	t.root.kids.each(func(n *node) bool {
		if s.walk(n, path) && !hasWord(s.found.seats[0].route) {
			s.found = nil
		}
		return s.found == nil && s.visits > 0
	})
	return s.found
}

// hasWord tells whether the path of a route has a segment that is no wildcard.
func hasWord(route string) bool {
	_, path, _ := strings.Cut(route, ":/")
	for seg := range strings.SplitSeq(path, "/") {
		if seg != "" && seg[0] != '*' && seg[0] != '{' {
			return true
		}
	}
	return false
}

// guess looks for the route that differs from a path by the fewest letters.
type guess struct {
	visits int
	typos  int // of best
	best   *roster
}

// walk compares the rest of a path with what is below n; so many typos were
// needed to come to n.
func (g *guess) walk(n *node, rest string, typos int) {
	if g.visits--; g.visits < 0 || typos >= g.typos {
		return
	}
	if rest == "" || rest[0] != '/' {
		g.take(n.leaf.Load(), typos)
		return
	}
	seg, next := cutSegment(rest)
	if k := n.kids.get(seg); k != nil {
		g.walk(k, next, typos)
	}
	if typos+1 < g.typos { // one more would still be better than the best
		g.kids(n, seg, next, typos)
	}
	if k := n.one.Load(); k != nil {
		g.walk(k, next, typos)
	}
	g.take(n.rest.Load(), typos)
}

// kids goes on with those children of n that are nearly seg.
func (g *guess) kids(n *node, seg, next string, typos int) {
	w := newWord(seg)
	n.kids.each(func(k *node) bool {
		g.visits--
		if k.seg != seg {
			if d := w.distance(k.seg, g.typos-1-typos); typos+d < g.typos {
				g.walk(k, next, typos+d)
			}
		}
		return g.visits > 0
	})
}

func (g *guess) take(x *entry, typos int) {
	if x == nil || typos >= g.typos {
		return
	}
	if r := x.roster.Load(); len(r.ends) > 0 {
		g.best, g.typos = r, typos
	}
}

// word is a segment or name made ready to be compared with many others: for
// each byte, at which places of the word it stands. Letters that are not ASCII
// count as several, which is good enough for a suggestion.
type word struct {
	places [256]uint64
	size   int // 0 if the word is too long to compare
}

func newWord(s string) (w word) {
	if len(s) > maxSuggestBytes {
		return w
	}
	for i := range len(s) {
		w.places[lower(s[i])] |= 1 << i
	}
	w.size = len(s)
	return w
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// distance is the number of bytes to insert, delete or replace to make s of the
// word, not counting case but at least 1; limit+1 stands for anything above
// limit. A word that must change by half or more is not near. It takes one step
// a byte of s (Myers, "A fast bit-vector algorithm for approximate string
// matching", 1999).
func (w *word) distance(s string, limit int) int {
	longest := max(w.size, len(s))
	if w.size == 0 || len(s) > maxSuggestBytes || longest-min(w.size, len(s)) > limit {
		return limit + 1
	}
	plus, minus, score, last := ^uint64(0), uint64(0), w.size, uint64(1)<<(w.size-1)
	for i := range len(s) {
		eq := w.places[lower(s[i])]
		vertical := eq | minus
		horizontal := ((eq & plus) + plus) ^ plus | eq
		up, down := minus|^(horizontal|plus), plus&horizontal
		if up&last != 0 {
			score++
		} else if down&last != 0 {
			score--
		}
		up, down = up<<1|1, down<<1
		plus, minus = down|^(vertical|up), up&vertical
	}
	if score > limit || 2*score >= longest {
		return limit + 1
	}
	return max(score, 1)
}
