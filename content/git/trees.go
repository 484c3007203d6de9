package git

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ropewalk/ropewalk/message"
)

// maxChanges bounds what the comparing of two trees may find: a few kilobytes of
// trees that name each other can stand for billions of files.
const maxChanges = 200_000

// trees is what trees are read from: [objects], or a [batch] over them.
type trees interface {
	tree(h plumbing.Hash) ([]object.TreeEntry, error)
}

// leaf is what stands at a path of a tree, if that is no directory. Zero: nothing.
type leaf struct {
	hash plumbing.Hash
	mode filemode.FileMode
}

func (l leaf) none() bool { return l == leaf{} }

func leafOf(e object.TreeEntry) leaf { return leaf{e.Hash, e.Mode} }

// change is one path at which two trees differ.
type change struct {
	path     string
	from, to leaf
}

// find returns the entry at a path; the root is a directory called "". Nothing is
// found behind links and submodules, nor if the tree is zero.
func find(t trees, root plumbing.Hash, path string) (object.TreeEntry, bool, error) {
	at := object.TreeEntry{Mode: filemode.Dir, Hash: root}
	if path == "" {
		return at, true, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if at.Mode != filemode.Dir {
			return at, false, nil
		}
		entries, err := t.tree(at.Hash)
		if err != nil {
			return at, false, err
		}
		i := slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == name })
		if i < 0 {
			return at, false, nil
		}
		at = entries[i]
	}
	return at, true, nil
}

// findLeaf returns what stands at a path, and zero for a directory or nothing.
func findLeaf(t trees, root plumbing.Hash, path string) (leaf, error) {
	e, ok, err := find(t, root, path)
	if err != nil || !ok || e.Mode == filemode.Dir {
		return leaf{}, err
	}
	return leafOf(e), nil
}

// diff returns where two trees differ, sorted by path.
func diff(t trees, from, to plumbing.Hash) ([]change, error) {
	d := differ{trees: t}
	if err := d.walk("", from, to, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(d.found, func(a, b change) int { return cmp.Compare(a.path, b.path) })
	return d.found, nil
}

type differ struct {
	trees trees
	found []change
	seen  int
}

func (d *differ) walk(dir string, from, to plumbing.Hash, depth int) error {
	if from == to {
		return nil
	}
	before, err := d.trees.tree(from)
	if err != nil {
		return err
	}
	after, err := d.trees.tree(to)
	if err != nil {
		return err
	}
	if d.seen += len(before) + len(after); d.seen > maxChanges || depth > 4*maxDepth {
		return message.NewError(message.CodeLimitExceeded, "two revisions differ in too many files", "Compare smaller parts.")
	}
	old := make(map[string]object.TreeEntry, len(before))
	for _, e := range before {
		old[e.Name] = e
	}
	for _, e := range after {
		was := old[e.Name]
		delete(old, e.Name)
		if err := d.entry(dir+e.Name, was, e, depth); err != nil {
			return err
		}
	}
	for name, e := range old {
		if err := d.entry(dir+name, e, object.TreeEntry{}, depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) entry(path string, from, to object.TreeEntry, depth int) error {
	if from.Hash == to.Hash && from.Mode == to.Mode {
		return nil
	}
	c := change{path: path, from: leafOf(from), to: leafOf(to)}
	var dirs [2]plumbing.Hash
	if from.Mode == filemode.Dir {
		dirs[0], c.from = from.Hash, leaf{}
	}
	if to.Mode == filemode.Dir {
		dirs[1], c.to = to.Hash, leaf{}
	}
	if c.from != c.to {
		d.found = append(d.found, c)
	}
	return d.walk(path+"/", dirs[0], dirs[1], depth+1)
}

// apply returns the tree that edits make of another; a zero leaf removes. What
// is in the way of a path is replaced: a file where a directory has to be, a
// directory where a file has to be. Directories without entries go away.
func (b *batch) apply(root plumbing.Hash, edits map[string]leaf) (plumbing.Hash, error) {
	if len(edits) == 0 && !root.IsZero() {
		return root, nil
	}
	h, err := b.grow(root, edits, 0)
	if err != nil {
		return h, err
	}
	if h.IsZero() {
		h = b.addTree(nil)
	}
	return h, nil
}

func (b *batch) grow(dir plumbing.Hash, edits map[string]leaf, depth int) (plumbing.Hash, error) {
	if depth > 4*maxDepth {
		return plumbing.ZeroHash, fmt.Errorf("tree %s is too deep", dir)
	}
	before, err := b.tree(dir)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	entries := make(map[string]object.TreeEntry, len(before)+1)
	for _, e := range before {
		entries[e.Name] = e
	}
	below := map[string]map[string]leaf{}
	for path, l := range edits {
		name, rest, deep := strings.Cut(path, "/")
		switch {
		case deep:
			if below[name] == nil {
				below[name] = map[string]leaf{}
			}
			below[name][rest] = l
		case !l.none():
			entries[name] = object.TreeEntry{Name: name, Mode: l.mode, Hash: l.hash}
		case entries[name].Mode != filemode.Dir:
			delete(entries, name)
		}
	}
	for name, edits := range below {
		if err := b.growBelow(entries, name, edits, depth); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	list := make([]object.TreeEntry, 0, len(entries))
	for _, e := range entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b object.TreeEntry) int { return cmp.Compare(sortName(a), sortName(b)) })
	return b.addTree(list), nil
}

func (b *batch) growBelow(entries map[string]object.TreeEntry, name string, edits map[string]leaf, depth int) error {
	at, there := entries[name]
	if there && at.Mode != filemode.Dir {
		if !adds(edits) {
			return nil // what is to be removed is not there
		}
		at.Hash = plumbing.ZeroHash
	}
	h, err := b.grow(at.Hash, edits, depth+1)
	if err != nil {
		return err
	}
	if h.IsZero() {
		delete(entries, name)
	} else {
		entries[name] = object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: h}
	}
	return nil
}

func adds(edits map[string]leaf) bool {
	for _, l := range edits {
		if !l.none() {
			return true
		}
	}
	return false
}

// sortName is by what git sorts the entries of a tree.
func sortName(e object.TreeEntry) string {
	if e.Mode == filemode.Dir {
		return e.Name + "/"
	}
	return e.Name
}

// visible tells whether a path of a tree is one of a content.
func visible(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if badName(name) != "" {
			return false
		}
	}
	return true
}

// shown tells whether a change is one of contents.
func (c change) shown() bool {
	return visible(c.path) && (isFile(c.from.mode) || isFile(c.to.mode))
}

// status is the word for a change.
func (c change) status() string {
	switch {
	case !isFile(c.from.mode):
		return "added"
	case !isFile(c.to.mode):
		return "deleted"
	}
	return "modified"
}
