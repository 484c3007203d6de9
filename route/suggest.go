package route

import (
	"fmt"
	"strings"
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
		t.root.kids.each(func(n *node) bool {
			g.visits--
			if d := distance(a.Name, n.seg, g.typos-1); d < g.typos {
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
	return fmt.Sprintf("No service %s is known here; `ropewalk services` lists those that are.", shorten(a.Name))
}

// elsewhere finds a service of any name that serves a path.
func (t *Table) elsewhere(path string) *roster {
	if path == "" || path[0] != '/' {
		return nil
	}
	s := search{visits: maxSuggestVisits}
	t.root.kids.each(func(n *node) bool { return !s.walk(n, path) && s.visits > 0 })
	return s.found
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
	n.kids.each(func(k *node) bool {
		g.visits--
		if k.seg != seg {
			if d := distance(seg, k.seg, g.typos-1-typos); typos+d < g.typos {
				g.walk(k, next, typos+d)
			}
		}
		return g.visits > 0
	})
	if k := n.one.Load(); k != nil {
		g.walk(k, next, typos)
	}
	g.take(n.rest.Load(), typos)
}

func (g *guess) take(x *entry, typos int) {
	if x == nil || typos >= g.typos {
		return
	}
	if r := x.roster.Load(); len(r.ends) > 0 {
		g.best, g.typos = r, typos
	}
}

// distance is the number of letters to insert, delete or replace to make b of
// a, not counting case; limit+1 stands for anything above limit. Words that
// have nothing in common are never near: a word may change by less than half.
func distance(a, b string, limit int) int {
	if limit < 0 || len(a) > maxSuggestBytes || len(b) > maxSuggestBytes {
		return limit + 1
	}
	if strings.EqualFold(a, b) {
		return min(1, limit+1)
	}
	var bufA, bufB [maxSuggestBytes]rune
	x, y := appendLower(bufA[:0], a), appendLower(bufB[:0], b)
	longest := max(len(x), len(y))
	if limit = min(limit, maxTypos); longest-min(len(x), len(y)) > limit {
		return maxTypos + 1
	}
	var row [maxSuggestBytes + 1]int
	for j := range len(y) + 1 {
		row[j] = j
	}
	for i, r := range x {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j, s := range y {
			cost := 1
			if r == s {
				cost = 0
			}
			here := min(diagonal+cost, row[j]+1, row[j+1]+1)
			diagonal, row[j+1] = row[j+1], here
			least = min(least, here)
		}
		if least > limit {
			return maxTypos + 1
		}
	}
	if d := row[len(y)]; d <= limit && 2*d < longest {
		return d
	}
	return maxTypos + 1
}

func appendLower(dst []rune, s string) []rune {
	for _, r := range strings.ToLower(s) {
		dst = append(dst, r)
	}
	return dst
}
