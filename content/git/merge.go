package git

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

// Clash is a file of which two sides have made different things. A side that has
// no such file has nothing.
type Clash struct {
	Path   string   `json:"path"`
	Ours   *Version `json:"ours"`
	Theirs *Version `json:"theirs"`
}

// Version is a file as one side has it: a text, or anything else as base64. One
// that is large, or that who merges may not read, has only its size.
type Version struct {
	Text   *string `json:"text,omitempty"`
	Base64 *[]byte `json:"base64,omitempty"`
	Size   int64   `json:"size"`
}

// The sides that can be preferred where two clash.
const (
	preferOurs   = "ours"
	preferTheirs = "theirs"
)

const (
	maxClashes      = 100      // that an error names
	maxClashBytes   = 64 << 10 // of one version that an error shows
	maxClashesShown = 512 << 10
)

// merger merges what two sides have changed since a base.
type merger struct {
	store  *Store
	batch  *batch
	prefer string  // ours, theirs, or "" to report clashes
	who    *author // who is told of clashes; nil: the operator
}

// merge returns the tree with the changes of both sides, and the files of which
// they have made different things.
func (m *merger) merge(ctx context.Context, base, ours, theirs plumbing.Hash) (plumbing.Hash, []Clash, error) {
	mine, err := diff(m.store.objects, base, ours)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	other, err := diff(m.store.objects, base, theirs)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	changed := make(map[string]change, len(mine))
	for _, c := range mine {
		changed[c.path] = c
	}
	edits := map[string]leaf{}
	var clashes []change // from: ours, to: theirs
	for _, c := range other {
		if err := ctx.Err(); err != nil {
			return plumbing.ZeroHash, nil, err
		}
		our, both := changed[c.path]
		switch {
		case !both:
			edits[c.path] = c.to
		case our.to == c.to:
		default:
			l, ok, err := m.mergeFile(c.from, our.to, c.to)
			if err != nil {
				return plumbing.ZeroHash, nil, err
			}
			if ok && !badDocument(m, c.path, l) {
				edits[c.path] = l
			} else {
				clashes = append(clashes, change{c.path, our.to, c.to})
			}
		}
	}
	clashes = append(clashes, inTheWay(mine, other)...)
	if m.prefer == preferTheirs {
		for _, c := range clashes {
			edits[c.path] = c.to
		}
	}
	if m.prefer != "" {
		if m.prefer == preferOurs {
			for _, c := range inTheWay(mine, other) {
				delete(edits, c.path)
			}
		}
		clashes = nil
	}
	if len(clashes) > 0 {
		list, err := m.describe(clashes)
		return plumbing.ZeroHash, list, err
	}
	tree, err := m.batch.apply(ours, edits)
	return tree, nil, err
}

// inTheWay returns what one side has made a file where the other has made a
// directory.
func inTheWay(mine, other []change) []change {
	var found []change
	look := func(a, b []change, swap bool) {
		made := map[string]leaf{}
		for _, c := range a {
			if !c.to.none() {
				made[c.path] = c.to
			}
		}
		for _, c := range b {
			if c.to.none() {
				continue
			}
			for dir := parent(c.path); dir != ""; dir = parent(dir) {
				if l, ok := made[dir]; ok {
					if swap {
						found = append(found, change{path: dir, to: l})
					} else {
						found = append(found, change{path: c.path, to: c.to})
					}
				}
			}
		}
	}
	look(mine, other, false)
	look(other, mine, true)
	slices.SortFunc(found, func(a, b change) int { return cmp.Compare(a.path, b.path) })
	return slices.CompactFunc(found, func(a, b change) bool { return a.path == b.path })
}

// mergeFile merges two versions of a text, line by line.
func (m *merger) mergeFile(base, ours, theirs leaf) (leaf, bool, error) {
	if !isFile(base.mode) || !isFile(ours.mode) || !isFile(theirs.mode) {
		return leaf{}, false, nil
	}
	var text [3]string
	for i, l := range []leaf{base, ours, theirs} {
		b, err := m.store.objects.blob(l.hash)
		if message.CodeOf(err) == message.CodeTooLarge {
			return leaf{}, false, nil
		}
		if err != nil {
			return leaf{}, false, err
		}
		if !isText(b) {
			return leaf{}, false, nil
		}
		text[i] = string(b)
	}
	merged, ok := mergeText(text[0], text[1], text[2])
	if !ok {
		return leaf{}, false, nil
	}
	l := ours
	if ours.mode == base.mode {
		l.mode = theirs.mode
	}
	l.hash = m.batch.add(plumbing.BlobObject, []byte(merged))
	return l, true, nil
}

// badDocument tells whether merging lines has broken a JSON file.
func badDocument(m *merger, at string, l leaf) bool {
	if !isDocument(at) {
		return false
	}
	_, err := file.Document("/"+at, m.batch.todo[l.hash].data)
	return err != nil
}

// describe returns clashes with both versions.
func (m *merger) describe(clashes []change) ([]Clash, error) {
	list := make([]Clash, 0, len(clashes))
	room := int64(maxClashesShown)
	for _, c := range clashes[:min(len(clashes), maxClashes)] {
		one := Clash{Path: "/" + c.path}
		if !visible(c.path) {
			list = append(list, one)
			continue
		}
		var err error
		left := &room
		if m.who != nil && !m.store.mayRead(m.who.who, c.path) {
			left = new(int64)
		}
		if one.Ours, err = m.version(c.from, left); err != nil {
			return nil, err
		}
		if one.Theirs, err = m.version(c.to, left); err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

func (m *merger) version(l leaf, room *int64) (*Version, error) {
	if !isFile(l.mode) {
		return nil, nil //nolint:nilnil // there is no file
	}
	size, err := m.store.objects.size(l.hash)
	if err != nil {
		return nil, err
	}
	v := &Version{Size: size}
	if size > maxClashBytes || size > *room {
		return v, nil
	}
	*room -= size
	b, err := m.store.objects.blob(l.hash)
	if err != nil {
		return nil, err
	}
	if isText(b) {
		text := string(b)
		v.Text = &text
	} else {
		v.Base64 = &b
	}
	return v, nil
}

// clashError is the error that two sides clash. sides says who they are.
func clashError(sides string, clashes []Clash) error {
	paths := make([]string, 0, 3)
	for _, c := range clashes[:min(3, len(clashes))] {
		paths = append(paths, short(c.Path))
	}
	more := ""
	if len(clashes) > 3 {
		more = fmt.Sprintf(" and %d more", len(clashes)-3)
	}
	e := conflict(fmt.Sprintf("%s have changed the same: %s%s", sides, strings.Join(paths, ", "), more),
		`Make them the same on both sides, or say which is right with {"prefer":"ours"} or {"prefer":"theirs"}.`)
	e.Path = paths[0]
	details, err := json.Marshal(struct {
		Conflicts []Clash `json:"conflicts"`
	}{clashes})
	if err == nil {
		e.Details = details
	}
	return e
}
