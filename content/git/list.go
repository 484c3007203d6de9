package git

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// entry is a file or directory of a listing.
type entry struct {
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	Type     string   `json:"type"`
	Size     *int64   `json:"size,omitempty"`
	Base64   *[]byte  `json:"base64,omitempty"`
	Children []*entry `json:"children,omitzero"`
}

// lister makes a listing.
type lister struct {
	store *Store
	view  *view
	opt   *options
	left  int   // entries that it may still have
	room  int64 // bytes of files that it may still show
}

var errEntries = message.NewError(message.CodeLimitExceeded, "the listing has too many files and directories",
	`List a directory in it, ask for {"depth":1}, or raise maxEntries in the settings of the server.`)

// dir lists a tree.
func (l *lister) dir(tree plumbing.Hash, shown string, depth int) ([]*entry, error) {
	entries, err := l.view.trees.tree(tree)
	if err != nil {
		return nil, err
	}
	list := []*entry{}
	for _, e := range entries {
		if badName(e.Name) != "" || slices.Contains(l.opt.Hidden, e.Name) || e.Mode != filemode.Dir && !isFile(e.Mode) {
			continue
		}
		if l.left--; l.left < 0 {
			return nil, errEntries
		}
		one := &entry{Name: e.Name, Path: shown + e.Name, Type: "file"}
		if e.Mode == filemode.Dir {
			one.Path, one.Type = one.Path+"/", "dir"
			if depth < l.opt.Depth {
				one.Children, err = l.dir(e.Hash, one.Path, depth+1)
			}
		} else {
			err = l.file(one, e.Hash)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b *entry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (l *lister) file(one *entry, h plumbing.Hash) error {
	size, err := l.store.objects.size(h)
	if err != nil {
		return err
	}
	one.Size = &size
	// Who may watch json: need not be one who may read all files.
	if !l.opt.Content || size > maxShown || l.opt.json && !isDocument(one.Name) || l.opt.may != nil && !l.opt.may(one.Path) {
		return nil
	}
	if l.room -= size; l.room < 0 {
		return tooLarge(l.store.set.MaxFile-l.room, l.store.set.MaxFile)
	}
	b, err := l.store.objects.blob(h)
	one.Base64 = &b
	return err
}

// list returns the listing of a directory as a workspace shows it.
func (s *Store) list(ctx context.Context, workspace, at string, o *options) (content.Content, error) {
	v, err := s.view(ctx, workspace)
	if err != nil {
		return content.Content{}, err
	}
	dir, ok, err := find(v.trees, v.root, at)
	switch {
	case err != nil:
		return content.Content{}, err
	case ok && isFile(dir.Mode):
		return content.Content{}, content.NotFound("/"+at, "This is a file: leave out the slash at the end of the address.")
	case !ok || dir.Mode != filemode.Dir || at == "" && v.head.IsZero() && s.remote != nil && !s.remote.fetched():
		return content.Content{}, s.missing(v, at)
	}
	top := &entry{Name: path.Base("/" + at), Path: "/" + at + "/", Type: "dir"}
	if at == "" {
		top.Name, top.Path = "", "/"
	}
	l := &lister{store: s, view: v, opt: o, left: s.set.MaxEntries, room: s.set.MaxFile}
	if top.Children, err = l.dir(dir.Hash, top.Path, 1); err != nil {
		return content.Content{}, err
	}
	return jsonContent(top)
}

// jsonContent makes a content of a value.
func jsonContent(v any) (content.Content, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return content.Content{}, err
	}
	return content.Content{Body: bytes.TrimSuffix(b.Bytes(), []byte("\n"))}, nil
}
