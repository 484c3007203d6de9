package git

import (
	"container/heap"
	"context"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// Who has reached a commit on the way back from two.
const (
	ofA = 1 << iota
	ofB
	stale // it is behind one that both have reached
)

// byTime is a heap of commits, the newest first.
type byTime []*commit

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].when > h[j].when }
func (h byTime) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(x any)        { *h = append(*h, x.(*commit)) } //nolint:forcetypeassert // heap.Push is called with commits
func (h *byTime) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}

// relation is how two commits are related.
type relation struct {
	base   plumbing.Hash // the newest that both have in their past; zero: none
	ahead  int           // how many only a has
	behind int           // how many only b has
}

// relate finds out how two commits are related. It looks at no more of the
// history than it has to. What is zero has no history.
func (o *objects) relate(ctx context.Context, a, b plumbing.Hash) (relation, error) {
	if a.IsZero() || b.IsZero() {
		return relation{}, nil
	}
	flags := map[plumbing.Hash]int{}
	queue := &byTime{}
	var common []*commit
	reach := func(h plumbing.Hash, f int) error {
		if flags[h]&f == f {
			return nil
		}
		c, err := o.commit(h)
		if err != nil {
			return err
		}
		flags[h] |= f
		heap.Push(queue, c)
		return nil
	}
	if err := reach(a, ofA); err != nil {
		return relation{}, err
	}
	if err := reach(b, ofB); err != nil {
		return relation{}, err
	}
	fresh := func(c *commit) bool { return flags[c.hash]&stale == 0 }
	for slices.ContainsFunc(*queue, fresh) {
		if err := ctx.Err(); err != nil {
			return relation{}, err
		}
		c := heap.Pop(queue).(*commit) //nolint:forcetypeassert // see Push
		f := flags[c.hash]
		if f == ofA|ofB {
			if !slices.Contains(common, c) {
				common = append(common, c)
			}
			f |= stale
		}
		for _, p := range c.parents {
			if err := reach(p, f); err != nil {
				return relation{}, err
			}
		}
	}
	var r relation
	for _, f := range flags {
		switch f {
		case ofA:
			r.ahead++
		case ofB:
			r.behind++
		}
	}
	common = slices.DeleteFunc(common, func(c *commit) bool { return !fresh(c) })
	var err error
	r.base, err = o.newest(ctx, common)
	return r, err
}

// newest returns one of several commits that is in the past of none of the
// others. That they are not known to be stale does not say that they are not: of
// commits that were made in the same second any may be looked at first.
func (o *objects) newest(ctx context.Context, list []*commit) (plumbing.Hash, error) {
	if len(list) == 0 {
		return plumbing.ZeroHash, nil
	}
	best := list[0]
	for _, c := range list[1:] {
		behind, err := o.inPast(ctx, best, c)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if behind {
			best = c
		}
	}
	return best.hash, nil
}

// skew is how far clocks may be apart: how much older than a commit one after it
// may claim to be.
const skew = 24 * 60 * 60

// inPast tells whether a commit is in the past of another.
func (o *objects) inPast(ctx context.Context, c, of *commit) (bool, error) {
	todo, known := []*commit{of}, map[plumbing.Hash]bool{}
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.hash == c.hash {
			return true, nil
		}
		if at.when < c.when-skew {
			continue
		}
		for _, p := range at.parents {
			if known[p] {
				continue
			}
			known[p] = true
			parent, err := o.commit(p)
			if err != nil {
				return false, err
			}
			todo = append(todo, parent)
		}
	}
	return false, nil
}
