package script

import (
	"context"
	"log/slog"
	"maps"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ropewalk/ropewalk/internal/lane"
)

// settle is how long after a file was touched it is told: an editor writes it in
// several steps.
const settle = 10 * time.Millisecond

// watcher tells when files change. It has the system tell it, and looks by
// itself every now and then, since the system does not tell everything.
type watcher struct {
	tree  *tree
	limit int
	poll  time.Duration
	lane  *lane.Lane
	log   *slog.Logger
	kick  chan struct{} // there is something to watch

	mu      sync.Mutex
	started bool
	notify  *fsnotify.Watcher // nil: the system does not tell
	files   map[string]map[*subscription]source
	dirs    map[string]int // how many files are watched in each; those of the disk
	armed   map[string]bool
	due     map[string]bool // paths that were touched
}

// subscription is somebody who wants to know of some files.
type subscription struct {
	w       *watcher
	changed func()
	paths   map[string]bool // guarded by w.mu
	closed  bool
}

func newWatcher(t *tree, limit int, poll time.Duration, l *lane.Lane, log *slog.Logger) *watcher {
	return &watcher{
		tree: t, limit: limit, poll: poll, lane: l, log: log, kick: make(chan struct{}, 1),
		files: map[string]map[*subscription]source{}, dirs: map[string]int{}, armed: map[string]bool{}, due: map[string]bool{},
	}
}

// subscribe returns a subscription to no files yet. changed must not block.
func (w *watcher) subscribe(changed func()) *subscription {
	return &subscription{w: w, changed: changed, paths: map[string]bool{}}
}

// set says which files are meant, and in which state they were read: if one has
// another by now that is told at once.
func (s *subscription) set(sources []source) {
	w := s.w
	w.mu.Lock()
	if s.closed {
		w.mu.Unlock()
		return
	}
	w.start()
	wanted := make(map[string]bool, len(sources))
	for _, src := range sources {
		wanted[src.path] = true
		w.add(s, src)
	}
	for p := range s.paths {
		if !wanted[p] {
			w.remove(s, p)
		}
	}
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
	for _, src := range sources {
		if _, ok := w.tree.same(src, w.limit); !ok {
			s.changed()
			return
		}
	}
}

// close ends the subscription.
func (s *subscription) close() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.closed = true
	for p := range s.paths {
		s.w.remove(s, p)
	}
}

// add watches a file, with w.mu held.
func (w *watcher) add(s *subscription, src source) {
	if w.files[src.path] == nil {
		w.files[src.path] = map[*subscription]source{}
	}
	w.files[src.path][s] = src
	if s.paths[src.path] {
		return
	}
	s.paths[src.path] = true
	if dir, ok := w.dir(src.path); ok {
		w.dirs[dir]++
		w.arm(dir)
	}
}

// remove does not watch a file any more, with w.mu held.
func (w *watcher) remove(s *subscription, p string) {
	delete(s.paths, p)
	if delete(w.files[p], s); len(w.files[p]) == 0 {
		delete(w.files, p)
	}
	dir, ok := w.dir(p)
	if !ok {
		return
	}
	if w.dirs[dir]--; w.dirs[dir] > 0 {
		return
	}
	delete(w.dirs, dir)
	if w.armed[dir] && w.notify != nil {
		_ = w.notify.Remove(dir) // it may be gone
	}
	delete(w.armed, dir)
}

// dir returns the directory on the disk in which a file lies.
func (w *watcher) dir(p string) (string, bool) {
	a, name, ok := w.tree.place(p)
	if !ok {
		return "", false
	}
	return filepath.Dir(filepath.Join(a.dir, filepath.FromSlash(name))), true
}

// arm has the system tell of a directory, with w.mu held.
func (w *watcher) arm(dir string) {
	if w.notify != nil && !w.armed[dir] && w.notify.Add(dir) == nil {
		w.armed[dir] = true
	}
}

// start starts to watch, once, with w.mu held.
func (w *watcher) start() {
	if w.started {
		return
	}
	w.started = true
	n, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("the system does not tell of changed scripts; they are looked at every now and then", "err", err, "interval", w.poll)
	} else {
		w.notify = n
	}
	if !w.lane.Go("scripts", w.loop) && n != nil {
		_ = n.Close()
		w.notify = nil
	}
}

// close ends the watcher; its lane has been canceled.
func (w *watcher) close() {
	w.lane.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify != nil {
		_ = w.notify.Close() // it was only read from
		w.notify = nil
	}
}

// loop tells what changes.
func (w *watcher) loop(ctx context.Context) {
	var events chan fsnotify.Event
	var errs chan error
	w.mu.Lock()
	if w.notify != nil {
		events, errs = w.notify.Events, w.notify.Errors
	}
	w.mu.Unlock()
	look, wait := time.NewTimer(w.poll), time.NewTimer(time.Hour)
	defer look.Stop()
	defer wait.Stop()
	for {
		select {
		case e := <-events:
			if w.touched(e) {
				wait.Reset(settle)
			}
		case _, ok := <-errs: // too many events: some are lost
			if !ok {
				errs = nil // the watcher is being closed
				continue
			}
			w.look()
		case <-w.kick:
			look.Reset(w.poll)
		case <-wait.C:
			w.flush()
		case <-look.C:
			if w.look() {
				look.Reset(w.poll)
			}
		case <-ctx.Done():
			return
		}
	}
}

// touched keeps which files an event is about, and reports whether there are
// any that somebody wants to know of.
func (w *watcher) touched(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, a := range w.tree.apps {
		rel, err := filepath.Rel(a.dir, e.Name)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		p := path.Join("/", name, filepath.ToSlash(rel))
		if w.files[p] != nil {
			w.due[p] = true
		}
	}
	if (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) && w.armed[e.Name] {
		_ = w.notify.Remove(e.Name) // a directory that has moved away
		delete(w.armed, e.Name)
	}
	return len(w.due) > 0
}

// flush tells of the files that were touched.
func (w *watcher) flush() {
	w.mu.Lock()
	tell := map[*subscription]bool{}
	for p := range w.due {
		for s := range w.files[p] {
			tell[s] = true
		}
	}
	clear(w.due)
	w.mu.Unlock()
	for s := range tell {
		s.changed()
	}
}

// look looks at all files, and reports whether there are any.
func (w *watcher) look() bool {
	w.mu.Lock()
	files := make(map[string]map[*subscription]source, len(w.files))
	for p, subs := range w.files {
		files[p] = maps.Clone(subs)
	}
	for dir := range w.dirs {
		w.arm(dir) // those that were not there
	}
	w.mu.Unlock()
	tell := map[*subscription]bool{}
	for p, subs := range files {
		now := w.tree.stat(p)
		for s, src := range subs {
			if src.stamp == now {
				continue
			}
			tell[s] = true
			w.mu.Lock()
			if w.files[p][s] == src {
				src.stamp = now // it is told once
				w.files[p][s] = src
			}
			w.mu.Unlock()
		}
	}
	for s := range tell {
		s.changed()
	}
	return len(files) > 0
}
