package git

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// noWorkspace is the error that a workspace is needed.
func noWorkspace() error {
	return invalid("workspace", "no workspace is selected", `Name one: {"workspace":"drafts"}.`)
}

// draftOf returns what a workspace shows, or an error if there are no drafts.
func (s *Store) draftOf(ctx context.Context, ref string) (*view, error) {
	v, err := s.view(ctx, ref)
	if err != nil {
		return nil, err
	}
	if v.draft.IsZero() {
		return nil, message.NewError(message.CodeNotFound, "there is no workspace "+path.Base(ref),
			"It begins when something is published with it; git:/workspaces lists those there are.")
	}
	return v, nil
}

// mergeWorkspace makes the drafts of a workspace part of the branch, and ends the
// workspace.
func (s *Store) mergeWorkspace(ctx context.Context, q *query) (*Result, error) {
	switch {
	case s.set.ReadOnly:
		return nil, message.NewError(message.CodeForbidden, "the content is served read-only", "")
	case q.workspace == "":
		return nil, noWorkspace()
	case q.Prefer != "" && q.Prefer != preferOurs && q.Prefer != preferTheirs:
		return nil, invalid("prefer", "prefer is neither ours nor theirs", "ours is the branch, theirs the workspace.")
	}
	unlock, err := s.lockWriting(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range maxTries {
		res, err := s.tryMerge(ctx, q)
		if errors.Is(err, errMoved) {
			continue
		}
		return res, err
	}
	return nil, message.NewError(message.CodeOverloaded, "others commit faster than this merge can be made", "")
}

func (s *Store) tryMerge(ctx context.Context, q *query) (*Result, error) {
	v, err := s.draftOf(ctx, q.workspace)
	if err != nil {
		return nil, err
	}
	to, err := s.merged(ctx, q, v)
	if err != nil {
		return nil, err
	}
	if err := s.mayMerge(q.author, v.head, to); err != nil {
		return nil, err
	}
	if to != v.head {
		if err := s.refs.update(ctx, s.branch, v.head, to); err != nil {
			return nil, err
		}
	}
	// If this fails, the workspace has no changes any more, or newer ones.
	if err := s.refs.remove(ctx, q.workspace, v.draft); err != nil && !errors.Is(err, errMoved) {
		s.log.Warn("a workspace that was merged could not be removed", "err", err)
	}
	s.moved(ctx)
	return &Result{Commit: to.String(), Changed: to != v.head}, nil
}

// merged returns the commit that the branch becomes.
func (s *Store) merged(ctx context.Context, q *query, v *view) (plumbing.Hash, error) {
	if v.base == v.head && !q.Squash && q.Message == "" {
		return v.draft, nil // nothing has happened in the meantime
	}
	var roots [3]plumbing.Hash
	for i, h := range []plumbing.Hash{v.base, v.head, v.draft} {
		var err error
		if roots[i], err = s.objects.treeOf(h); err != nil {
			return h, err
		}
	}
	m := &merger{store: s, batch: s.objects.batch(), prefer: q.Prefer, who: &q.author}
	tree, clashes, err := m.merge(ctx, roots[0], roots[1], roots[2])
	switch {
	case err != nil:
		return tree, err
	case len(clashes) > 0:
		return tree, clashError("the branch (ours) and the workspace (theirs)", clashes)
	case tree == roots[1]:
		return v.head, nil
	}
	name := path.Base(q.workspace)
	w := &work{author: q.author}
	if w.text, err = commitText(q.Message, "Merge workspace "+name); err != nil {
		return tree, err
	}
	parents := []plumbing.Hash{v.head, v.draft}
	if q.Squash {
		parents = parents[:1]
	}
	h := m.batch.addCommit(s, w, tree, parents)
	return h, m.batch.write(ctx)
}

// discard ends a workspace without merging it.
func (s *Store) discard(ctx context.Context, q *query) (*Result, error) {
	if q.workspace == "" {
		return nil, noWorkspace()
	}
	unlock, err := s.lockWriting(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range maxTries {
		v, err := s.draftOf(ctx, q.workspace)
		if err != nil {
			return nil, err
		}
		err = s.refs.remove(ctx, q.workspace, v.draft)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.moved(ctx)
		return &Result{Commit: v.draft.String(), Changed: true}, nil
	}
	return nil, message.NewError(message.CodeOverloaded, "the workspace is written to all the time", "")
}

// Workspace is a draft over the branch.
type Workspace struct {
	// Name selects it.
	Name string `json:"name"`
	// Commit is its newest commit; empty: it has none yet.
	Commit string `json:"commit"`
	// Behind is how many commits the branch has made since it began.
	Behind int `json:"behind"`
	// Changes are the files that it has made others than the branch has them.
	Changes []Changed `json:"changes"`
}

// Changed is one file of a workspace.
type Changed struct {
	Path   string `json:"path"`
	Status string `json:"status"` // added, deleted or modified
	// Conflict is true if the branch has changed it, too.
	Conflict bool `json:"conflict,omitempty"`
}

// Workspaces lists the workspaces of one person.
func (s *Store) listWorkspaces(ctx context.Context, who *session.Session) ([]*Workspace, error) {
	list := []*Workspace{}
	if !s.set.Workspaces.Enabled || !who.Authenticated() {
		return list, nil
	}
	all, err := s.refs.list(prefix(who))
	if err != nil {
		return nil, err
	}
	for _, ref := range slices.Sorted(maps.Keys(all)) {
		w, err := s.describeWorkspace(ctx, ref)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

func (s *Store) describeWorkspace(ctx context.Context, ref string) (*Workspace, error) {
	v, err := s.view(ctx, ref)
	if err != nil {
		return nil, err
	}
	w := &Workspace{Name: path.Base(ref), Commit: hashText(v.draft), Changes: []Changed{}}
	if v.draft.IsZero() {
		return w, nil
	}
	rel, err := s.objects.relate(ctx, v.draft, v.head)
	if err != nil {
		return nil, err
	}
	w.Behind = rel.behind
	base, err := s.objects.treeOf(v.base)
	if err != nil {
		return nil, err
	}
	head, err := s.objects.treeOf(v.head)
	if err != nil {
		return nil, err
	}
	since, err := diff(s.objects, base, head)
	if err != nil {
		return nil, err
	}
	clash := overlap(since, v.drew)
	for _, c := range v.drew {
		if c.shown() && len(w.Changes) < maxFiles {
			w.Changes = append(w.Changes, Changed{"/" + c.path, c.status(), slices.Contains(clash, c.path)})
		}
	}
	return w, nil
}
