package file

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode"
)

const maxLinks = 40 // on the way to one file, as in Linux

// mount is a directory that is served. It is opened anew for each use, so that
// one that was removed and made again, or a link that was set to another, is
// seen.
type mount struct {
	name string // the first segment of the paths, or ""
	dir  string // absolute
}

// place is where a path leads to in a mount.
type place struct {
	rel  string      // relative to the mount, links resolved; where it would be if it is not there
	link string      // the last name itself if it is a link, else rel
	info fs.FileInfo // nil if there is nothing
	lost int         // how many names at the end are not there
}

// walk follows names from the root, and links within the root. It calls visit,
// if it is not nil, before it looks at a name in a directory. All names, those
// in links included, have to be visible. What it returns has no links any more,
// so that whoever opens it does not follow any; should one have appeared
// meanwhile, os.Root keeps it from leading out.
func walk(root *os.Root, names []string, visible func(string) bool, visit func(dir, name string)) (place, error) {
	p := place{rel: "."}
	todo, own, links := slices.Clone(names), len(names), 0
	for len(todo) > 0 {
		name := todo[0]
		last := len(todo) == own && own == 1
		own = min(own, len(todo)-1)
		todo = todo[1:]
		switch {
		case name == "." || name == "":
			continue
		case name == ".." && p.rel == ".":
			return p, errLeadsOut
		case name == "..":
			p.rel = path.Dir(p.rel)
			continue
		case !visible(name):
			return p, errHidden
		}
		if visit != nil {
			visit(p.rel, name)
		}
		at := path.Join(p.rel, name)
		if last {
			p.link = at
		}
		info, err := look(root, p.rel, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.lost = len(todo) + 1
			p.rel = path.Join(append([]string{at}, todo...)...)
			p.link = cmp.Or(p.link, p.rel)
			return p, unborn(todo, visible)
		case err != nil:
			return p, err
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := readLink(root, at)
			if err != nil {
				return p, err
			}
			if links++; links > maxLinks {
				return p, errLoop
			}
			todo = append(target, todo...)
		case info.IsDir() || len(todo) == 0:
			p.rel = at
		default:
			return p, errNotDir
		}
	}
	p.link = cmp.Or(p.link, p.rel)
	var err error
	p.info, err = root.Lstat(p.rel)
	return p, err
}

// unborn checks what follows a name that is not there.
func unborn(todo []string, visible func(string) bool) error {
	for _, name := range todo {
		switch {
		case name == "..":
			return errLeadsOut
		case name != "" && name != "." && !visible(name):
			return errHidden
		}
	}
	return nil
}

func readLink(root *os.Root, at string) ([]string, error) {
	target, err := root.Readlink(at)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "windows" {
		target = strings.ReplaceAll(target, `\`, "/")
	}
	if strings.HasPrefix(target, "/") || len(target) > maxPath {
		return nil, errLeadsOut
	}
	return strings.Split(target, "/"), nil
}

// look returns what a name in a directory is, without following it. The name has
// to be there as it is written: otherwise the rules for one address could be
// evaded by writing it with other capitals.
func look(root *os.Root, dir, name string) (fs.FileInfo, error) {
	info, err := root.Lstat(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	doubt := runtime.GOOS != "linux" && strings.ContainsFunc(name, func(r rune) bool { return r == '~' || r > unicode.MaxASCII })
	if other := flip(name); !doubt && other != name {
		same, err := root.Lstat(path.Join(dir, other))
		doubt = err == nil && os.SameFile(info, same)
	}
	if !doubt {
		return info, nil
	}
	names, err := namesIn(root, dir, -1)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, name) {
		return nil, errCase
	}
	return info, nil
}

// flip returns a name with small letters in place of capitals and capitals in
// place of small ones.
func flip(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, name)
}

// shut closes what was only read.
func shut(c io.Closer) { _ = c.Close() }

// namesIn returns at most n names in a directory, all if n is negative.
func namesIn(root *os.Root, dir string, n int) ([]string, error) {
	f, err := root.OpenFile(dir, readFlags, 0)
	if err != nil {
		return nil, err
	}
	defer shut(f)
	names, err := f.Readdirnames(n)
	if n > 0 && len(names) > 0 {
		err = nil
	}
	return names, err
}
