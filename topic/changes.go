package topic

import (
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/topic/delta"
)

// deltas are the changes that a watcher understands, in the order in which they
// are tried. Most understand the same, and share the slice.
type deltas = *[]string

const (
	// rowsOf is how a watcher asks for changes of rows that have a key column …
	rowsOf = "rows:"
	// … and rowsByID how, if that is "id".
	rowsByID = "rows"
)

// common are what watchers ask for again and again.
var common = [][]string{{"merge"}, {"patch"}, {"merge", "patch"}} //nolint:gochecknoglobals // a table

// deltasOf reads what a watcher asks for; what nobody knows is left out.
func deltasOf(names []string) deltas {
	var known []string
	for _, n := range names {
		if n == rowsByID {
			n = rowsOf + "id"
		}
		key, rows := strings.CutPrefix(n, rowsOf)
		if (n == "merge" || n == "patch" || (rows && key != "" && len(key) <= 128)) && !slices.Contains(known, n) && len(known) < 4 {
			known = append(known, n)
		}
	}
	if len(known) == 0 {
		return nil
	}
	for i := range common {
		if slices.Equal(common[i], known) {
			return &common[i]
		}
	}
	return &known
}

// changes makes, once for all who want the same, the smallest that brings who
// has seen old to what f has.
type changes struct {
	old  *event
	f    *frame
	made map[string]*frame // by how it is asked for; f itself if nothing is smaller
}

// maxKeys bounds in how many ways one change is computed.
const maxKeys = 8

// of returns the best frame for a watcher.
func (c *changes) of(d deltas) *frame {
	best := c.f
	for _, name := range *d {
		if g := c.one(name); len(g.body) < len(best.body) {
			best = g
		}
	}
	return best
}

func (c *changes) one(name string) *frame {
	if g := c.made[name]; g != nil {
		return g
	}
	if c.made == nil {
		c.made = make(map[string]*frame, 1)
	}
	if len(c.made) >= maxKeys {
		return c.f
	}
	g := c.f
	if body, contentType, ok := c.compute(name); ok {
		e := *c.f.event
		e.body, e.contentType = body, contentType
		g = newFrame(&e, c.f.topic)
	}
	c.made[name] = g
	return g
}

func (c *changes) compute(name string) (body []byte, contentType string, ok bool) {
	if c.old.contentType != "" || c.f.contentType != "" {
		return nil, "", false
	}
	switch key, rows := strings.CutPrefix(name, rowsOf); {
	case rows:
		body, ok = delta.Rows(c.old.body, c.f.event.body, key)
		return body, delta.RowsType, ok
	case name == "merge":
		body, ok = delta.Merge(c.old.body, c.f.event.body)
		return body, delta.MergeType, ok
	default:
		body, ok = delta.Patch(c.old.body, c.f.event.body)
		return body, delta.PatchType, ok
	}
}

// release gives back what was made; the frame itself stays.
func (c *changes) release() {
	for _, g := range c.made {
		if g != c.f {
			g.release()
		}
	}
}
