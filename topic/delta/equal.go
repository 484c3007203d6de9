package delta

import (
	"bytes"
	"unsafe"
)

// finder finds the members of an object. Keys that are asked for in about the
// order of the object are found at once.
type finder struct {
	d   *doc
	obj int32
	cur int32            // the key to look at first
	all map[string]int32 // of many keys, made when first needed
}

func (d *doc) finder(obj int32) finder { return finder{d: d, obj: obj, cur: obj + 1} }

// find returns the node of the value whose key says the same as the string k of
// doc o, or 0.
func (f *finder) find(o *doc, k int32) int32 {
	end := f.d.nodes[f.obj].next
	if f.cur < end && f.d.sameText(f.cur, o, k) {
		return f.hit(f.cur)
	}
	if f.d.nodes[f.obj].n > fewKeys {
		if f.all == nil {
			f.all = make(map[string]int32, f.d.nodes[f.obj].n)
			for key := f.obj + 1; key < end; key = f.d.after(key) {
				f.all[str(f.d.text8(key))] = key
			}
		}
		if key, ok := f.all[str(o.text8(k))]; ok {
			return f.hit(key)
		}
		return 0
	}
	for key := f.obj + 1; key < end; key = f.d.after(key) {
		if f.d.sameText(key, o, k) {
			return f.hit(key)
		}
	}
	return 0
}

func (f *finder) hit(key int32) int32 {
	f.cur = f.d.after(key)
	return key + 1
}

// str is a string of bytes that are not changed as long as it is used.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// equal reports whether two values mean the same: strings whatever their
// escapes, objects whatever the order of their members. Numbers have to be
// written alike, unless loose is true.
func (d *doc) equal(a int32, o *doc, b int32, loose bool) bool {
	if bytes.Equal(d.raw(a), o.raw(b)) {
		return true
	}
	x, y := &d.nodes[a], &o.nodes[b]
	if x.kind != y.kind || x.n != y.n {
		return false
	}
	switch x.kind {
	case text:
		return (x.escaped || y.escaped) && d.sameText(a, o, b)
	case number:
		return loose && sameNumber(d.raw(a), o.raw(b))
	case array:
		f := b + 1
		for e := a + 1; e < x.next; e = d.nodes[e].next {
			if !d.equal(e, o, f, loose) {
				return false
			}
			f = o.nodes[f].next
		}
		return true
	case object:
		in := o.finder(b)
		for k := a + 1; k < x.next; k = d.after(k) {
			v := in.find(d, k)
			if v == 0 || !d.equal(k+1, o, v, loose) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// alike reports whether two values are most likely equal. It costs nothing when
// it is asked again.
func (d *doc) alike(a int32, o *doc, b int32) bool {
	if bytes.Equal(d.raw(a), o.raw(b)) {
		return true
	}
	x, y := &d.nodes[a], &o.nodes[b]
	return x.kind == y.kind && x.n == y.n && d.hash(a) == o.hash(b)
}
