// Package file has the contents of files behind topics: json: for JSON, with
// comments or without, and file: for any file and for the listings of
// directories. A [Tree] is the directories; its two providers share what is
// known of them.
//
// A file is read when somebody asks, and its watchers are told when it changes,
// whoever changed it. Published files are written beside the old one and put in
// its place, so that nobody ever reads half of one, and are on the disk when
// publish returns. What a crash of the machine may leave of that are files whose
// names begin with ".ropewalk-". A change that is made through another name of
// the same file, a hard link, is not noticed.
//
// # Addresses
//
// The path of an address is the path of the file below the root, or below the
// directory of the application that the first segment names. Names that begin
// with a dot are not there, nor are names that some system takes for something
// else: with a backslash or a colon, ending in a dot or a blank, with separators
// or dots that are percent-encoded, CON, NUL and the like. Capitals have to be
// as they are on the disk. Symbolic links are followed if they are relative and
// lead to something below the same root.
//
// # json:
//
// The content of a .json or .jsonc file, compact; of .jsonc, comments and commas
// after the last element are left out. A file that cannot be read so, has a key
// twice or is not UTF-8 is an error "bad_content" with line and column. Publish
// writes it indented by two blanks; the comments of a .jsonc stay where the key
// or element that they stand at stays. Parameters are ignored.
//
// # file:
//
// The content is the bytes with a content type by the extension, or with the
// parameter {"encoding":"base64"} the object {"base64":…}; {"encoding":"raw"}
// asks for bytes where base64 is the default. Publish takes bytes, or an object
//
//	{"base64":"…","noOverwrite":true,"parents":true}
//
// of which the last two can be left out, and which has to have nothing else:
// other JSON is written as it is.
//
// # Publish
//
// The query of the address takes the same two options for both schemes:
// "?noOverwrite=true" gives the file another name, such as "name(1).ext", if
// there is one with the name already; "?parents=true" makes the directories that
// lead there, which is an error otherwise. The answer is
// {"path":"/shop/name(1).ext","created":true}. Publish without a body deletes; a
// link is deleted itself, otherwise what it points to is written. At an address
// that ends in a slash, publish of an empty object makes a directory, and without
// a body deletes one that is empty.
//
// # Listings
//
// An address that ends in a slash is the listing of a directory, as JSON, under
// both schemes. Each entry has "name", "path" (of its address, after the scheme;
// that of a directory ends in a slash), "type" ("file" or "dir"), of a file
// "size" and "modified", and of a directory "children", sorted by name. Parameters:
//
//	{"depth":1,"content":true,"hidden":["drafts"]}
//
// depth is how many levels are shown, all without it; content adds "base64" to
// files of up to 64 KiB, under json: to those that it serves, if whoever looks may get the file
// itself; a listing that is the same for all shows what everybody may get. hidden
// are names that are left out. The names in a listing are not subject to the rules
// for the files.
package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// Tree is one or more directories that are served. Make one with [New]. It may
// be used from any goroutine. It is closed by [Tree.Close], or when all
// providers that were taken from it are closed.
type Tree struct {
	set      Settings
	patterns []string // of hidden names, in small letters
	mounts   map[string]*mount
	watcher  *watcher
	locks    locks
	users    atomic.Int32 // providers that are not closed
}

// New returns the tree that the settings describe. It fails, naming the field,
// if they are wrong or a directory is not there.
func New(s Settings) (*Tree, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.MaxFile == 0 {
		s.MaxFile = DefaultMaxFile
	}
	if s.MaxEntries == 0 {
		s.MaxEntries = DefaultMaxEntries
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	mounts, err := s.mounts()
	if err != nil {
		return nil, err
	}
	t := &Tree{set: s, mounts: mounts}
	for _, p := range s.Hidden {
		t.patterns = append(t.patterns, strings.ToLower(p))
	}
	t.watcher = newWatcher(t)
	return t, nil
}

// JSON returns the provider of the scheme json.
func (t *Tree) JSON() content.Provider {
	t.users.Add(1)
	return &provider{tree: t, json: true}
}

// Files returns the provider of the scheme file. Contents are bytes if raw is
// true, else objects with base64, where a watcher does not say what it wants.
func (t *Tree) Files(raw bool) content.Provider {
	t.users.Add(1)
	return &provider{tree: t, raw: raw}
}

// Close ends all watching. It waits for the tree's goroutine, and may be called
// more than once.
func (t *Tree) Close() error {
	t.watcher.close()
	return nil
}

// provider is the tree under one scheme.
type provider struct {
	tree *Tree
	json bool
	raw  bool
	once sync.Once
}

// Close implements [content.Closer].
func (p *provider) Close() error {
	var err error
	p.once.Do(func() {
		if p.tree.users.Add(-1) == 0 {
			err = p.tree.Close()
		}
	})
	return err
}

// target is what a request means.
type target struct {
	mount *mount // nil for all applications
	path  string // of the address, to be shown; ends in a slash for a listing
	names []string
	dir   bool
}

// top reports whether t is the listing of all applications.
func (t *target) top() bool { return t.mount == nil }

// target finds out what a request means.
func (t *Tree) target(r *content.Request) (target, error) {
	g := target{path: r.Path, dir: r.Dir}
	if g.dir && g.path != "/" {
		g.path += "/"
	}
	names, why := t.split(r.Path)
	if why != "" {
		return g, content.NotFound(g.path, fmt.Sprintf("This path is never served: it %s.", why))
	}
	if m := t.mounts[""]; m != nil {
		g.mount, g.names = m, names
		return g, nil
	}
	if len(names) == 0 {
		return g, nil
	}
	m := t.mounts[names[0]]
	if m == nil {
		var apps []string
		for name := range t.mounts {
			apps = append(apps, name)
		}
		hint := "The first segment has to be the name of an application of this server."
		if near := nearest(names[0], apps); near != "" {
			hint = "Did you mean /" + path.Join(append([]string{near}, names[1:]...)...) + "?"
		}
		return g, content.NotFound(g.path, hint)
	}
	g.mount, g.names = m, names[1:]
	return g, nil
}

// open opens the root of a target.
func (t *Tree) open(g target) (*os.Root, error) {
	root, err := os.OpenRoot(g.mount.dir)
	if err != nil {
		return nil, sourceDown(g.path, err)
	}
	return root, nil
}

func (t *Tree) visible(name string) bool { return !t.hidden(name) }

// find opens the root of a target and follows its names; what is not there is an
// error.
func (t *Tree) find(g target) (*os.Root, place, error) {
	root, err := t.open(g)
	if err != nil {
		return nil, place{}, err
	}
	p, err := walk(root, g.names, t.visible, nil)
	switch {
	case errors.Is(err, errCase):
		err = content.NotFound(g.path, "It is there under a name with other capitals: write it as it is there.")
	case err == nil && p.info == nil:
		err = t.missing(root, g, p)
	}
	if err != nil {
		shut(root)
		return nil, p, fault(g.path, err)
	}
	return root, p, nil
}

// maxNear is how many names are compared with one that is not there.
const maxNear = 2000

// missing returns the error that there is nothing, with the name that was
// probably meant.
func (t *Tree) missing(root *os.Root, g target, p place) error {
	e := content.NotFound(g.path, "Publish to it, or put a file there, and watchers get it.")
	known := len(g.names) - p.lost
	if known < 0 {
		return e // a link that leads to nothing
	}
	dir := p.rel
	for range p.lost {
		dir = path.Dir(dir)
	}
	names, err := namesIn(root, dir, maxNear)
	if err != nil {
		return e
	}
	var seen []string
	for _, name := range names {
		if t.visible(name) {
			seen = append(seen, name)
		}
	}
	if near := nearest(g.names[known], seen); near != "" {
		guess := append(append([]string{g.mount.name}, g.names[:known]...), near)
		guess = append(guess, g.names[known+1:]...)
		e.Hint = "Did you mean /" + path.Join(guess...) + "?"
	}
	return e
}

// Open implements [content.Provider].
func (p *provider) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	g, err := p.tree.target(r)
	if err != nil {
		return nil, err
	}
	if g.dir {
		o, err := p.tree.listing(r.Params)
		if err != nil {
			return nil, err
		}
		o.json = p.json
		if rights := p.tree.set.Rights; rights != nil && o.Content {
			scheme, who := "file", r.Session
			if p.json {
				scheme = "json"
			}
			o.who = content.Who(who)
			o.may = func(at string) bool { return rights.MayRead(who, message.Address{Name: scheme, Path: at}) }
		}
		return &resource{tree: p.tree, target: g, list: o, key: o.key(g.path)}, nil
	}
	if g.mount == nil || len(g.names) == 0 {
		return nil, content.NotFound(g.path, "This is a directory: put a slash at the end of the address.")
	}
	res := &resource{tree: p.tree, target: g, json: p.json, raw: p.raw}
	if p.json {
		if err := onlyJSON(g.path); err != nil {
			return nil, err
		}
	} else if res.raw, err = rawWanted(r.Params, p.raw); err != nil {
		return nil, err
	}
	res.key = "base64:" + g.path
	if res.raw || res.json {
		res.key = "plain:" + g.path
	}
	return res, nil
}

// resource is a file, or a listing if list is not nil.
type resource struct {
	tree   *Tree
	target target
	key    string
	list   *listing
	json   bool
	raw    bool

	watches atomic.Pointer[[]*watch] // nil if it is not watched
}

// Key implements [content.Resource].
func (r *resource) Key() string { return r.key }

// Get implements [content.Resource].
func (r *resource) Get(ctx context.Context) (c content.Content, err error) {
	list := r.watches.Load()
	if list == nil {
		return r.get(ctx)
	}
	r.tree.watcher.reading(*list, func() { c, err = r.get(ctx) })
	return c, err
}

func (r *resource) get(ctx context.Context) (content.Content, error) {
	switch {
	case r.list != nil:
		return r.tree.list(ctx, r.target, r.list)
	case r.json:
		return r.tree.readJSON(ctx, r.target)
	}
	return r.tree.readFile(ctx, r.target, r.raw)
}

// Watch implements [content.Resource].
func (r *resource) Watch(changed func()) (stop func(), err error) {
	w := r.tree.watcher
	var list []*watch
	if r.target.top() {
		list, err = w.addAll(r.list, changed)
	} else {
		list = make([]*watch, 1)
		list[0], err = w.add(r.target, r.list, changed)
	}
	if err != nil {
		return nil, err
	}
	unrule := func() {}
	if r.list != nil && r.list.may != nil {
		unrule = r.tree.set.Rights.Watch(changed)
	}
	r.watches.Store(&list)
	return sync.OnceFunc(func() {
		unrule()
		r.watches.CompareAndSwap(&list, nil)
		for _, x := range list {
			w.stop(x)
		}
	}), nil
}

// errClosed is what a closed tree answers.
var errClosed = message.NewError(message.CodeShuttingDown, "the tree of files is closed", "")

var (
	_ content.Publisher = (*provider)(nil)
	_ content.Closer    = (*provider)(nil)
)
