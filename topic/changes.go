package topic

import (
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/message"
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
	t    *topic
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
		if g := c.one(name); len(g.m.Body) < len(best.m.Body) {
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
		g = c.t.newNote(message.VerbUpdate, c.f.m.Epoch, c.f.m.Offset)
		g.m.To, g.m.Publisher, g.m.Body, g.m.ContentType = c.f.m.To, c.f.m.Publisher, body, []byte(contentType)
	}
	c.made[name] = g
	return g
}

func (c *changes) compute(name string) (body []byte, contentType string, ok bool) {
	if c.old.rest().contentType != "" || c.f.m.ContentType != nil {
		return nil, "", false
	}
	old, now := c.old.body, c.f.m.Body
	switch key, rows := strings.CutPrefix(name, rowsOf); {
	case rows:
		body, ok = delta.Rows(old, now, key)
		return body, delta.RowsType, ok
	case name == "merge":
		body, ok = delta.Merge(old, now)
		return body, delta.MergeType, ok
	default:
		body, ok = delta.Patch(old, now)
		return body, delta.PatchType, ok
	}
}

// release puts back what was made; the frame itself stays.
func (c *changes) release() {
	for _, g := range c.made {
		if g != c.f {
			g.done()
		}
	}
}
