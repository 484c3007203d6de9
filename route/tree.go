package route

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// seed is that of the hash over segments. It differs in every process, so that
// nobody can choose segments that collide.
var seed = maphash.MakeSeed()

// node is one segment of the patterns in a table; the first level are the names
// of services. Any number of goroutines may read the tree while one changes it:
// what a reader follows are atomic pointers only.
type node struct {
	seg    string
	parent *node
	kids   kids                  // literal segments
	one    atomic.Pointer[node]  // {name} and *
	rest   atomic.Pointer[entry] // ** here
	leaf   atomic.Pointer[entry] // a pattern that ends here
}

func (n *node) empty() bool {
	return n.kids.count == 0 && n.one.Load() == nil && n.rest.Load() == nil && n.leaf.Load() == nil
}

// grow returns the node for a shape below n, with the pointer that is to hold
// its entry. Only the writer calls it.
func (n *node) grow(shape string) (*node, *atomic.Pointer[entry]) {
	for rest := trimSlash(shape); rest != ""; {
		var seg string
		seg, rest = cutSegment(rest)
		switch seg {
		case wildRest:
			return n, &n.rest
		case wildOne:
			next := n.one.Load()
			if next == nil {
				next = &node{seg: wildOne, parent: n}
				n.one.Store(next)
			}
			n = next
		default:
			n = n.child(seg)
		}
	}
	return n, &n.leaf
}

// child returns the literal child seg and makes it if need be.
func (n *node) child(seg string) *node {
	k := n.kids.get(seg)
	if k == nil {
		k = &node{seg: strings.Clone(seg), parent: n}
		n.kids.add(k)
	}
	return k
}

// find returns what holds the entry of a shape below n, or nil.
func (n *node) find(shape string) *atomic.Pointer[entry] {
	for rest := trimSlash(shape); rest != ""; {
		var seg string
		seg, rest = cutSegment(rest)
		switch seg {
		case wildRest:
			return &n.rest
		case wildOne:
			n = n.one.Load()
		default:
			n = n.kids.get(seg)
		}
		if n == nil {
			return nil
		}
	}
	return &n.leaf
}

// prune takes n and its ancestors out of the tree as far as they are empty.
func (n *node) prune() {
	for n.parent != nil && n.empty() {
		p := n.parent
		if p.one.Load() == n {
			p.one.Store(nil)
		} else {
			p.kids.remove(n.seg)
		}
		n = p
	}
}

// kids is a hash table of nodes by segment. Readers take no lock and never
// wait; there is one writer at a time. A change touches one chain; when the
// table is resized, readers of the old one still see a complete table.
type kids struct {
	table atomic.Pointer[buckets]
	count int // of the writer
}

type buckets struct {
	chains []atomic.Pointer[link] // a power of two
}

// link is one node in a chain. It belongs to one table, because a reader may
// still be on the chain of an old one.
type link struct {
	hash uint64
	node *node
	next atomic.Pointer[link]
}

func (b *buckets) chain(hash uint64) *atomic.Pointer[link] {
	return &b.chains[hash&uint64(len(b.chains)-1)]
}

func (k *kids) get(seg string) *node {
	b := k.table.Load()
	if b == nil {
		return nil
	}
	hash := maphash.String(seed, seg)
	for l := b.chain(hash).Load(); l != nil; l = l.next.Load() {
		if l.hash == hash && l.node.seg == seg {
			return l.node
		}
	}
	return nil
}

// each calls f for the nodes, in no order, until it returns false, and reports
// whether it never did. Nodes that come or go meanwhile may be missed.
func (k *kids) each(f func(*node) bool) bool {
	b := k.table.Load()
	if b == nil {
		return true
	}
	for i := range b.chains {
		for l := b.chains[i].Load(); l != nil; l = l.next.Load() {
			if !f(l.node) {
				return false
			}
		}
	}
	return true
}

func (k *kids) add(n *node) {
	if b := k.table.Load(); b == nil || k.count >= len(b.chains) {
		k.resize(max(1, 2*k.count))
	}
	k.count++
	k.table.Load().push(maphash.String(seed, n.seg), n)
}

func (b *buckets) push(hash uint64, n *node) {
	head := b.chain(hash)
	l := &link{hash: hash, node: n}
	l.next.Store(head.Load())
	head.Store(l)
}

func (k *kids) remove(seg string) {
	b := k.table.Load()
	if b == nil {
		return
	}
	hash := maphash.String(seed, seg)
	for at := b.chain(hash); ; {
		l := at.Load()
		if l == nil {
			return
		}
		if l.hash == hash && l.node.seg == seg {
			at.Store(l.next.Load())
			break
		}
		at = &l.next
	}
	k.count--
	switch size := len(b.chains); {
	case k.count == 0:
		k.table.Store(nil)
	case size >= 16 && k.count <= size/8: // far from where it grows again
		k.resize(size / 4)
	}
}

func (k *kids) resize(size int) {
	fresh := &buckets{chains: make([]atomic.Pointer[link], size)}
	if old := k.table.Load(); old != nil {
		for i := range old.chains {
			for l := old.chains[i].Load(); l != nil; l = l.next.Load() {
				fresh.push(l.hash, l.node)
			}
		}
	}
	k.table.Store(fresh)
}
