package delta

import (
	"slices"
	"strconv"
)

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }

// ApplyRows applies a change of rows. Rows that it does not mention are kept
// byte by byte. The error wraps [ErrInvalid] or [ErrMismatch].
func ApplyRows(content, change []byte) ([]byte, error) {
	c, err := parse(change)
	if err != nil {
		return nil, err
	}
	defer c.free()
	a := rowApplier{c: c}
	if err := a.read(); err != nil {
		return nil, err
	}
	t, err := parse(content)
	if err != nil {
		return nil, err
	}
	defer t.free()
	if err := a.load(t); err != nil {
		return nil, err
	}
	if err := a.removeAndSet(); err != nil {
		return nil, err
	}
	list, err := a.order()
	if err != nil {
		return nil, err
	}
	dst := append(make([]byte, 0, len(content)+len(change)), '[')
	for i, r := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r.raw...)
	}
	return append(dst, ']'), nil
}

// liveRow is a row while a change is applied.
type liveRow struct {
	raw []byte
	// gone is set when it was removed, touched when it was set, moved when it
	// was taken out for its new place.
	gone, touched, moved bool
}

type rowApplier struct {
	c    *doc
	key  string
	from int
	// The nodes of the arrays of c, 0 where there is none.
	removes, sets, moves int32

	rows  []*liveRow
	named map[string]*liveRow
}

// read reads the change itself.
func (a *rowApplier) read() error {
	if a.c.nodes[0].kind != object {
		return invalidf("a change of rows is an object")
	}
	hasKey := false
	for k := int32(1); k < a.c.nodes[0].next; k = a.c.after(k) {
		v := k + 1
		want, list := array, (*int32)(nil)
		switch str(a.c.text8(k)) {
		case "key":
			want, hasKey = text, true
		case "from":
			want = number
		case "remove":
			list = &a.removes
		case "set":
			list = &a.sets
		case "order":
			list = &a.moves
		default:
			continue
		}
		if a.c.nodes[v].kind != want {
			return invalidf("%s is of the wrong type", a.c.raw(k))
		}
		switch {
		case list != nil:
			*list = v
		case want == text:
			a.key = str(a.c.text8(v))
		default:
			n, err := strconv.Atoi(str(a.c.raw(v)))
			if err != nil || n < 0 {
				return invalidf("from is %.40s", a.c.raw(v))
			}
			a.from = n
		}
	}
	if !hasKey {
		return invalidf("the change does not say which key the rows have")
	}
	return nil
}

func (a *rowApplier) load(t *doc) error {
	r, ok := rowsOf(t, 0, a.key)
	if !ok {
		return mismatchf("the content has no rows with the key %.80q", a.key)
	}
	a.rows = make([]*liveRow, len(r.all))
	a.named = make(map[string]*liveRow, len(r.all))
	all := make([]liveRow, len(r.all))
	for i, row := range r.all {
		all[i].raw = t.raw(row.id)
		a.rows[i] = &all[i]
		a.named[r.name(i)] = &all[i]
	}
	if len(a.named) != len(a.rows) {
		return mismatchf("two rows of the content have the same key")
	}
	return nil
}

// list returns the elements of an array of the change.
func (a *rowApplier) list(id int32) []int32 {
	if id == 0 {
		return nil
	}
	return a.c.appendChildren(make([]int32, 0, a.c.nodes[id].n), id)
}

// row returns the row with a key.
func (a *rowApplier) row(key int32) (*liveRow, error) {
	if !a.c.isKey(key) {
		return nil, invalidf("%.80s cannot be the key of a row", a.c.raw(key))
	}
	if r := a.named[a.c.keyName(key)]; r != nil && !r.gone {
		return r, nil
	}
	return nil, mismatchf("there is no row with the key %.80s", a.c.raw(key))
}

func (a *rowApplier) removeAndSet() error {
	for _, key := range a.list(a.removes) {
		r, err := a.row(key)
		if err != nil {
			return err
		}
		r.gone = true
	}
	a.rows = slices.DeleteFunc(a.rows, func(r *liveRow) bool { return r.gone })
	for _, id := range a.list(a.sets) {
		key := a.c.keyOf(id, a.key)
		if key == 0 {
			return invalidf("a row that is set has no key")
		}
		name := a.c.keyName(key)
		r := a.named[name]
		if r == nil || r.gone {
			r = &liveRow{}
			a.named[name] = r
			a.rows = append(a.rows, r)
		}
		if r.touched {
			return invalidf("the row with the key %.80s is set twice", a.c.raw(key))
		}
		r.raw, r.touched = a.c.raw(id), true
	}
	return nil
}

// order returns all rows in their new order.
func (a *rowApplier) order() ([]*liveRow, error) {
	keys := a.list(a.moves)
	if len(keys) == 0 {
		return a.rows, nil
	}
	block := make([]*liveRow, 0, len(keys))
	for _, key := range keys {
		r, err := a.row(key)
		if err != nil {
			return nil, err
		}
		if r.moved {
			return nil, invalidf("the row with the key %.80s is ordered twice", a.c.raw(key))
		}
		r.moved = true
		block = append(block, r)
	}
	rest := slices.DeleteFunc(a.rows, func(r *liveRow) bool { return r.moved })
	if a.from > len(rest) {
		return nil, mismatchf("there are only %d rows before those that are ordered", len(rest))
	}
	return slices.Insert(rest, a.from, block...), nil
}
