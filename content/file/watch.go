package file

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ropewalk/ropewalk/internal/lane"
)

const (
	// A file is looked at when nothing was written to it for settle, so that those
	// who write it in pieces are not read in between, and in any case after
	// maxSettle.
	settle    = 10 * time.Millisecond
	maxSettle = 100 * time.Millisecond
	// tick is how exactly that is kept.
	tick = 2 * time.Millisecond
)

// watcher tells of changes in a tree. Only directories are watched, by their
// real paths: files come and go, and editors put new ones in their place. What a
// watch depends on are names in directories: each of the names on the way to its
// file, where links lead to, and the file itself. When one of those on the way
// appears, goes or is replaced, the way is followed anew, before the change is
// told, so that nothing is missed.
//
//	Watch ──► armed ──event──► due ──settled──► (armed anew) ──► changed()
//	             └──no way to be told──► polled ──other print──┘
type watcher struct {
	tree *Tree
	log  *slog.Logger
	lane *lane.Lane
	poll time.Duration
	all  bool                  // poll everything
	far  func(dir string) bool // the system does not tell what others do there

	// mu is held while the disk is looked at, too: only those who begin to watch,
	// and publishers, wait for it, and they want to see one state.
	mu      sync.Mutex
	closed  bool
	started bool
	fs      *fsnotify.Watcher // nil until the first watch, or if there is none
	dirs    map[string]*dir
	watches map[*watch]struct{}
	polled  int // how many of them
	due     map[*watch]struct{}
	warned  bool

	wake chan struct{} // polled has become 0, or is not any more
}

// dir is a directory that is watched, by its real path.
type dir struct {
	path  string
	blind bool // the system does not tell what happens in it
	names map[string][]*watch
	all   map[*watch]int // those who want to know of any name, by the time that they were armed
}

// dep is what a watch depends on: a name in a directory, or all if it is "".
type dep struct {
	dir  *dir
	name string
}

// watch is one call of [content.Resource.Watch].
type watch struct {
	target  target
	list    *listing // nil for a file
	changed func()
	stopped atomic.Bool
	polled  atomic.Bool

	// Guarded by watcher.mu.
	deps        []dep
	armed       int // how often
	imprint     imprint
	unsure      bool // it is not known what was read last
	rearm       bool
	first, last time.Time // of the events that it is due for
}

func newWatcher(t *Tree) *watcher {
	return &watcher{
		tree: t, log: t.set.Logger, lane: lane.New(context.Background(), t.set.Logger),
		poll: t.set.Poll.Or(DefaultPoll), all: t.set.Poll > 0, far: remote,
		dirs: map[string]*dir{}, watches: map[*watch]struct{}{}, due: map[*watch]struct{}{},
		wake: make(chan struct{}, 1),
	}
}

// start makes what is needed for the first watch. mu is held.
func (w *watcher) start() {
	if w.started {
		return
	}
	w.started = true
	if !w.all {
		var err error
		if w.fs, err = fsnotify.NewWatcher(); err != nil {
			w.fs = nil
			w.warn(err)
		}
	}
	w.lane.Go("files", w.run)
}

func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	fs := w.fs
	w.fs = nil
	w.mu.Unlock()
	w.lane.Close()
	if fs != nil {
		_ = fs.Close()
	}
}

// warn tells once that files are polled.
func (w *watcher) warn(err error) {
	if !w.warned {
		w.warned = true
		w.log.Warn("the system does not tell of changes in some directories; they are looked at now and then",
			"every", w.poll, "err", err,
			"hint", "on Linux, raise fs.inotify.max_user_watches or max_user_instances with sysctl")
	}
}

// add begins to watch a target in one mount.
func (w *watcher) add(g target, o *listing, changed func()) (*watch, error) {
	x := &watch{target: g, list: o, changed: changed}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errClosed
	}
	w.start()
	w.watches[x] = struct{}{}
	w.arm(x)
	return x, nil
}

// addAll begins to watch all mounts.
func (w *watcher) addAll(o *listing, changed func()) ([]*watch, error) {
	below := *o
	below.Depth--
	var all []*watch
	for name, m := range w.tree.mounts {
		if below.Depth == 0 || slices.Contains(o.Hidden, name) {
			continue // which applications there are does not change
		}
		x, err := w.add(target{mount: m, path: "/" + name + "/", dir: true}, &below, changed)
		if err != nil {
			for _, x := range all {
				w.stop(x)
			}
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

func (w *watcher) stop(x *watch) {
	x.stopped.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, x)
	delete(w.due, x)
	x.armed++
	old := x.deps
	x.deps = nil
	w.release(x, old)
	w.setPolled(x, false)
}

// depend has x told of a name in a directory, and reports whether the system
// tells of it. mu is held.
func (w *watcher) depend(x *watch, path, name string) bool {
	d := w.dirs[path]
	if d == nil {
		d = &dir{path: path, blind: true}
		w.dirs[path] = d
	}
	if d.blind && w.fs != nil && !w.far(path) {
		err := w.fs.Add(path)
		if d.blind = err != nil; d.blind && !errors.Is(err, fsnotify.ErrClosed) && !isGone(err) {
			w.warn(err)
		}
	}
	dp := dep{d, name}
	switch {
	case name == "" && d.all[x] == x.armed, name != "" && slices.Contains(x.deps, dp):
		return !d.blind
	case name == "":
		if d.all == nil {
			d.all = map[*watch]int{}
		}
		d.all[x] = x.armed
	default:
		if d.names == nil {
			d.names = map[string][]*watch{}
		}
		d.names[name] = append(d.names[name], x)
	}
	x.deps = append(x.deps, dp)
	return !d.blind
}

// release ends what a watch depended on before. mu is held.
func (w *watcher) release(x *watch, deps []dep) {
	for _, dp := range deps {
		d := dp.dir
		if dp.name == "" {
			if d.all[x] != x.armed {
				delete(d.all, x)
			}
		} else {
			// One of the entries; if the name is still wanted, there is another.
			list := d.names[dp.name]
			if i := slices.Index(list, x); i >= 0 {
				list[i] = list[len(list)-1]
				list[len(list)-1] = nil
				d.names[dp.name] = list[:len(list)-1]
			}
			if len(d.names[dp.name]) == 0 {
				delete(d.names, dp.name)
			}
		}
		if len(d.names) == 0 && len(d.all) == 0 && w.dirs[d.path] == d {
			w.forget(d)
		}
	}
}

// forget stops to watch a directory. mu is held.
func (w *watcher) forget(d *dir) {
	delete(w.dirs, d.path)
	if w.fs != nil && !d.blind {
		_ = w.fs.Remove(d.path) // it may be gone by itself
	}
}

// event takes in what the system tells.
func (w *watcher) event(ev fsnotify.Event) {
	moved := ev.Has(fsnotify.Create) || ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename)
	parent, name := filepath.Dir(ev.Name), filepath.Base(ev.Name)
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if moved {
		w.lose(ev.Name, now)
	}
	d := w.dirs[parent]
	if d == nil {
		return
	}
	for _, x := range d.names[name] {
		w.mark(x, now, moved)
	}
	if len(d.all) > 0 && !w.tree.hidden(name) {
		// Only a directory or a link gives a listing more to watch; one that has gone
		// was forgotten above.
		deeper := ev.Has(fsnotify.Create) && !isPlain(ev.Name)
		for x := range d.all {
			w.mark(x, now, deeper)
		}
	}
}

// isPlain reports whether there is a file with nothing below.
func isPlain(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// lose forgets a directory, if one is watched there, and all below it: other ones
// may be there now, or none. mu is held.
func (w *watcher) lose(path string, now time.Time) {
	if w.dirs[path] == nil {
		return
	}
	below := path + string(filepath.Separator)
	for p, d := range w.dirs {
		if p == path || len(p) > len(below) && p[:len(below)] == below {
			w.drop(d, now)
		}
	}
}

// drop forgets a directory whose watches have to find their way anew. mu is held.
func (w *watcher) drop(d *dir, now time.Time) {
	w.forget(d)
	for x := range d.all {
		w.mark(x, now, true)
	}
	for _, list := range d.names {
		for _, x := range list {
			w.mark(x, now, true)
		}
	}
}

// overflow has everything looked at anew: what was missed is not known.
func (w *watcher) overflow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, d := range w.dirs {
		w.drop(d, now)
	}
}

// mark makes a watch due. mu is held.
func (w *watcher) mark(x *watch, now time.Time, rearm bool) {
	if _, ok := w.due[x]; !ok {
		w.due[x] = struct{}{}
		x.first = now
	}
	x.last = now
	x.rearm = x.rearm || rearm
}

// fire tells the watches that are due, and returns when the next will be; 0 if
// there is none.
func (w *watcher) fire() time.Duration {
	var ready []*watch
	var next time.Duration
	w.mu.Lock()
	now := time.Now()
	for x := range w.due {
		wait := min(settle-now.Sub(x.last), maxSettle-now.Sub(x.first))
		if wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		ready = append(ready, x)
		w.settle(x)
	}
	w.mu.Unlock()
	tell(ready)
	if next > 0 {
		next = max(next, tick)
	}
	return next
}

// settle takes a watch off the list and arms it anew, if it has to be. mu is
// held.
func (w *watcher) settle(x *watch) {
	delete(w.due, x)
	if x.rearm {
		w.arm(x)
	}
}

func tell(list []*watch) {
	for _, x := range list {
		if !x.stopped.Load() {
			x.changed()
		}
	}
}

// poke tells at once that a name in a directory, of a directory if isDir is true,
// has changed here.
func (w *watcher) poke(path, name string, isDir bool) {
	w.mu.Lock()
	var list []*watch
	if d := w.dirs[path]; d != nil {
		list = slices.Clone(d.names[name])
		for _, x := range list {
			x.rearm = true
		}
		for x := range d.all {
			x.rearm = x.rearm || isDir
			list = append(list, x)
		}
	}
	for x := range w.due {
		if x.rearm && !slices.Contains(list, x) {
			list = append(list, x) // it may belong here, and has lost its way
		}
	}
	for _, x := range list {
		w.settle(x)
	}
	w.mu.Unlock()
	tell(list)
}

// run is the tree's goroutine.
func (w *watcher) run(ctx context.Context) {
	w.mu.Lock()
	var events chan fsnotify.Event
	var faults chan error
	if w.fs != nil {
		events, faults = w.fs.Events, w.fs.Errors
	}
	w.mu.Unlock()
	due := time.NewTimer(0)
	defer due.Stop()
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	w.pace(poll)
	set := false // due is running
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			w.event(ev)
			if !set {
				due.Reset(settle)
				set = true
			}
		case err, ok := <-faults:
			if !ok {
				faults = nil
				continue
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn("events of files were lost; all that are watched are looked at again")
			} else {
				w.log.Warn("watching files has a fault", "err", err)
			}
			w.overflow()
			due.Reset(settle)
			set = true
		case <-w.wake:
			w.pace(poll)
		case <-due.C:
			next := w.fire()
			if set = next > 0; set {
				due.Reset(next)
			}
		case <-poll.C:
			w.look(ctx)
		}
	}
}

// pace has the poll run only as long as something is polled.
func (w *watcher) pace(poll *time.Ticker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.polled > 0 {
		poll.Reset(w.poll)
	} else {
		poll.Stop()
	}
}
