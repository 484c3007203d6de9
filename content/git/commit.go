package git

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const (
	maxTries   = 20 // of a commit, when another process commits at the same time
	maxMessage = 4096
)

// work is what is to become a commit.
type work struct {
	author

	workspace string // ref; "" for the branch
	text      string // of the commit
	// edits returns what to change in what v shows; it adds the files to b. It may
	// be called again, with what is there then.
	edits func(v *view, b *batch) (map[string]leaf, error)
}

// author is who wants something.
type author struct {
	who *session.Session
	// script is set if a script wants it, which writes no code.
	script bool
}

func authorOf(r *content.Request) author { return author{r.Session, r.Script != ""} }

// Result is what a commit has done.
type Result struct {
	// Commit is the newest commit now.
	Commit string `json:"commit"`
	// Changed is false if all was so already, and there is no new commit.
	Changed bool `json:"changed"`
	// Path is where the file is, if it could not have the name that was asked for.
	Path string `json:"path,omitempty"`
}

// commit carries out a work. When it returns, all who watch what it has changed
// have been told.
func (s *Store) commit(ctx context.Context, w *work) (*Result, error) {
	if s.set.ReadOnly {
		return nil, message.NewError(message.CodeForbidden, "the content is served read-only", "")
	}
	unlock, err := s.lockWriting(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range maxTries {
		res, err := s.tryCommit(ctx, w)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if res.Changed {
			s.moved(ctx)
		}
		return res, nil
	}
	e := message.NewError(message.CodeOverloaded, "others commit faster than this commit can be made", "")
	e.Retryable = true
	return nil, e
}

// moved tells those who watch, and sends the commit on.
func (s *Store) moved(ctx context.Context) {
	s.watch.check(context.WithoutCancel(ctx))
	if s.set.Workspaces.Enabled {
		s.watch.refsChanged()
	}
	if s.remote != nil && s.set.Remote.Push {
		s.remote.wake()
	}
}

func (s *Store) tryCommit(ctx context.Context, w *work) (*Result, error) {
	v, err := s.view(ctx, w.workspace)
	if err != nil {
		return nil, err
	}
	if v.head.IsZero() && s.remote != nil && !s.remote.fetched() {
		// A first commit here would have nothing in common with what is there.
		return nil, down("the branch has not been fetched yet", "", nil)
	}
	if w.workspace != "" && v.head.IsZero() {
		return nil, conflict("the branch has no commit yet", "Publish something without a workspace first.")
	}
	b := s.objects.batch()
	edits, err := w.edits(v, b)
	if err != nil {
		return nil, err
	}
	ref, old, parents := s.branch, v.head, []plumbing.Hash{v.head}
	if w.workspace != "" {
		ref, old = w.workspace, v.draft
		if !v.draft.IsZero() {
			parents[0] = v.draft
		}
		if err := s.checkDrafts(w, v); err != nil {
			return nil, err
		}
		if err := s.coverBase(v, edits, &parents); err != nil {
			return nil, err
		}
	}
	root, err := s.objects.treeOf(parents[0])
	if err != nil {
		return nil, err
	}
	if len(parents) > 1 { // what is seen, not what was drawn
		if root, err = b.apply(root, draftEdits(v)); err != nil {
			return nil, err
		}
	}
	tree, err := b.apply(root, edits)
	if err != nil {
		return nil, err
	}
	if tree == root && !parents[0].IsZero() {
		return &Result{Commit: parents[0].String()}, nil
	}
	hash := b.addCommit(s, w, tree, parents)
	if err := b.write(ctx); err != nil {
		return nil, err
	}
	if err := s.refs.update(ctx, ref, old, hash); err != nil {
		return nil, err
	}
	return &Result{Commit: hash.String(), Changed: true}, nil
}

func draftEdits(v *view) map[string]leaf {
	edits := make(map[string]leaf, len(v.drew))
	for _, c := range v.drew {
		edits[c.path] = c.to
	}
	return edits
}

// checkDrafts bounds how many workspaces somebody has.
func (s *Store) checkDrafts(w *work, v *view) error {
	if !v.draft.IsZero() {
		return nil
	}
	all, err := s.refs.list(path.Dir(w.workspace) + "/")
	if err != nil {
		return err
	}
	if len(all) >= s.set.Workspaces.Max {
		return message.NewError(message.CodeLimitExceeded, fmt.Sprintf("there are %d workspaces already", len(all)),
			"Merge or discard one of them, or raise workspaces.max.")
	}
	return nil
}

// coverBase deals with an edit that makes a file what it was when the workspace
// began, while the branch has changed it since: it would not count as a change,
// and the branch's file would be seen. The workspace has to begin anew, at what
// the branch is now; then it is a change.
func (s *Store) coverBase(v *view, edits map[string]leaf, parents *[]plumbing.Hash) error {
	if v.draft.IsZero() || v.base == v.head {
		return nil
	}
	base, err := s.objects.treeOf(v.base)
	if err != nil {
		return err
	}
	head, err := s.objects.treeOf(v.head)
	if err != nil {
		return err
	}
	hidden := false
	for p, to := range edits {
		was, err := findLeaf(s.objects, base, p)
		if err != nil {
			return err
		}
		is, err := findLeaf(s.objects, head, p)
		if err != nil {
			return err
		}
		hidden = hidden || was == to && is != to
	}
	if !hidden {
		return nil
	}
	since, err := diff(s.objects, base, head)
	if err != nil {
		return err
	}
	if both := overlap(since, v.drew); len(both) > 0 {
		return conflict("the branch and the workspace have both changed /"+short(both[0]),
			"Merge the workspace, or discard it, first.")
	}
	*parents = []plumbing.Hash{v.head, v.draft}
	return nil
}

// overlap returns the paths that two lists of changes make different things of.
func overlap(a, b []change) []string {
	to := make(map[string]leaf, len(a))
	for _, c := range a {
		to[c.path] = c.to
	}
	var both []string
	for _, c := range b {
		if l, ok := to[c.path]; ok && l != c.to {
			both = append(both, c.path)
		}
	}
	return both
}

// addCommit adds a commit. Parents that are zero are none.
func (b *batch) addCommit(s *Store, w *work, tree plumbing.Hash, parents []plumbing.Hash) plumbing.Hash {
	data := fmt.Appendf(nil, "tree %s\n", tree)
	for _, p := range parents {
		if !p.IsZero() {
			data = fmt.Appendf(data, "parent %s\n", p)
		}
	}
	author, committer := s.signatures(w.who, time.Now())
	data = fmt.Appendf(data, "author %s\ncommitter %s\n\n%s\n", author, committer, w.text)
	if w.workspace != "" {
		// It also makes it another commit than one that does the same to the branch in
		// the same second.
		data = fmt.Appendf(data, "\nWorkspace: %s\n", path.Base(w.workspace))
	}
	return b.add(plumbing.CommitObject, data)
}

// commitText returns the text of a commit: what somebody has said, or else.
func commitText(given, otherwise string) (string, error) {
	text := strings.TrimSpace(strings.ReplaceAll(given, "\r\n", "\n"))
	switch {
	case text == "":
		return otherwise, nil
	case len(text) > maxMessage:
		return "", invalid("message", "the message is longer than 4,096 bytes", "")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
		return "", invalid("message", "the message has control characters", "")
	}
	return strings.ToValidUTF8(text, "?"), nil
}

// put returns the leaf that a file becomes, keeping its mode, and whether it is new;
// or says what is in the way.
func (s *Store) put(v *view, b *batch, p string, body fileBody) (l leaf, created bool, err error) {
	if l, err = place(v, p); err != nil {
		return l, false, err
	}
	data := body.data
	if created = l.none(); created {
		l.mode = filemode.Regular
	} else if body.over != nil {
		// What cannot be read is replaced as a whole.
		if old, err := s.objects.blob(l.hash); err == nil {
			data = body.over(old)
		}
	}
	l.hash = b.add(plumbing.BlobObject, data)
	return l, created, nil
}

// place returns the file at a path, zero if there is none yet, or says what is
// in the way of one.
func place(v *view, p string) (leaf, error) {
	for at := path.Dir(p); at != "."; at = path.Dir(at) {
		e, ok, err := find(v.trees, v.root, at)
		switch {
		case err != nil:
			return leaf{}, err
		case ok && e.Mode != filemode.Dir:
			return leaf{}, conflict(fmt.Sprintf("/%s is not a directory", short(at)), "Use another name, or delete it first.")
		}
	}
	e, ok, err := find(v.trees, v.root, p)
	switch {
	case err != nil || !ok:
		return leaf{}, err
	case e.Mode == filemode.Dir:
		return leaf{}, conflict(fmt.Sprintf("/%s is a directory", short(p)), "Use another name, or delete what is in it first.")
	case !isFile(e.Mode):
		return leaf{}, conflict(fmt.Sprintf("/%s is a link or a submodule", short(p)), "Use another name.")
	}
	return leafOf(e), nil
}

// drop checks that there is a file to delete.
func drop(v *view, p, address string) error {
	e, ok, err := find(v.trees, v.root, p)
	switch {
	case err != nil:
		return err
	case !ok || !isFile(e.Mode) && e.Mode != filemode.Dir:
		return content.NotFound(address, "See the listing of the directory for what there is.")
	case e.Mode == filemode.Dir:
		return conflict(fmt.Sprintf("/%s is a directory", short(p)), "Delete the files in it.")
	}
	return nil
}
