package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// settle is how long a directory has to be quiet before its files are looked
	// at: an editor empties a file and writes it in two steps.
	settle = 20 * time.Millisecond
	// recheck is how often files are looked at where no events come.
	recheck = time.Second
	// fresh is how young a file may be that the next change could leave it with
	// the same time.
	fresh = 100 * time.Millisecond
	// maxCached bounds the files that are kept, and maxCachedBytes how long they are
	// together.
	maxCached      = 10_000
	maxCachedBytes = 32 << 20
)

// files reads .sql files and tells when they change.
type files struct {
	root    string
	apps    map[string]string
	dialect func(database string) (*sqlfile.Dialect, error)
	log     *slog.Logger
	lane    *lane.Lane
	events  *fsnotify.Watcher // nil if there is none

	mu      sync.Mutex
	cache   map[string]*loaded
	bytes   int64               // of what is in cache
	watched map[string]*watched // by path
	dirs    map[string]int      // how many watched paths are in a directory
}

// loaded is a file as it was read.
type loaded struct {
	stamp stamp
	file  *sqlfile.File
	err   error
}

// stamp is by what two states of a file are told apart.
type stamp struct {
	mod  time.Time
	size int64
	err  string
}

type watched struct {
	path  string
	dir   string
	stamp stamp
	subs  map[*notifier]struct{}
}

// notifier calls a function until it is stopped.
type notifier struct {
	mu      sync.Mutex
	stopped bool
	changed func()
}

func (n *notifier) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.stopped {
		n.changed()
	}
}

func (n *notifier) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = true
}

func newFiles(s Settings, log *slog.Logger, dialect func(string) (*sqlfile.Dialect, error)) *files {
	f := &files{
		root: s.Root, apps: s.Applications, dialect: dialect, log: log, lane: lane.New(context.Background(), log),
		cache: map[string]*loaded{}, watched: map[string]*watched{}, dirs: map[string]int{},
	}
	var err error
	if f.events, err = fsnotify.NewWatcher(); err != nil {
		f.events = nil
		log.Warn("changes of .sql files are seen late: the system gives no events", "err", err)
	}
	f.lane.Go("query-files", f.watch)
	return f
}

func (f *files) close() {
	f.lane.Close()
	if f.events != nil {
		_ = f.events.Close()
	}
}

// segment tells whether s may be a segment of a path: hidden files do not
// exist, and there are no tricks with separators.
func segment(s string) bool {
	if s == "" || s[0] == '.' || len(s) > 255 || !filepath.IsLocal(s) || strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || strings.ContainsRune(`\/:*?"<>|%`, r)
	})
}

// place returns the directory of an application and the name of a file in it.
func (f *files) place(path string) (dir, name string, err error) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	ok := len(segments) > 1 && strings.HasSuffix(path, ".sql")
	for _, s := range segments {
		ok = ok && segment(s)
	}
	if !ok {
		return "", "", content.NotFound("query:"+path, "Queries are files whose names end in .sql, in the directory of an application.")
	}
	if dir = f.apps[segments[0]]; dir != "" {
		return dir, filepath.Join(segments[1:]...), nil
	}
	if f.root == "" {
		return "", "", content.NotFound("query:"+path, "There is no application "+segments[0]+".")
	}
	return f.root, filepath.Join(segments...), nil
}

// stat looks at a file. The directory above it is never left.
func (f *files) stat(path string) (*os.Root, string, stamp, error) {
	dir, name, err := f.place(path)
	if err != nil {
		return nil, "", stamp{err: err.Error()}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		err = missing(path, err)
		return nil, "", stamp{err: err.Error()}, err
	}
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = root.Close()
		err = missing(path, err)
		return nil, "", stamp{err: err.Error()}, err
	}
	return root, name, stamp{mod: info.ModTime(), size: info.Size()}, nil
}

// missing is the error for a file that cannot be read.
func missing(path string, cause error) error {
	if errors.Is(cause, fs.ErrPermission) {
		e := message.NewError(message.CodeForbidden, "the server may not read query:"+path, "Change the rights of the file.")
		e.Path = "query:" + path
		return e
	}
	return content.NotFound("query:"+path, "Is the name right? Upper and lower case count.")
}

// load returns the file of a path as it is now.
func (f *files) load(path string) (*sqlfile.File, error) {
	root, name, now, err := f.stat(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	f.mu.Lock()
	l := f.cache[path]
	f.mu.Unlock()
	if l != nil && l.stamp == now {
		return l.file, l.err
	}
	l = &loaded{stamp: now}
	if l.file, l.err = f.parse(root, path, name); l.err != nil && message.CodeOf(l.err) == message.CodeNotFound {
		return nil, l.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(now.mod) > fresh {
		if old := f.cache[path]; old != nil {
			f.bytes -= old.stamp.size
		}
		if f.bytes += now.size; len(f.cache) >= maxCached || f.bytes > maxCachedBytes {
			clear(f.cache)
			f.bytes = now.size
		}
		f.cache[path] = l
	}
	return l.file, l.err
}

func (f *files) parse(root *os.Root, path, name string) (*sqlfile.File, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, missing(path, err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, sqlfile.MaxSize+1))
	if err != nil {
		return nil, missing(path, err)
	}
	parsed, err := sqlfile.Parse(string(text), f.dialect)
	if err != nil {
		return nil, badFile(path, err)
	}
	return parsed, nil
}

// badFile is the error for a file that cannot be understood.
func badFile(path string, err error) error {
	if e, ok := errors.AsType[*sqlfile.Error](err); ok {
		b := message.NewError(message.CodeBadContent, fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message), e.Hint)
		b.Path = "query:" + path
		b.Details = position{Line: e.Line, Column: e.Column}.details()
		return b
	}
	return err
}

// add has n told when the file of a path changes.
func (f *files) add(path string, n *notifier) (remove func()) {
	dir := ""
	if root, name, err := f.place(path); err == nil {
		dir = filepath.Dir(filepath.Join(root, name))
	}
	f.mu.Lock()
	w := f.watched[path]
	first := w == nil
	if first {
		w = &watched{path: path, dir: dir, subs: map[*notifier]struct{}{}}
		f.watched[path] = w
		f.dirs[dir]++
	}
	w.subs[n] = struct{}{}
	if first {
		f.listen(dir)
		w.stamp = f.stamp(path)
	}
	f.mu.Unlock()
	return func() { f.remove(w, n) }
}

func (f *files) remove(w *watched, n *notifier) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(w.subs, n)
	if len(w.subs) > 0 || f.watched[w.path] != w {
		return
	}
	delete(f.watched, w.path)
	if f.dirs[w.dir]--; f.dirs[w.dir] == 0 {
		delete(f.dirs, w.dir)
		if f.events != nil {
			_ = f.events.Remove(w.dir)
		}
	}
}

// listen asks for events of a directory. That it fails, where there is no such
// directory yet for instance, only means that changes are seen later.
func (f *files) listen(dir string) {
	if f.events != nil && dir != "" {
		_ = f.events.Add(dir)
	}
}

func (f *files) stamp(path string) stamp {
	root, _, s, err := f.stat(path)
	if err == nil {
		_ = root.Close()
	}
	return s
}

// watch looks at the files when something happens in their directories, and now
// and then in any case.
func (f *files) watch(ctx context.Context) {
	var events chan fsnotify.Event
	var errs chan error
	if f.events != nil {
		events, errs = f.events.Events, f.events.Errors
	}
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			quiet.Reset(settle)
		case <-errs: //nolint:errcheck // events were lost
			quiet.Reset(settle)
		case <-quiet.C:
			f.check()
		case <-tick.C:
			f.mu.Lock()
			for dir := range f.dirs {
				f.listen(dir)
			}
			f.mu.Unlock()
			f.check()
		}
	}
}

// check tells whose files are not what they were.
func (f *files) check() {
	f.mu.Lock()
	list := make([]*watched, 0, len(f.watched))
	for _, w := range f.watched {
		list = append(list, w)
	}
	f.mu.Unlock()
	for _, w := range list {
		now := f.stamp(w.path)
		f.mu.Lock()
		var told []*notifier
		if now != w.stamp {
			w.stamp = now
			for n := range w.subs {
				told = append(told, n)
			}
		}
		f.mu.Unlock()
		for _, n := range told {
			n.tell()
		}
	}
}
