package delta

import (
	"slices"
	"strconv"
)

// Patch returns a JSON Patch of the operations add, remove and replace that
// makes after of before. It is not ok if it is not smaller than after.
func Patch(before, after []byte) (patch []byte, ok bool) {
	o, n, ok := parseBoth(before, after)
	if !ok {
		return nil, false
	}
	defer o.free()
	defer n.free()
	p := patcher{o: o, n: n, dst: []byte{'['}}
	if !p.inner(0, 0, len(after)) || len(p.dst)+1 >= len(after) {
		return nil, false
	}
	return append(p.dst, ']'), true
}

// patcher writes a patch. It goes through the contents from left to right, so
// that what was patched already looks like the new content.
type patcher struct {
	o, n *doc
	dst  []byte
	path []byte  // where it is: a JSON Pointer, escaped for JSON
	ids  []int32 // stack of the elements of the arrays that are open
	// cells is the table of the longest common subsequence.
	cells []uint16
}

// Beginnings of the operations, up to the path.
const (
	opAdd     = `{"op":"add","path":"`
	opRemove  = `{"op":"remove","path":"`
	opReplace = `{"op":"replace","path":"`
	opValue   = `","value":`
)

func (p *patcher) op(start string) {
	if len(p.dst) > 1 {
		p.dst = append(p.dst, ',')
	}
	p.dst = append(append(p.dst, start...), p.path...)
}

func (p *patcher) remove() {
	p.op(opRemove)
	p.dst = append(p.dst, `"}`...)
}

// set adds or replaces, with value b.
func (p *patcher) set(start string, b int32) {
	p.op(start)
	p.dst = append(append(append(p.dst, opValue...), p.n.raw(b)...), '}')
}

// diff writes what makes b of a, which are at the path: the changes within, or
// b as a whole if that is shorter.
func (p *patcher) diff(a, b int32) {
	if str(p.o.raw(a)) == str(p.n.raw(b)) {
		return
	}
	start := len(p.dst)
	whole := len(opReplace) + len(p.path) + len(opValue) + len(p.n.raw(b)) + len(",}")
	if !p.inner(a, b, whole) {
		p.dst = p.dst[:start]
		p.set(opReplace, b)
	}
}

// inner writes the changes within a. It is false, what it has written being of
// no use, if there is nothing within or more than limit.
func (p *patcher) inner(a, b int32, limit int) bool {
	k := p.o.nodes[a].kind
	if k != p.n.nodes[b].kind {
		return false
	}
	limit += len(p.dst)
	switch k {
	case object:
		return p.object(a, b, limit)
	case array:
		base := len(p.ids)
		ok := p.array(a, b, limit)
		p.ids = p.ids[:base]
		return ok
	default:
		return p.o.equal(a, p.n, b, false)
	}
}

func (p *patcher) object(a, b int32, limit int) bool {
	here := len(p.path)
	old := p.o.finder(a)
	kept := int32(0)
	for k := b + 1; k < p.n.nodes[b].next; k = p.n.after(k) {
		v := old.find(p.n, k)
		if v != 0 {
			kept++
		}
		if v != 0 && str(p.o.raw(v)) == str(p.n.raw(k+1)) {
			continue
		}
		p.path = p.n.appendPointer(p.path, k)
		if v == 0 {
			p.set(opAdd, k+1)
		} else {
			p.diff(v, k+1)
		}
		p.path = p.path[:here]
		if len(p.dst) > limit {
			return false
		}
	}
	if kept == p.o.nodes[a].n {
		return true
	}
	now := p.n.finder(b)
	for k := a + 1; k < p.o.nodes[a].next; k = p.o.after(k) {
		if now.find(p.o, k) == 0 {
			p.path = p.o.appendPointer(p.path, k)
			p.remove()
			p.path = p.path[:here]
		}
	}
	return len(p.dst) <= limit
}

// maxCells bounds the time and room for finding the elements that two arrays
// have in common. Beyond it elements are compared by their place.
const maxCells = 1 << 14

func (p *patcher) array(a, b int32, limit int) bool {
	from := len(p.ids)
	p.ids = p.o.appendChildren(p.ids, a)
	mid := len(p.ids)
	p.ids = p.n.appendChildren(p.ids, b)
	end := len(p.ids)
	olds, news := p.ids[from:mid:mid], p.ids[mid:end:end]

	head, tail := 0, 0
	for head < len(olds) && head < len(news) && p.o.alike(olds[head], p.n, news[head]) {
		head++
	}
	for tail < len(olds)-head && tail < len(news)-head &&
		p.o.alike(olds[len(olds)-1-tail], p.n, news[len(news)-1-tail]) {
		tail++
	}
	x, y := olds[head:len(olds)-tail], news[head:len(news)-tail]
	walk := arrayWalk{p: p, olds: olds, news: news, limit: limit}
	// What is alike is compared as well, for the rare case that it is not equal.
	if !walk.same(head) {
		return false
	}
	for _, m := range p.common(x, y) {
		if !walk.gap(head+int(m.a), head+int(m.b)) || !walk.same(1) {
			return false
		}
	}
	return walk.gap(len(olds)-tail, len(news)-tail) && walk.same(tail)
}

func (d *doc) appendChildren(ids []int32, arr int32) []int32 {
	for e := arr + 1; e < d.nodes[arr].next; e = d.nodes[e].next {
		ids = append(ids, e)
	}
	return ids
}

// arrayWalk goes through the elements of two arrays side by side. i of the old
// and j of the new ones are done; j is also the place in the patched array.
type arrayWalk struct {
	p          *patcher
	olds, news []int32
	i, j       int
	limit      int
}

func (w *arrayWalk) at(f func()) {
	here := len(w.p.path)
	w.p.path = strconv.AppendInt(append(w.p.path, '/'), int64(w.j), 10)
	f()
	w.p.path = w.p.path[:here]
}

// same goes over n pairs, writing where they differ.
func (w *arrayWalk) same(n int) bool {
	for range n {
		if a, b := w.olds[w.i], w.news[w.j]; str(w.p.o.raw(a)) != str(w.p.n.raw(b)) {
			w.at(func() { w.p.diff(a, b) })
		}
		w.i++
		w.j++
		if len(w.p.dst) > w.limit {
			return false
		}
	}
	return true
}

// gap goes on to i and j, whatever lies between.
func (w *arrayWalk) gap(i, j int) bool {
	if !w.same(min(i-w.i, j-w.j)) {
		return false
	}
	for ; w.i < i && len(w.p.dst) <= w.limit; w.i++ {
		w.at(w.p.remove)
	}
	for ; w.j < j && len(w.p.dst) <= w.limit; w.j++ {
		b := w.news[w.j]
		w.at(func() { w.p.set(opAdd, b) })
	}
	return len(w.p.dst) <= w.limit
}

// pair is the places of an element in two arrays.
type pair struct{ a, b int32 }

// common returns a longest list of pairs that are alike, in the order of both
// arrays; none if it were too much work.
func (p *patcher) common(x, y []int32) []pair {
	if len(x) == 0 || len(y) == 0 || len(x) == len(y) && len(x) == 1 || (len(x)+1)*(len(y)+1) > maxCells {
		return nil
	}
	w := len(y) + 1
	if need := (len(x) + 1) * w; cap(p.cells) < need {
		p.cells = make([]uint16, need)
	}
	// cell i, j is how many x[i:] and y[j:] have in common.
	c := p.cells[:(len(x)+1)*w]
	clear(c)
	for i := range slices.Backward(x) {
		for j := range slices.Backward(y) {
			if p.o.alike(x[i], p.n, y[j]) {
				c[i*w+j] = c[(i+1)*w+j+1] + 1
			} else {
				c[i*w+j] = max(c[(i+1)*w+j], c[i*w+j+1])
			}
		}
	}
	pairs := make([]pair, 0, c[0])
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch {
		case p.o.alike(x[i], p.n, y[j]):
			pairs = append(pairs, pair{int32(i), int32(j)})
			i++
			j++
		case c[(i+1)*w+j] >= c[i*w+j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}
