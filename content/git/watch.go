package git

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// blindPoll is how often the refs are looked at where the system has no events.
const blindPoll = 500 * time.Millisecond

// follower is told when what it watches may have changed.
type follower struct {
	changed   func()
	workspace string // ref; "" for the branch
	path      string // in the tree
	dir       bool   // all that is below path, too
	refs      bool   // any move of a ref, and the state of the remote
}

// followed is what is known of one workspace, or the branch.
type followed struct {
	view  *view
	sick  bool                              // it cannot be read now
	files map[string]map[*follower]struct{} // by path
	dirs  map[string]map[*follower]struct{} // by path
	refs  map[*follower]struct{}
}

func (f *followed) empty() bool { return len(f.files)+len(f.dirs)+len(f.refs) == 0 }

// watcher finds out what changed when a ref moved, whoever moved it, and tells
// those who watch that.
type watcher struct {
	store *Store
	fs    *fsnotify.Watcher // nil: the system has no events
	poll  time.Duration

	mu       sync.Mutex
	followed map[string]*followed // by ref of the workspace, "" for the branch
	armed    map[string]bool      // directories that fs was told of
	warned   bool                 // that there are some of which it does not tell
}

func newWatcher(s *Store) *watcher {
	w := &watcher{store: s, poll: s.set.Poll.Or(DefaultPoll), followed: map[string]*followed{}, armed: map[string]bool{}}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		s.log.Warn("the system tells no changes of the repository; it is looked at again and again instead", "err", err)
		w.fs, w.poll = nil, s.set.Poll.Or(blindPoll)
	} else if !w.arm() {
		w.poll = s.set.Poll.Or(blindPoll)
	}
	s.lane.Go("content/git watch", w.run)
	return w
}

func (w *watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close()
	}
}

// dirs returns the directories in which a ref that matters may change.
func (w *watcher) dirs() map[string]bool {
	dirs := map[string]bool{".": true}
	above := func(ref string) {
		for d := path.Dir(ref); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	above(w.store.branch)
	above(workspaces)
	for ref := range w.followed {
		above(ref)
	}
	return dirs
}

// arm watches the directories that matter and are there, and no others. It reports
// whether the system took them. The caller holds mu, or is alone.
func (w *watcher) arm() bool {
	if w.fs == nil {
		return false
	}
	ok, dirs := true, w.dirs()
	for dir := range dirs {
		if w.armed[dir] {
			continue
		}
		err := w.fs.Add(w.place(dir))
		switch {
		case err == nil:
			w.armed[dir] = true
		case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, fsnotify.ErrClosed):
			ok = false
			if !w.warned {
				w.warned = true
				w.store.log.Warn("the system does not tell changes of some directories of refs; they are looked at now and then",
					"dir", dir, "every", w.poll, "err", err,
					"hint", "on Linux, raise fs.inotify.max_user_watches or max_user_instances with sysctl")
			}
		}
	}
	for dir := range w.armed {
		if !dirs[dir] {
			delete(w.armed, dir)
			_ = w.fs.Remove(w.place(dir)) // it may be gone by itself
		}
	}
	return ok
}

// place is where a directory of refs is.
func (w *watcher) place(dir string) string {
	return filepath.Join(w.store.refs.dir, filepath.FromSlash(dir))
}

// run waits for events until the store is closed.
func (w *watcher) run(ctx context.Context) {
	var events chan fsnotify.Event
	var errs chan error
	if w.fs != nil {
		events, errs = w.fs.Events, w.fs.Errors
	}
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			if w.matters(e) {
				w.check(ctx)
			}
			if strings.Contains(filepath.ToSlash(e.Name), "/"+workspaces) {
				w.refsChanged()
			}
		case err := <-errs:
			if err != nil {
				w.store.log.Warn("events of the repository were lost", "err", err)
			}
			w.check(ctx)
		case <-tick.C:
			w.check(ctx)
		}
	}
}

// matters tells whether an event may mean that a ref moved.
func (w *watcher) matters(e fsnotify.Event) bool {
	if strings.HasSuffix(e.Name, ".lock") || e.Op == fsnotify.Chmod {
		return false
	}
	rel, err := filepath.Rel(w.store.refs.dir, e.Name)
	if err != nil {
		return true
	}
	rel = filepath.ToSlash(rel)
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		w.mu.Lock()
		delete(w.armed, rel) // if it was a directory, the system has forgotten it
		w.mu.Unlock()
	}
	return strings.Contains(rel, "/") || rel == packedRefs || rel == "refs"
}

// follow has f told of changes from now on.
func (w *watcher) follow(ctx context.Context, f *follower) (stop func(), err error) {
	v, err := w.store.view(ctx, f.workspace)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	on := w.followed[f.workspace]
	if on == nil {
		on = &followed{
			view:  v,
			files: map[string]map[*follower]struct{}{}, dirs: map[string]map[*follower]struct{}{}, refs: map[*follower]struct{}{},
		}
		w.followed[f.workspace] = on
		w.arm()
	}
	on.add(f)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		on.remove(f)
		if on.empty() && w.followed[f.workspace] == on {
			delete(w.followed, f.workspace)
			w.arm()
		}
	}, nil
}

func (f *followed) add(one *follower) {
	into := f.files
	switch {
	case one.refs:
		f.refs[one] = struct{}{}
		return
	case one.dir:
		into = f.dirs
	}
	if into[one.path] == nil {
		into[one.path] = map[*follower]struct{}{}
	}
	into[one.path][one] = struct{}{}
}

func (f *followed) remove(one *follower) {
	delete(f.refs, one)
	for _, from := range []map[string]map[*follower]struct{}{f.files, f.dirs} {
		if set := from[one.path]; set != nil {
			if delete(set, one); len(set) == 0 {
				delete(from, one.path)
			}
		}
	}
}

// check looks at the refs that somebody follows, and tells who has to know.
func (w *watcher) check(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arm()
	for ref, on := range w.followed {
		v, err := w.store.view(ctx, ref)
		if err != nil {
			if ctx.Err() == nil {
				if !on.sick {
					on.sick = true
					w.store.log.Warn("the repository cannot be read; see git fsck", "err", err)
				}
				on.tell(nil, true)
			}
			continue
		}
		on.sick = false
		on.advance(v)
	}
}

// refsChanged tells those who watch the workspaces or the state of the remote.
func (w *watcher) refsChanged() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, on := range w.followed {
		for f := range on.refs {
			f.changed()
		}
	}
}

// advance goes on to what is there now.
func (f *followed) advance(v *view) {
	was := f.view
	if was == v || was.head == v.head && was.draft == v.draft {
		return
	}
	f.view = v
	for one := range f.refs {
		one.changed()
	}
	if was.root == v.root {
		return
	}
	changes, err := diff(both{v.trees, was.trees}, was.root, v.root)
	f.tell(changes, err != nil)
}

// tell tells those who watch a path that changed, or all of them.
func (f *followed) tell(changes []change, all bool) {
	told := map[*follower]bool{}
	tell := func(set map[*follower]struct{}) {
		for one := range set {
			if !told[one] {
				told[one] = true
				one.changed()
			}
		}
	}
	if all {
		for _, set := range f.files {
			tell(set)
		}
		for _, set := range f.dirs {
			tell(set)
		}
		tell(f.refs)
		return
	}
	for _, c := range changes {
		tell(f.files[c.path])
		tell(f.dirs[c.path]) // it may have become a directory, or none
		for dir := path.Dir(c.path); ; dir = path.Dir(dir) {
			if dir == "." {
				dir = ""
			}
			tell(f.dirs[dir])
			tell(f.files[dir]) // a file whose place a directory has taken
			if dir == "" {
				break
			}
		}
	}
}

// both reads trees of two views.
type both struct{ a, b trees }

func (t both) tree(h plumbing.Hash) ([]object.TreeEntry, error) {
	for _, one := range []trees{t.a, t.b} {
		if made, ok := one.(*batch); ok {
			if entries, ok := made.trees[h]; ok {
				return entries, nil
			}
		}
	}
	return t.a.tree(h)
}
