package file

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

const (
	tempPrefix = ".ropewalk-" // hidden: never listed, never told of
	newFile    = 0o644
	newDir     = 0o755
	maxCopies  = 10_000 // name(N).ext
)

// change is what is published: bytes, or nothing to delete.
type change struct {
	body    []byte
	fresh   bool // noOverwrite
	parents bool
	make    func(old []byte) []byte // the bytes, if they depend on what is there; may be nil
}

// options reads the query of an address that is published to.
func (c *change) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return invalid("query", "query", "the query of the address cannot be read", "Write ?parents=true or ?noOverwrite=true.")
	}
	for name, set := range map[string]*bool{"parents": &c.parents, "noOverwrite": &c.fresh} {
		switch v := values.Get(name); v {
		case "":
		case "true":
			*set = true
		case "false":
			*set = false
		default:
			return invalid(name, "query."+name, "is neither true nor false", "Write ?"+name+"=true.")
		}
	}
	return nil
}

// Publish implements [content.Publisher].
func (p *provider) Publish(ctx context.Context, r *content.Request, in content.Content) (content.Content, error) {
	t := p.tree
	g, err := t.target(r)
	if err != nil {
		e := *message.AsError(err)
		e.Code = message.CodeForbidden
		e.Message = fmt.Sprintf("%.300s may not be written", g.path)
		return content.Content{}, &e
	}
	var c change
	switch {
	case t.set.ReadOnly:
		e := message.NewError(message.CodeForbidden, fmt.Sprintf("%.300s may not be written: this tree is read-only", g.path),
			"The operator of the server can change readOnly in its settings.")
		e.Path = g.path
		return content.Content{}, e
	case g.top() || len(g.names) == 0:
		return content.Content{}, invalid(g.path, g.path, "the root of a tree cannot be published to", "Publish to something in it.")
	case r.Dir:
		err = dirChange(g.path, in)
	case p.json:
		if err = onlyJSON(g.path); err == nil && in.Body != nil {
			err = c.json(g.path, in)
		}
	case in.Body != nil:
		err = c.bytes(g.path, in)
	}
	if err == nil {
		err = c.options(r.Query)
	}
	if err == nil && int64(len(c.body)) > t.set.MaxFile {
		err = tooLarge(g.path, t.set.MaxFile)
	}
	if err != nil {
		return content.Content{}, err
	}
	unlock, err := t.locks.lock(ctx, lockKey(g))
	if err != nil {
		return content.Content{}, err
	}
	defer unlock()
	root, err := t.open(g)
	if err != nil {
		return content.Content{}, err
	}
	defer shut(root)
	w := &writing{tree: t, root: root, target: g, change: c}
	switch {
	case in.Body == nil:
		err = w.remove(r.Dir)
	case r.Dir:
		err = w.mkdir()
	default:
		err = w.write(ctx)
	}
	if err != nil {
		return content.Content{}, fault(g.path, err)
	}
	return w.answer(in.Body == nil), nil
}

// dirChange checks what is published to a directory.
func dirChange(address string, in content.Content) error {
	var o map[string]json.RawMessage
	if in.Body == nil || in.ContentType == "" && json.Unmarshal(in.Body, &o) == nil && o != nil && len(o) == 0 {
		return nil
	}
	return invalid(address, "body", "only an empty object can be published to a directory",
		"Publish {} to make it, nothing to delete it, or leave out the slash at the end of the address. Only contents in Git take several files at once.")
}

// lockKey is the same for all paths that may be one file.
func lockKey(g target) string { return strings.ToLower(g.mount.name + "/" + path.Join(g.names...)) }

// writing is one publish.
type writing struct {
	change

	tree    *Tree
	root    *os.Root
	target  target
	path    string // of what was written, if it is another than the target
	created bool
}

func (w *writing) answer(deleted bool) content.Content {
	out := struct {
		Path    string `json:"path"`
		Created bool   `json:"created,omitempty"`
		Deleted bool   `json:"deleted,omitempty"`
	}{w.target.path, w.created, deleted}
	if w.path != "" {
		out.Path = w.path
	}
	b, _ := json.Marshal(out) //nolint:errchkjson // strings and bools
	return content.Content{Body: b}
}

func (w *writing) find() (place, error) {
	return walk(w.root, w.target.names, w.tree.visible, nil)
}

// told tells those who watch a name, and those who watch what leads there.
func (w *writing) told(rel string, isDir bool) {
	top, err := filepath.EvalSymlinks(w.target.mount.dir)
	if err != nil {
		return // the root has just gone; its watches are told of that
	}
	w.tree.watcher.poke(filepath.Join(top, filepath.FromSlash(path.Dir(rel))), path.Base(rel), isDir)
}

// write puts the bytes where the path leads.
func (w *writing) write(ctx context.Context) error {
	p, err := w.find()
	if err != nil {
		return err
	}
	if p.info != nil && p.info.IsDir() {
		return fs.ErrExist
	}
	if p.info != nil && !p.info.Mode().IsRegular() {
		return errKind
	}
	// The right to publish may depend on the extension, which a link must not
	// change.
	if !strings.EqualFold(path.Ext(p.rel), path.Ext(p.link)) {
		return errOther
	}
	if p.lost > 1 {
		if err := w.mkparents(p); err != nil {
			return err
		}
	}
	if w.fresh {
		return w.writeFresh(p)
	}
	body := w.body
	if p.info != nil && w.make != nil {
		// What cannot be read is replaced as a whole.
		if old, err := slurp(ctx, w.root, p, w.tree.set.MaxFile); err == nil {
			body = w.make(old)
		}
	}
	if err := w.put(p.rel, body, p.info, w.root.Rename); err != nil {
		return err
	}
	w.created = p.info == nil
	w.told(p.rel, false)
	return nil
}

// mkparents makes the directories on the way to a file that is not there, if
// that was asked for.
func (w *writing) mkparents(p place) error {
	if !w.parents {
		e := content.NotFound(w.target.path, "Write ?parents=true behind the address to have the directories made that lead there.")
		e.Message = fmt.Sprintf("the directory of %.300s is not there", w.target.path)
		return e
	}
	dir, first := path.Dir(p.rel), p.rel
	for range p.lost - 1 {
		first = path.Dir(first)
	}
	if err := w.root.MkdirAll(dir, newDir); err != nil {
		return err
	}
	w.told(first, true)
	for range p.lost - 1 { // each has the name of the next
		dir = path.Dir(dir)
		if err := w.sync(dir); err != nil {
			return err
		}
	}
	return nil
}

// writeFresh writes a file under the first name that is not taken.
func (w *writing) writeFresh(p place) error {
	ext := path.Ext(p.rel)
	stem := strings.TrimSuffix(p.rel, ext)
	shown := strings.TrimSuffix(w.target.path, ext)
	for n := range maxCopies {
		rel := p.rel
		if n > 0 {
			rel = fmt.Sprintf("%s(%d)%s", stem, n, ext)
			if w.tree.hidden(path.Base(rel)) {
				break
			}
		}
		if _, err := w.root.Lstat(rel); err == nil {
			continue
		}
		err := w.put(rel, w.body, nil, w.place)
		if errors.Is(err, fs.ErrExist) {
			continue // another program was faster
		}
		if err != nil {
			return err
		}
		if w.created = true; n > 0 {
			w.path = fmt.Sprintf("%s(%d)%s", shown, n, ext)
		}
		w.told(rel, false)
		return nil
	}
	e := message.NewError(message.CodeConflict, fmt.Sprintf("there are too many copies of %.300s", w.target.path), "Use another name.")
	e.Path = w.target.path
	return e
}

// place gives a new file its name, and fails if there is one.
func (w *writing) place(temp, rel string) error {
	err := w.root.Link(temp, rel)
	if err == nil {
		return w.root.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) || w.exists(rel) {
		return fs.ErrExist
	}
	return w.root.Rename(temp, rel) // there are no links on this file system
}

func (w *writing) exists(rel string) bool {
	_, err := w.root.Lstat(rel)
	return err == nil
}

// put writes a file beside its place, and then in it by name, so that there is
// always all of the old one or all of the new one, also after a loss of power. It
// keeps the mode of old, which is nil if there is none.
func (w *writing) put(rel string, body []byte, old fs.FileInfo, name func(temp, rel string) error) (err error) {
	temp := path.Join(path.Dir(rel), tempPrefix+rand.Text())
	mode := fs.FileMode(newFile)
	if old != nil {
		mode = old.Mode().Perm()
	}
	f, err := w.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = w.root.Remove(temp)
		}
	}()
	_, err = f.Write(body)
	if err == nil && old != nil {
		err = f.Chmod(mode) // the umask may have taken something away
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = name(temp, rel)
	}
	if err != nil {
		return err
	}
	return w.sync(path.Dir(rel))
}

// sync has the names in a directory written to the disk.
func (w *writing) sync(dir string) error {
	f, err := w.root.Open(dir)
	if err != nil {
		return err
	}
	defer shut(f)
	if err := f.Sync(); err != nil && dirSync && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// remove deletes a file, a link or an empty directory.
func (w *writing) remove(dir bool) error {
	p, err := w.find()
	if err == nil && p.info == nil {
		err = w.tree.missing(w.root, w.target, p)
	}
	switch {
	case err != nil:
		return err
	case p.info.IsDir() && !dir && p.link == p.rel:
		return invalid(w.target.path, w.target.path, "is a directory", "Put a slash at the end of the address to delete it.")
	case !p.info.IsDir() && dir:
		return errNotDir
	}
	if err := w.root.Remove(p.link); err != nil {
		return err
	}
	w.told(p.link, p.info.IsDir())
	return w.sync(path.Dir(p.link))
}

// mkdir makes a directory.
func (w *writing) mkdir() error {
	p, err := w.find()
	switch {
	case err != nil:
		return err
	case p.info != nil && !p.info.IsDir():
		return fs.ErrExist
	case p.info != nil:
		return nil
	}
	if p.lost > 1 {
		if err := w.mkparents(p); err != nil {
			return err
		}
	}
	if err := w.root.Mkdir(p.rel, newDir); err != nil {
		return err
	}
	w.created = true
	w.told(p.rel, true)
	return w.sync(path.Dir(p.rel))
}

// locks are held by key.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	turn  chan struct{} // holds one token while nobody has the lock
	users int
}

// lock waits for its turn until ctx ends.
func (l *locks) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[key]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case <-k.turn:
		return func() { k.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
