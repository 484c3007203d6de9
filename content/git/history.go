package git

import (
	"container/heap"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

const (
	defaultPage = 50
	maxPage     = 500
	maxWalk     = 200_000 // commits that one page may look at
	maxFiles    = 500     // that a difference shows
	maxPatch    = 1 << 20 // bytes of patches that a difference shows
	maxCompared = 1 << 20 // bytes of a file that is compared by lines
)

// input is what the operations of git: take. Not all take all.
type input struct {
	Workspace string `json:"workspace"`
	Revision  string `json:"revision"`
	From      string `json:"from"`
	To        string `json:"to"`
	Limit     int    `json:"limit"`
	Skip      int    `json:"skip"`
	Message   string `json:"message"`
	Prefer    string `json:"prefer"`
	Squash    bool   `json:"squash"`
}

// query is one question to the history.
type query struct {
	*input

	author

	workspace string // ref; "" for the branch
	at        string // path in the tree; "" for all
}

// resolve returns the commit that a revision names: one that is part of the
// branch, or of a workspace of who asks. Others are not found, whatever the
// repository holds besides.
func (s *Store) resolve(ctx context.Context, q *query, revision string) (plumbing.Hash, error) {
	v, err := s.view(ctx, q.workspace)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	tip := v.head
	if !v.draft.IsZero() {
		tip = v.draft
	}
	switch revision {
	case "":
		return tip, nil
	case s.set.Branch, "HEAD":
		return v.head, nil
	}
	h, err := s.objects.expand(revision)
	if err != nil {
		return h, err
	}
	for _, from := range []plumbing.Hash{v.head, v.draft} {
		if from.IsZero() {
			continue
		}
		rel, err := s.objects.relate(ctx, h, from)
		if err != nil {
			if ctx.Err() != nil {
				return h, err
			}
			return h, noRevision(revision) // there is no such commit
		}
		if rel.base == h {
			return h, nil
		}
	}
	return plumbing.ZeroHash, noRevision(revision)
}

// Commit is one entry of a log.
type Commit struct {
	// Commit is the hash.
	Commit string `json:"commit"`
	// Parents are the hashes of what it was made of.
	Parents []string `json:"parents"`
	// Author is the name of who made it.
	Author string `json:"author"`
	// Date is when it was made, in UTC.
	Date string `json:"date"`
	// Message is what its author said.
	Message string `json:"message"`
}

// Log is one page of the history, the newest commit first.
type Log struct {
	// Revision is the commit that the history was looked at from; with it and
	// Next the next page fits to this one.
	Revision string `json:"revision"`
	// Commits are the entries.
	Commits []Commit `json:"commits"`
	// Next is what to skip for the next page; 0: there is none.
	Next int `json:"next,omitempty"`
}

func (s *Store) history(ctx context.Context, q *query) (*Log, error) {
	if q.Limit < 0 || q.Limit > maxPage || q.Skip < 0 {
		return nil, invalid("limit", fmt.Sprintf("limit is not between 1 and %d, or skip is negative", maxPage), "")
	}
	limit := q.Limit
	if limit == 0 {
		limit = defaultPage
	}
	start, err := s.resolve(ctx, q, q.Revision)
	if err != nil {
		return nil, err
	}
	page := &Log{Commits: []Commit{}}
	if start.IsZero() {
		return page, nil
	}
	page.Revision = start.String()
	seen := 0
	err = s.walkLog(ctx, start, q.at, func(c *commit) (bool, error) {
		seen++
		switch {
		case seen <= q.Skip:
			return true, nil
		case len(page.Commits) == limit:
			page.Next = q.Skip + limit
			return false, nil
		}
		full, err := s.objects.fullCommit(c.hash)
		if err != nil {
			return false, err
		}
		page.Commits = append(page.Commits, describe(full))
		return true, nil
	})
	return page, err
}

func describe(c *object.Commit) Commit {
	one := Commit{
		Commit: c.Hash.String(), Parents: []string{}, Author: short(c.Author.Name),
		Date: c.Author.When.UTC().Format(time.RFC3339), Message: strings.TrimSpace(strings.ToValidUTF8(c.Message, "?")),
	}
	if len(one.Message) > maxMessage {
		one.Message = strings.ToValidUTF8(one.Message[:maxMessage], "") + "…"
	}
	for _, p := range c.ParentHashes {
		one.Parents = append(one.Parents, p.String())
	}
	return one
}

// walkLog shows the history of a path, the newest commit first, until f says
// that it is enough. Commits that took the path as one of their parents had it are
// left out, as "git log" does.
func (s *Store) walkLog(ctx context.Context, start plumbing.Hash, at string, f func(c *commit) (more bool, err error)) error {
	known := map[plumbing.Hash]bool{}
	queue := &byTime{}
	reach := func(h plumbing.Hash) error {
		if known[h] {
			return nil
		}
		known[h] = true
		c, err := s.objects.commit(h)
		if err == nil {
			heap.Push(queue, c)
		}
		return err
	}
	if err := reach(start); err != nil {
		return err
	}
	for queue.Len() > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(known) > maxWalk {
			return message.NewError(message.CodeLimitExceeded, "the history is too long to look through", "Ask for a part of it, from a revision on.")
		}
		c := heap.Pop(queue).(*commit) //nolint:forcetypeassert // only commits are pushed
		follow, shown, err := s.interesting(c, at)
		if err != nil {
			return err
		}
		if shown {
			if more, err := f(c); err != nil || !more {
				return err
			}
		}
		for _, p := range follow {
			if err := reach(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// interesting tells whether a commit changed a path, and where to look further.
func (s *Store) interesting(c *commit, at string) (follow []plumbing.Hash, shown bool, err error) {
	if at == "" {
		return c.parents, true, nil
	}
	has := func(tree plumbing.Hash) (object.TreeEntry, error) {
		e, ok, err := find(s.objects, tree, at)
		if !ok {
			e = object.TreeEntry{}
		}
		return e, err
	}
	is, err := has(c.tree)
	if err != nil {
		return nil, false, err
	}
	for _, p := range c.parents {
		tree, err := s.objects.treeOf(p)
		if err != nil {
			return nil, false, err
		}
		was, err := has(tree)
		if err != nil {
			return nil, false, err
		}
		if was.Hash == is.Hash && was.Mode == is.Mode {
			return []plumbing.Hash{p}, false, nil
		}
	}
	return c.parents, len(c.parents) > 0 || !is.Hash.IsZero(), nil
}

// Diff is where two revisions differ.
type Diff struct {
	// From and To are the commits that were compared; To is empty if it is a
	// workspace over the newest state of the branch.
	From string `json:"from"`
	To   string `json:"to"`
	// Files are the files that differ, sorted by path.
	Files []FileDiff `json:"files"`
	// More is how many files are left out.
	More int `json:"more,omitempty"`
}

// FileDiff is one file of a [Diff].
type FileDiff struct {
	Path   string `json:"path"`
	Status string `json:"status"` // added, deleted or modified
	// Patch is the difference as "git diff" prints it; empty if it is large, or
	// hidden: of a file that who asks may not read.
	Patch  string `json:"patch,omitempty"`
	Large  bool   `json:"large,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
}

// diff compares two revisions, or a workspace with the branch.
func (s *Store) diff(ctx context.Context, q *query) (*Diff, error) {
	var d Diff
	var roots [2]plumbing.Hash
	var source trees = s.objects
	if q.From == "" && q.To == "" && q.workspace != "" {
		v, err := s.view(ctx, q.workspace)
		if err != nil {
			return nil, err
		}
		if roots[0], err = s.objects.treeOf(v.head); err != nil {
			return nil, err
		}
		roots[1], source, d.From = v.root, v.trees, hashText(v.head)
	} else {
		from, to, err := s.ends(ctx, q)
		if err != nil {
			return nil, err
		}
		d.From, d.To = hashText(from), hashText(to)
		for i, h := range []plumbing.Hash{from, to} {
			if roots[i], err = s.objects.treeOf(h); err != nil {
				return nil, err
			}
		}
	}
	changes, err := diff(source, roots[0], roots[1])
	if err != nil {
		return nil, err
	}
	return &d, s.patches(ctx, q, changes, &d)
}

func hashText(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// ends returns what is compared: from the parent of To on if From is not given.
func (s *Store) ends(ctx context.Context, q *query) (from, to plumbing.Hash, err error) {
	if to, err = s.resolve(ctx, q, q.To); err != nil {
		return from, to, err
	}
	if q.From != "" {
		from, err = s.resolve(ctx, q, q.From)
		return from, to, err
	}
	if to.IsZero() {
		return from, to, nil
	}
	c, err := s.objects.commit(to)
	if err == nil && len(c.parents) > 0 {
		from = c.parents[0]
	}
	return from, to, err
}

func (s *Store) patches(ctx context.Context, q *query, changes []change, d *Diff) error {
	d.Files = []FileDiff{}
	room := maxPatch
	for _, c := range changes {
		if !c.shown() || q.at != "" && c.path != q.at && !strings.HasPrefix(c.path, q.at+"/") {
			continue
		}
		if len(d.Files) == maxFiles {
			d.More++
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		one := FileDiff{Path: "/" + c.path, Status: c.status(), Hidden: !s.mayRead(q.who, c.path)}
		if one.Hidden {
			d.Files = append(d.Files, one)
			continue
		}
		patch, ok, err := s.patch(c)
		if err != nil {
			return err
		}
		if room -= len(patch); ok && room >= 0 {
			one.Patch = patch
		} else {
			one.Large = true
		}
		d.Files = append(d.Files, one)
	}
	return nil
}

// patch returns the difference of one file, or false if it is too large.
func (s *Store) patch(c change) (string, bool, error) {
	var text [2][]byte
	for i, l := range []leaf{c.from, c.to} {
		if !isFile(l.mode) {
			continue
		}
		size, err := s.objects.size(l.hash)
		if err != nil {
			return "", false, err
		}
		if size > maxCompared || size > s.set.MaxFile {
			return "", false, nil
		}
		if text[i], err = s.objects.blob(l.hash); err != nil {
			return "", false, err
		}
	}
	patch, err := unified(c.path, c.from, c.to, text[0], text[1])
	return patch, true, err
}

// Shown is a file at a revision.
type Shown struct {
	Path     string  `json:"path"`
	Revision string  `json:"revision"`
	Size     int     `json:"size"`
	Text     *string `json:"text,omitempty"`
	Base64   *[]byte `json:"base64,omitempty"`
}

func (s *Store) show(ctx context.Context, q *query) (*Shown, error) {
	h, err := s.resolve(ctx, q, q.Revision)
	if err != nil {
		return nil, err
	}
	l, err := s.leafAt(h, q.at)
	if err != nil {
		return nil, err
	}
	if !isFile(l.mode) {
		return nil, content.NotFound("/"+short(q.at), "It is no file at this revision; git:/log shows when it was one.")
	}
	if !s.mayRead(q.who, q.at) {
		return nil, unread(q.at)
	}
	b, err := s.objects.blob(l.hash)
	if err != nil {
		return nil, err
	}
	out := &Shown{Path: "/" + q.at, Revision: hashText(h), Size: len(b)}
	if isText(b) {
		text := string(b)
		out.Text = &text
	} else {
		out.Base64 = &b
	}
	return out, nil
}

func (s *Store) leafAt(h plumbing.Hash, at string) (leaf, error) {
	root, err := s.objects.treeOf(h)
	if err != nil {
		return leaf{}, err
	}
	return findLeaf(s.objects, root, at)
}

// restore prepares that a file, or all below a directory, becomes what it was at
// a revision.
func (s *Store) restore(ctx context.Context, q *query) (*work, error) {
	if q.Revision == "" {
		return nil, invalid("revision", "revision is missing", "Take one of those that git:/log shows.")
	}
	h, err := s.resolve(ctx, q, q.Revision)
	if err != nil {
		return nil, err
	}
	root, err := s.objects.treeOf(h)
	if err != nil {
		return nil, err
	}
	then, there, err := find(s.objects, root, q.at)
	if err != nil {
		return nil, err
	}
	if !there || then.Mode != filemode.Dir && !isFile(then.Mode) {
		return nil, content.NotFound("/"+short(q.at), "It was not there at this revision; git:/log shows when it was.")
	}
	name := q.at
	if name == "" {
		name = "everything"
	}
	w := &work{author: q.author, workspace: q.workspace}
	if w.text, err = commitText(q.Message, fmt.Sprintf("Restore %s to %.10s", name, h)); err != nil {
		return nil, err
	}
	w.edits = func(v *view, _ *batch) (map[string]leaf, error) {
		if then.Mode != filemode.Dir {
			if err := s.mayWrite(q.author, "", q.at); err != nil {
				return nil, err
			}
			_, err := place(v, q.at)
			return map[string]leaf{q.at: leafOf(then)}, err
		}
		return s.restoreDir(v, q, then.Hash)
	}
	return w, nil
}

func (s *Store) restoreDir(v *view, q *query, then plumbing.Hash) (map[string]leaf, error) {
	now, there, err := find(v.trees, v.root, q.at)
	if err != nil {
		return nil, err
	}
	if there && now.Mode != filemode.Dir {
		return nil, conflict(fmt.Sprintf("/%s is a file now", short(q.at)), "Delete it first.")
	}
	changes, err := diff(v.trees, now.Hash, then)
	if err != nil {
		return nil, err
	}
	edits := map[string]leaf{}
	var paths []string
	for _, c := range changes {
		if !c.shown() {
			continue
		}
		at := c.path
		if q.at != "" {
			at = q.at + "/" + at
		}
		edits[at] = c.to
		paths = append(paths, at)
	}
	return edits, s.mayWrite(q.author, "", paths...)
}
