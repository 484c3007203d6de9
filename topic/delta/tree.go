package delta

import "slices"

// tree is a value that is being patched. What nothing was done to stays a node
// of its doc.
type tree struct {
	d    *doc
	id   int32
	open bool // it is in elems or members, no longer in d
	kind kind

	elems   []*tree
	members []*member
	index   map[string]*member // of many members
}

// member of an object. It is dead if it was removed.
type member struct {
	key   string // what it says
	raw   []byte // as JSON
	value *tree
	dead  bool
}

func (d *doc) tree(id int32) *tree { return &tree{d: d, id: id, kind: d.nodes[id].kind} }

// expand makes elements or members of an array or object.
func (t *tree) expand() {
	if t.open || t.kind < array {
		return
	}
	t.open = true
	n := &t.d.nodes[t.id]
	if t.kind == array {
		all := make([]tree, 0, n.n)
		t.elems = make([]*tree, 0, n.n)
		for e := t.id + 1; e < n.next; e = t.d.nodes[e].next {
			all = append(all, *t.d.tree(e))
			t.elems = append(t.elems, &all[len(all)-1])
		}
		return
	}
	all := make([]member, 0, n.n)
	t.members = make([]*member, 0, n.n)
	for k := t.id + 1; k < n.next; k = t.d.after(k) {
		all = append(all, member{key: str(t.d.text8(k)), raw: t.d.raw(k), value: t.d.tree(k + 1)})
		t.members = append(t.members, &all[len(all)-1])
	}
}

// find returns a member or nil.
func (t *tree) find(key string) *member {
	t.expand()
	if len(t.members) > fewKeys && t.index == nil {
		t.index = make(map[string]*member, len(t.members))
		for _, m := range t.members {
			if !m.dead {
				t.index[m.key] = m
			}
		}
	}
	if t.index != nil {
		return t.index[key]
	}
	for _, m := range t.members {
		if m.key == key && !m.dead {
			return m
		}
	}
	return nil
}

func (t *tree) put(key string, raw []byte, v *tree) {
	if m := t.find(key); m != nil {
		m.value = v
		return
	}
	m := &member{key: key, raw: raw, value: v}
	t.members = append(t.members, m)
	if t.index != nil {
		t.index[key] = m
	}
}

func (t *tree) drop(m *member) {
	m.dead = true
	if t.index != nil {
		delete(t.index, m.key)
	}
}

// appendTo writes the value as JSON. It is not ok if that is nested too deeply
// or longer than limit.
func (t *tree) appendTo(dst []byte, depth, limit int) ([]byte, bool) {
	if len(dst) > limit {
		return dst, false
	}
	if !t.open {
		// What was parsed may be as deep as it may be, but not below others.
		raw := t.d.raw(t.id)
		if depth+len(raw)/2 > maxDepth && depth > 0 && depth+t.d.depth(t.id) > maxDepth {
			return dst, false
		}
		dst = append(dst, raw...)
		return dst, len(dst) <= limit
	}
	if depth >= maxDepth {
		return dst, false
	}
	var ok bool
	if t.kind == array {
		dst = append(dst, '[')
		for i, e := range t.elems {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, ok = e.appendTo(dst, depth+1, limit); !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	}
	dst = append(dst, '{')
	empty := len(dst)
	for _, m := range t.members {
		if m.dead {
			continue
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = append(append(dst, m.raw...), ':')
		if dst, ok = m.value.appendTo(dst, depth+1, limit); !ok {
			return dst, false
		}
	}
	return append(dst, '}'), true
}

// depth returns how deep a value is nested.
func (d *doc) depth(id int32) int {
	var ends []int32 // of the arrays and objects that are open
	deepest := 0
	for i := id; i < d.nodes[id].next; i++ {
		for len(ends) > 0 && i >= ends[len(ends)-1] {
			ends = ends[:len(ends)-1]
		}
		if d.nodes[i].kind >= array {
			ends = append(ends, d.nodes[i].next)
			deepest = max(deepest, len(ends))
		}
	}
	return deepest
}

// insert puts v before element i.
func (t *tree) insert(i int, v *tree) { t.elems = slices.Insert(t.elems, i, v) }
