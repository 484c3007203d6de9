package file

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A file may be changed once more without its time of change becoming another:
// for two seconds where times are kept in whole seconds, else within a tick of
// the system.
const (
	racyCoarse = 2 * time.Second
	racyFine   = 50 * time.Millisecond
)

func fresh(t time.Time) bool {
	if t.Nanosecond() == 0 {
		return time.Since(t) < racyCoarse
	}
	return time.Since(t) < racyFine
}

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// arm follows the way of a watch and has it told of every name on it. What
// changes on the way from now on is told; whoever calls arm tells of what changed
// before. mu is held.
func (w *watcher) arm(x *watch) {
	x.rearm = false
	x.armed++
	if _, ok := w.watches[x]; !ok || w.closed {
		return
	}
	old := x.deps
	x.deps = nil
	told := w.follow(x)
	w.release(x, old)
	if !told {
		x.imprint = w.tree.imprint(w.lane.Context(), x)
	}
	w.setPolled(x, !told)
}

func (w *watcher) setPolled(x *watch, polled bool) {
	if x.polled.Swap(polled) == polled {
		return
	}
	if polled {
		w.polled++
	} else {
		w.polled--
	}
	if w.polled <= 1 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// follow adds all that a watch depends on, and reports whether the system tells
// of it all; of what is published here, publish tells. mu is held.
func (w *watcher) follow(x *watch) bool {
	m := x.target.mount
	w.wayTo(x, m.dir)
	top, err := filepath.EvalSymlinks(m.dir)
	if err != nil {
		return false
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return false
	}
	defer shut(root)
	told := true
	visit := func(dir, name string) {
		told = w.depend(x, filepath.Join(top, filepath.FromSlash(dir)), name) && told
	}
	p, err := walk(root, x.target.names, w.tree.visible, visit)
	if x.list == nil || err != nil || p.info == nil || !p.info.IsDir() {
		return told
	}
	l := w.tree.lister(w.lane.Context(), x.list)
	l.visit, l.dirs = visit, true
	if _, err = l.dir(root, p.rel, x.target.path, 1, nil); err != nil {
		return false // not all of it is known
	}
	return told
}

// wayTo has a watch told when another directory takes the place of a root: of the
// root's own name, and of the links on the way to it. Where that cannot be watched,
// it is seen at the root, when the old one goes. mu is held.
func (w *watcher) wayTo(x *watch, root string) {
	split := func(path string) []string {
		return strings.FieldsFunc(path, func(c rune) bool { return c < utf8.RuneSelf && os.IsPathSeparator(uint8(c)) })
	}
	start := func(path string) string { return filepath.VolumeName(path) + string(filepath.Separator) }
	at, todo := start(root), split(root[len(filepath.VolumeName(root)):])
	for links := 0; len(todo) > 0 && links < maxLinks; {
		name := todo[0]
		todo = todo[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		isLink := err == nil && info.Mode()&fs.ModeSymlink != 0
		if err != nil || isLink || len(todo) == 0 {
			w.depend(x, at, name)
		}
		if err != nil {
			return // the rest is followed when it comes
		}
		if !isLink {
			at = next
			continue
		}
		links++
		target, err := os.Readlink(next)
		if err != nil {
			return // it is none any more, and that is told
		}
		if filepath.IsAbs(target) {
			at = start(target)
		}
		todo = append(split(target[len(filepath.VolumeName(target)):]), todo...)
	}
}

// imprint is what a target looks like from outside. Two that are equal, and not
// fresh, are of the same content.
type imprint struct {
	sum   uint64
	fresh bool // it may change without the imprint becoming another
}

var seed = maphash.MakeSeed()

// imprint looks at a target without reading files.
func (t *Tree) imprint(ctx context.Context, x *watch) imprint {
	var h maphash.Hash
	h.SetSeed(seed)
	newest := t.imprintTo(ctx, x, &h)
	return imprint{sum: h.Sum64(), fresh: fresh(newest)}
}

func (t *Tree) imprintTo(ctx context.Context, x *watch, h *maphash.Hash) (newest time.Time) {
	root, p, err := t.find(x.target)
	if err != nil {
		fmt.Fprint(h, err)
		return newest
	}
	defer shut(root)
	if x.list == nil || !p.info.IsDir() {
		fmt.Fprintf(h, "%s\x00%v\x00%d\x00%d\x00%s", p.rel, p.info.Mode(), p.info.Size(), p.info.ModTime().UnixNano(), inode(p.info))
		return p.info.ModTime()
	}
	l := t.lister(ctx, x.list)
	l.imprint = h
	_, err = l.dir(root, p.rel, x.target.path, 1, nil)
	fmt.Fprint(h, err)
	return l.now
}

// inode tells files with the same name, size and time apart, where the system
// does.
func inode(info fs.FileInfo) string {
	return strconv.FormatUint(inodeOf(info), 10)
}

// look takes imprints of all that is polled, and tells of what is not as it was.
func (w *watcher) look(ctx context.Context) {
	w.mu.Lock()
	var list []*watch
	if w.polled > 0 {
		for x := range w.watches {
			if x.polled.Load() {
				list = append(list, x)
			}
		}
	}
	w.mu.Unlock()
	for _, x := range list {
		if ctx.Err() != nil {
			return
		}
		now := w.tree.imprint(ctx, x)
		w.mu.Lock()
		other := x.polled.Load() && (x.unsure || now != x.imprint || now.fresh)
		if other {
			x.rearm = true
			w.settle(x)
			x.imprint, x.unsure = now, false // what changed since is seen the next time
		}
		w.mu.Unlock()
		if other {
			tell([]*watch{x})
		}
	}
}

// reading runs get, which reads what a watch is of. Polling misses what comes and
// goes between two looks, but get may see it: so the next look compares with what
// was there when get ran, and not with what the last look saw.
func (w *watcher) reading(list []*watch, get func()) {
	list = slices.DeleteFunc(slices.Clone(list), func(x *watch) bool { return !x.polled.Load() })
	if len(list) == 0 {
		get()
		return
	}
	before := make([]imprint, len(list))
	for i, x := range list {
		before[i] = w.tree.imprint(w.lane.Context(), x)
	}
	get()
	for i, x := range list {
		after := w.tree.imprint(w.lane.Context(), x)
		w.mu.Lock()
		x.imprint, x.unsure = after, before[i].sum != after.sum
		w.mu.Unlock()
	}
}
