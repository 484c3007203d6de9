package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

const (
	maxShown  = 64 << 10 // bytes of a file that a listing shows
	maxHidden = 100      // names that a request hides
	batch     = 512      // entries that are read at once
)

// listing is what a listing shows.
type listing struct {
	Depth   int      `json:"depth"`
	Content bool     `json:"content"`
	Hidden  []string `json:"hidden"`

	json bool                   // it is under json:
	may  func(path string) bool // whether the content of a file may be shown; nil: of all
	who  string                 // for whom
}

// listing reads the parameters of a listing.
func (t *Tree) listing(params json.RawMessage) (*listing, error) {
	o := &listing{}
	if len(params) > 0 {
		if err := json.Unmarshal(params, o); err != nil {
			field := "params"
			if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
				field = "params." + wrong.Field
			}
			return nil, invalid("listing", field, "the parameters cannot be read",
				`Send an object such as {"depth":1,"content":true,"hidden":["drafts"]}.`)
		}
	}
	switch {
	case o.Depth < 0:
		return nil, invalid("listing", "params.depth", "depth is negative", "Write 1 for the entries of the directory alone.")
	case len(o.Hidden) > maxHidden:
		return nil, invalid("listing", "params.hidden", "more than 100 names are hidden", "Name fewer.")
	}
	if o.Depth == 0 || o.Depth > maxDepth {
		o.Depth = maxDepth
	}
	o.Hidden = slices.DeleteFunc(o.Hidden, func(name string) bool { return BadName(name) != "" }) // there is none
	slices.Sort(o.Hidden)
	o.Hidden = slices.Compact(o.Hidden)
	return o, nil
}

// key tells listings apart.
func (o *listing) key(p string) string {
	b, _ := json.Marshal(o) //nolint:errchkjson // strings and numbers
	return "list:" + p + ":" + string(b) + o.who
}

// entry is a file or directory of a listing.
type entry struct {
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	Type     string   `json:"type"`
	Size     *int64   `json:"size,omitempty"`
	Modified string   `json:"modified,omitempty"`
	Base64   *[]byte  `json:"base64,omitempty"`
	Children []*entry `json:"children,omitzero"`
}

func dirEntry(p string) *entry {
	name := path.Base(p)
	if p == "/" {
		name = ""
	}
	return &entry{Name: name, Path: p, Type: "dir"}
}

// lister makes a listing.
type lister struct {
	tree    *Tree
	ctx     context.Context //nolint:containedctx // the lister is the call
	opt     *listing
	left    int   // entries that it may still have
	room    int64 // bytes of files that it may still show
	visit   func(dir, name string)
	dirs    bool // only directories are wanted: somebody arms a watch
	imprint io.Writer
	now     time.Time // the newest change that was seen
}

var errEntries = errors.New("more entries than a listing may have")

func (t *Tree) lister(ctx context.Context, o *listing) *lister {
	return &lister{tree: t, ctx: ctx, opt: o, left: t.set.MaxEntries, room: t.set.MaxFile}
}

// list returns the content of a listing.
func (t *Tree) list(ctx context.Context, g target, o *listing) (content.Content, error) {
	l := t.lister(ctx, o)
	e, err := l.target(g)
	switch {
	case errors.Is(err, errEntries):
		full := message.NewError(message.CodeLimitExceeded,
			fmt.Sprintf("%.300s has more than %d files and directories", g.path, t.set.MaxEntries),
			`List a directory in it, ask for {"depth":1}, or raise maxEntries in the settings of the server.`)
		full.Path, full.Details = g.path, fmt.Appendf(nil, `{"limit":%d}`, t.set.MaxEntries)
		return content.Content{}, full
	case errors.Is(err, errLarge):
		return content.Content{}, tooLarge(g.path, t.set.MaxFile)
	case err != nil:
		return content.Content{}, fault(g.path, err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return content.Content{}, err
	}
	return content.Content{Body: bytes.TrimSuffix(buf.Bytes(), []byte("\n"))}, nil
}

// target lists a target: a directory, or all applications.
func (l *lister) target(g target) (*entry, error) {
	if g.top() {
		return l.all()
	}
	root, p, err := l.tree.find(g)
	if err != nil {
		return nil, err
	}
	defer shut(root)
	if !p.info.IsDir() {
		return nil, content.NotFound(g.path, "This is a file: leave out the slash at the end of the address.")
	}
	e := dirEntry(g.path)
	e.Children, err = l.dir(root, p.rel, g.path, 1, nil)
	return e, err
}

// all lists the applications.
func (l *lister) all() (*entry, error) {
	e := dirEntry("/")
	e.Children = []*entry{}
	for name, m := range l.tree.mounts {
		if slices.Contains(l.opt.Hidden, name) {
			continue
		}
		if l.left--; l.left < 0 {
			return nil, errEntries
		}
		child := dirEntry("/" + name + "/")
		e.Children = append(e.Children, child)
		root, err := l.tree.open(target{mount: m, path: child.Path})
		if err != nil {
			continue // it is listed, empty, until its directory is there
		}
		if l.opt.Depth > 1 {
			child.Children, err = l.dir(root, ".", child.Path, 2, nil)
		}
		shut(root)
		if err != nil {
			return nil, err
		}
	}
	sortEntries(e.Children)
	return e, nil
}

func sortEntries(list []*entry) {
	slices.SortFunc(list, func(a, b *entry) int { return strings.Compare(a.Name, b.Name) })
}

// dir lists a directory. above are the directories that it is in: a link to one
// of them is shown without what is in it.
func (l *lister) dir(root *os.Root, rel, shown string, depth int, above []string) ([]*entry, error) {
	list := []*entry{}
	if slices.Contains(above, rel) {
		return nil, nil
	}
	above = append(slices.Clip(above), rel)
	if l.visit != nil {
		l.visit(rel, "")
	}
	f, err := root.OpenFile(rel, readFlags, 0)
	if err != nil {
		return l.gone(list, depth, err)
	}
	defer shut(f)
	for {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		found, err := f.ReadDir(batch)
		for _, d := range found {
			if l.tree.hidden(d.Name()) || slices.Contains(l.opt.Hidden, d.Name()) {
				continue
			}
			if l.left--; l.left < 0 {
				return nil, errEntries
			}
			e, ok, err := l.entry(root, rel, shown, d, depth, above)
			if err != nil {
				return nil, err
			}
			if ok {
				list = append(list, e)
			}
		}
		if err == io.EOF { //nolint:errorlint // os.File returns it as it is
			break
		}
		if err != nil {
			return l.gone(list, depth, err)
		}
	}
	sortEntries(list)
	return list, nil
}

// gone treats a directory within a listing that has just been removed, or that
// the server may not read, as an empty one.
func (l *lister) gone(list []*entry, depth int, err error) ([]*entry, error) {
	if depth > 1 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return list, nil
	}
	return nil, err
}

// entry returns one entry of a directory, unless it is not shown.
func (l *lister) entry(root *os.Root, rel, shown string, d fs.DirEntry, depth int, above []string) (e *entry, ok bool, err error) {
	name := d.Name()
	p, ok := l.look(root, path.Join(rel, name), d)
	if !ok {
		return nil, false, nil
	}
	if l.imprint != nil {
		fmt.Fprintf(l.imprint, "%s\x00%v\x00%d\x00%d\n", p.rel, p.info.Mode(), p.info.Size(), p.info.ModTime().UnixNano())
		if p.info.ModTime().After(l.now) {
			l.now = p.info.ModTime()
		}
	}
	switch {
	case p.info.IsDir():
		e = &entry{Name: name, Path: shown + name + "/", Type: "dir"}
		if depth < l.opt.Depth {
			e.Children, err = l.dir(root, p.rel, e.Path, depth+1, above)
		}
		return e, true, err
	case p.info.Mode().IsRegular() && !l.dirs:
		e, err = l.file(root, p, name, shown)
		return e, true, err
	}
	return nil, false, nil
}

// look returns what an entry is, or false if it leads out or to nothing, is gone
// already or not wanted.
func (l *lister) look(root *os.Root, rel string, d fs.DirEntry) (place, bool) {
	if d.Type()&fs.ModeSymlink != 0 {
		p, err := walk(root, strings.Split(rel, "/"), l.tree.visible, l.visit)
		return p, err == nil && p.info != nil
	}
	if l.dirs && !d.IsDir() {
		return place{}, false
	}
	info, err := d.Info()
	return place{rel: rel, info: info}, err == nil
}

func (l *lister) file(root *os.Root, p place, name, shown string) (*entry, error) {
	size := p.info.Size()
	e := &entry{
		Name: name, Path: shown + name, Type: "file", Size: &size,
		Modified: p.info.ModTime().UTC().Format(time.RFC3339Nano),
	}
	// Who may watch json: need not be one who may read all files.
	if !l.opt.Content || size > maxShown || l.imprint != nil || l.opt.json && kind(name) == "" || l.opt.may != nil && !l.opt.may(e.Path) {
		return e, nil
	}
	b, err := slurp(l.ctx, root, p, maxShown)
	if err != nil {
		return e, l.ctx.Err() // it may not be read, or has just grown or gone
	}
	if l.room -= int64(len(b)); l.room < 0 {
		return nil, errLarge
	}
	e.Base64 = &b
	return e, nil
}
