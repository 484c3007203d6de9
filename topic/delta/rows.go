package delta

import "slices"

// Rows returns the change of rows that makes after of before: two arrays of
// objects, in which the member called key tells the rows apart. It is a string,
// or a whole number of at most 15 digits, so that every client can compare it.
// The change is not ok if the contents are not like that, or if it is not
// smaller than after.
func Rows(before, after []byte, key string) (change []byte, ok bool) {
	o, n, ok := parseBoth(before, after)
	if !ok {
		return nil, false
	}
	defer o.free()
	defer n.free()
	r := rower{limit: len(after)}
	if r.o, ok = rowsOf(o, 0, key); !ok {
		return nil, false
	}
	if r.n, ok = rowsOf(n, 0, key); !ok || !r.match() {
		return nil, false
	}
	r.write(key)
	if len(r.dst) >= len(after) {
		return nil, false
	}
	return r.dst, true
}

// row is an element of an array of rows: the nodes of itself and of its key.
type row struct{ id, key int32 }

// rows are the elements of an array.
type rows struct {
	d   *doc
	all []row
}

// name is the key of a row for comparing: a string begins with its quote, a
// number does not.
func (r *rows) name(i int) string { return r.d.keyName(r.all[i].key) }

func (d *doc) keyName(id int32) string {
	if d.nodes[id].escaped {
		return `"` + str(d.text8(id)) + `"`
	}
	return str(d.raw(id))
}

// isKey reports whether a value can be the key of a row.
func (d *doc) isKey(id int32) bool {
	switch raw := d.raw(id); d.nodes[id].kind {
	case text:
		return true
	case number:
		const most = 15 // digits that a JavaScript number keeps
		if raw[0] == '-' {
			raw = raw[1:]
			if raw[0] == '0' {
				return false
			}
		}
		return len(raw) <= most && !slices.ContainsFunc(raw, func(c byte) bool { return c-'0' > 9 })
	default:
		return false
	}
}

// rowsOf returns the rows of the array at id.
func rowsOf(d *doc, id int32, key string) (rows, bool) {
	r := rows{d: d}
	if d.nodes[id].kind != array {
		return r, false
	}
	r.all = make([]row, 0, d.nodes[id].n)
	for e := id + 1; e < d.nodes[id].next; e = d.nodes[e].next {
		at := d.keyOf(e, key)
		if at == 0 {
			return r, false
		}
		r.all = append(r.all, row{id: e, key: at})
	}
	return r, true
}

// keyOf returns the node of the key of a row, 0 if it has none.
func (d *doc) keyOf(id int32, key string) int32 {
	if d.nodes[id].kind != object {
		return 0
	}
	for k := id + 1; k < d.nodes[id].next; k = d.after(k) {
		if str(d.text8(k)) == key {
			if d.isKey(k + 1) {
				return k + 1
			}
			return 0
		}
	}
	return 0
}

// rower writes a change of rows.
type rower struct {
	o, n  rows
	was   []int32 // of each new row: its place in the old ones, or -1
	kept  []bool  // of each old row
	dst   []byte
	limit int
}

// match finds the old row of each new one. It is false if two rows have the
// same key.
func (r *rower) match() bool {
	old := make(map[string]int32, len(r.o.all))
	for i := range r.o.all {
		old[r.o.name(i)] = int32(i)
	}
	if len(old) != len(r.o.all) {
		return false
	}
	added := map[string]bool{}
	r.was, r.kept = make([]int32, len(r.n.all)), make([]bool, len(r.o.all))
	for i := range r.n.all {
		name := r.n.name(i)
		at, ok := old[name]
		switch {
		case ok && !r.kept[at]:
			r.was[i], r.kept[at] = at, true
		case ok || added[name]:
			return false
		default:
			r.was[i], added[name] = -1, true
		}
	}
	return true
}

func (r *rower) write(key string) {
	r.dst = append(append(r.dst, `{"key":`...), quoted(key)...)
	first := true
	item := func(name string, raw []byte) {
		if first {
			r.dst = append(append(append(r.dst, `,"`...), name...), `":[`...)
		} else {
			r.dst = append(r.dst, ',')
		}
		first = false
		r.dst = append(r.dst, raw...)
	}
	shut := func() {
		if !first {
			r.dst = append(r.dst, ']')
		}
		first = true
	}
	for i, row := range r.o.all {
		if !r.kept[i] {
			item("remove", r.o.d.raw(row.key))
		}
	}
	shut()
	for i, row := range r.n.all {
		if at := r.was[i]; at >= 0 && r.o.d.equal(r.o.all[at].id, r.n.d, row.id, false) {
			continue
		}
		if item("set", r.n.d.raw(row.id)); len(r.dst) >= r.limit {
			return
		}
	}
	shut()
	from, to := r.moved()
	for i := from; i < to; i++ {
		item("order", r.n.d.raw(r.n.all[i].key))
	}
	shut()
	if from < to && from > 0 {
		r.dst = appendInt(append(r.dst, `,"from":`...), from)
	}
	r.dst = append(r.dst, '}')
}

// moved returns the shortest run of new rows without which the others are in the
// order that they have when rows were removed and set.
func (r *rower) moved() (from, to int) {
	// place is the order before moving: new rows come last.
	place := slices.Clone(r.was)
	next := int32(len(r.o.all))
	for i, at := range place {
		if at < 0 {
			place[i] = next
			next++
		}
	}
	head := 0 // place[:head] is in order
	for head < len(place) && (head == 0 || place[head] > place[head-1]) {
		head++
	}
	if head == len(place) {
		return 0, 0
	}
	tail := len(place) // place[tail:] is in order
	for tail > 0 && (tail == len(place) || place[tail-1] < place[tail]) {
		tail--
	}
	from, to = 0, tail
	for i, j := 1, tail; i <= head; i++ {
		for j < len(place) && place[j] <= place[i-1] {
			j++
		}
		if j = max(j, i); j-i < to-from {
			from, to = i, j
		}
	}
	return from, to
}
