package delta

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"unicode/utf8"
)

// maxDepth is how deep values may be nested, as in package message. It bounds
// the recursion of everything here.
const maxDepth = 512

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	array
	object
)

// node is a value in a [doc], or the key of a member. The children of an array
// follow it; those of an object are key, value, key, value and so on.
type node struct {
	start, end int32 // the bytes, of a string with quotes
	next       int32 // the node after this one and all below it
	n          int32 // elements or members
	kind       kind
	escaped    bool // a string with an escape
}

// doc is parsed JSON. Node 0 is the whole.
type doc struct {
	b     []byte
	nodes []node
	// hashes of nodes, 0 for those not computed; made when first needed.
	hashes []uint64
	keys   []uint64 // scratch of distinct
}

var docs = sync.Pool{New: func() any { return new(doc) }}

// maxKept is how many nodes a doc may have to be used again, so that one large
// content does not hold memory for ever.
const maxKept = 1 << 16

func (d *doc) free() {
	if cap(d.nodes) > maxKept {
		return
	}
	d.b = nil
	d.nodes, d.hashes, d.keys = d.nodes[:0], d.hashes[:0], d.keys[:0]
	docs.Put(d)
}

// parse reads one JSON value with blanks around it. The doc, which refers to b,
// has to be freed.
func parse(b []byte) (*doc, error) {
	if len(b) > math.MaxInt32/2 {
		return nil, invalidf("%d bytes are too many", len(b))
	}
	if !utf8.Valid(b) {
		return nil, invalidf("not UTF-8")
	}
	d, _ := docs.Get().(*doc)
	d.b = b
	i, err := d.value(skip(b, 0), 0)
	if err == nil && skip(b, i) != len(b) {
		err = d.syntax(skip(b, i))
	}
	if err != nil {
		d.free()
		return nil, err
	}
	return d, nil
}

func (d *doc) syntax(i int) error {
	if i >= len(d.b) {
		return invalidf("the JSON ends too early")
	}
	return invalidf("not JSON at byte %d", i)
}

func skip(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// value reads the value at i and returns where it ends.
func (d *doc) value(i, depth int) (int, error) {
	if i >= len(d.b) {
		return i, d.syntax(i)
	}
	switch d.b[i] {
	case '{':
		return d.object(i, depth+1)
	case '[':
		return d.array(i, depth+1)
	case '"':
		return d.text(i)
	case 't':
		return d.word(i, "true", boolean)
	case 'f':
		return d.word(i, "false", boolean)
	case 'n':
		return d.word(i, "null", null)
	default:
		return d.number(i)
	}
}

func (d *doc) leaf(k kind, start, end int, escaped bool) int {
	id := len(d.nodes)
	d.nodes = append(d.nodes, node{start: int32(start), end: int32(end), next: int32(id + 1), kind: k, escaped: escaped})
	return end
}

func (d *doc) word(i int, word string, k kind) (int, error) {
	if !bytes.HasPrefix(d.b[i:], []byte(word)) {
		return i, d.syntax(i)
	}
	return d.leaf(k, i, i+len(word), false), nil
}

func (d *doc) number(start int) (int, error) {
	i := start
	if d.at(i, '-') {
		i++
	}
	whole := digits(d.b, i)
	if whole == i || d.b[i] == '0' && whole > i+1 {
		return i, d.syntax(i)
	}
	if i = whole; d.at(i, '.') {
		end := digits(d.b, i+1)
		if end == i+1 {
			return end, d.syntax(end)
		}
		i = end
	}
	if d.at(i, 'e') || d.at(i, 'E') {
		i++
		if d.at(i, '+') || d.at(i, '-') {
			i++
		}
		end := digits(d.b, i)
		if end == i {
			return end, d.syntax(end)
		}
		i = end
	}
	return d.leaf(number, start, i, false), nil
}

func (d *doc) at(i int, c byte) bool { return i < len(d.b) && d.b[i] == c }

// digits returns where the digits at i end.
func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

func (d *doc) text(start int) (int, error) {
	escaped := false
	for i := start + 1; i < len(d.b); {
		switch c := d.b[i]; {
		case c == '"':
			return d.leaf(text, start, i+1, escaped), nil
		case c == '\\':
			n := escapeLen(d.b[i:])
			if n == 0 {
				return i, d.syntax(i)
			}
			escaped = true
			i += n
		case c < ' ':
			return i, d.syntax(i)
		default:
			i++
		}
	}
	return len(d.b), d.syntax(len(d.b))
}

// open appends the node of an array or object, which is finished by shut.
func (d *doc) open(k kind, i, depth int) (int, error) {
	if depth > maxDepth {
		return 0, invalidf("nested deeper than %d levels", maxDepth)
	}
	id := len(d.nodes)
	d.nodes = append(d.nodes, node{start: int32(i), kind: k})
	return id, nil
}

func (d *doc) shut(id, end int, n int32) int {
	d.nodes[id].end, d.nodes[id].next, d.nodes[id].n = int32(end), int32(len(d.nodes)), n
	return end
}

func (d *doc) array(i, depth int) (int, error) {
	id, err := d.open(array, i, depth)
	if err != nil {
		return i, err
	}
	if i = skip(d.b, i+1); i < len(d.b) && d.b[i] == ']' {
		return d.shut(id, i+1, 0), nil
	}
	for n := int32(1); ; n++ {
		if i, err = d.value(i, depth); err != nil {
			return i, err
		}
		i = skip(d.b, i)
		switch {
		case i < len(d.b) && d.b[i] == ',':
			i = skip(d.b, i+1)
		case i < len(d.b) && d.b[i] == ']':
			return d.shut(id, i+1, n), nil
		default:
			return i, d.syntax(i)
		}
	}
}

func (d *doc) object(i, depth int) (int, error) {
	id, err := d.open(object, i, depth)
	if err != nil {
		return i, err
	}
	if i = skip(d.b, i+1); i < len(d.b) && d.b[i] == '}' {
		return d.shut(id, i+1, 0), nil
	}
	for n := int32(1); ; n++ {
		if i >= len(d.b) || d.b[i] != '"' {
			return i, d.syntax(i)
		}
		if i, err = d.text(i); err != nil {
			return i, err
		}
		if i = skip(d.b, i); i >= len(d.b) || d.b[i] != ':' {
			return i, d.syntax(i)
		}
		if i, err = d.value(skip(d.b, i+1), depth); err != nil {
			return i, err
		}
		i = skip(d.b, i)
		switch {
		case i < len(d.b) && d.b[i] == ',':
			i = skip(d.b, i+1)
		case i < len(d.b) && d.b[i] == '}':
			d.shut(id, i+1, n)
			return i + 1, d.distinct(int32(id))
		default:
			return i, d.syntax(i)
		}
	}
}

// fewKeys is up to how many keys are compared each with each: faster than to
// hash them.
const fewKeys = 16

// distinct checks that an object has no key twice: what that means differs
// between those who read it.
func (d *doc) distinct(obj int32) error {
	twice := func(key int32) error {
		return invalidf("the key %.80s is twice in one object", d.raw(key))
	}
	if d.nodes[obj].n <= fewKeys {
		// Two keys without escapes that differ in a bit of seen need no look.
		var seen uint64
		for k := obj + 1; k < d.nodes[obj].next; k = d.after(k) {
			n := &d.nodes[k]
			bit := uint64(1) << ((d.b[n.start+1]*3 ^ d.b[n.end-2] ^ byte(n.end-n.start)*5) & 63)
			if seen&bit != 0 || n.escaped {
				for o := obj + 1; o < d.nodes[obj].next; o = d.after(o) {
					if o != k && d.sameText(o, d, k) {
						return twice(k)
					}
				}
			}
			seen |= bit
		}
		return nil
	}
	d.keys = d.keys[:0]
	for k := obj + 1; k < d.nodes[obj].next; k = d.after(k) {
		d.keys = append(d.keys, maphash.Bytes(seed, d.text8(k)))
	}
	slices.Sort(d.keys)
	for i := 1; i < len(d.keys); i++ {
		if d.keys[i] == d.keys[i-1] {
			return twice(obj + 1)
		}
	}
	return nil
}

// after returns the key that follows the member of a key.
func (d *doc) after(key int32) int32 { return d.nodes[key+1].next }

// raw returns the bytes of a value as they stand there.
func (d *doc) raw(id int32) []byte {
	n := &d.nodes[id]
	return d.b[n.start:n.end:n.end]
}

// seed makes the hashes of this process unknown to others.
var seed = maphash.MakeSeed()

// hash returns a hash that equal values have in common.
func (d *doc) hash(id int32) uint64 {
	if len(d.hashes) < len(d.nodes) {
		d.hashes = slices.Grow(d.hashes[:0], len(d.nodes))[:len(d.nodes)]
		clear(d.hashes)
	}
	if d.hashes[id] != 0 {
		return d.hashes[id]
	}
	var h uint64
	switch n := &d.nodes[id]; n.kind {
	case text:
		h = mix(uint64(text), maphash.Bytes(seed, d.text8(id)))
	case array:
		h = uint64(array)
		for e := id + 1; e < n.next; e = d.nodes[e].next {
			h = mix(h, d.hash(e))
		}
	case object:
		// A sum, because the order of members does not matter.
		for k := id + 1; k < n.next; k = d.after(k) {
			h += mix(maphash.Bytes(seed, d.text8(k)), d.hash(k+1))
		}
		h = mix(uint64(object), h)
	default:
		h = maphash.Bytes(seed, d.raw(id))
	}
	d.hashes[id] = h | 1 // never 0
	return h | 1
}

func mix(a, b uint64) uint64 {
	h := (a<<7 | a>>57) ^ b
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}
