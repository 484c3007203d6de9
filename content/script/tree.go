package script

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// settled is how old a file has to be so that its time and size tell its states
// apart: clocks of file systems tick slowly.
const settled = 2 * time.Second

// tree is where scripts lie. It never lets anybody out.
type tree struct {
	apps   map[string]*app // by first segment; "" if there is only one
	hidden []string        // patterns of names, in small letters
}

// app is one directory of scripts. It is opened for each look at it, since it
// may be replaced by another of the same name.
type app struct{ dir string }

// openTree opens the directories that settings name.
func openTree(s *Settings) (*tree, error) {
	dirs := s.Applications
	if len(dirs) == 0 {
		dirs = map[string]string{"": s.Root}
	}
	t := &tree{apps: make(map[string]*app, len(dirs))}
	for _, p := range s.Hidden {
		t.hidden = append(t.hidden, strings.ToLower(p))
	}
	for name, dir := range dirs {
		field := "root"
		if name != "" {
			field = "applications." + name
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		if info, err := os.Stat(abs); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("%s: %s is no directory", field, dir)
		}
		t.apps[name] = &app{dir: abs}
	}
	return t, nil
}

// stamp tells states of a file apart. The zero stamp is a file that is not there.
type stamp struct {
	size  int64
	mtime int64
}

// source is a file that a program was made of, as it was then.
type source struct {
	path  string
	stamp stamp
	sum   [sha256.Size]byte
	young bool // it was so new that the stamp may stand for another state, too
}

// place finds the directory and the name in it that a path stands for. A path
// that cannot be that of a script is no place.
func (t *tree) place(p string) (a *app, name string, ok bool) {
	for seg := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		if !goodName(seg) || t.hides(seg) {
			return nil, "", false
		}
	}
	if a := t.apps[""]; a != nil {
		return a, p[1:], true
	}
	first, rest, _ := strings.Cut(p[1:], "/")
	a = t.apps[first]
	return a, rest, a != nil && rest != ""
}

// hides reports whether a name is not there for scripts.
func (t *tree) hides(name string) bool {
	return slices.ContainsFunc(t.hidden, func(p string) bool {
		ok, _ := path.Match(p, strings.ToLower(name))
		return ok
	})
}

// goodName reports whether a segment of a path may be the name of a file: one
// that begins with a dot is hidden, and some mean something to some system.
func goodName(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '.' || strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") || strings.ContainsAny(s, `\:*?"<>|%`) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) < 0
}

// extensions are those of files that scripts are made of.
var extensions = []string{".js", ".mjs", ".ts", ".mts", ".json"}

func isScript(p string) bool {
	ext := path.Ext(p)
	return ext != ".json" && slices.Contains(extensions, ext)
}

// stat returns the state of a file.
func (t *tree) stat(p string) stamp {
	a, name, ok := t.place(p)
	if !ok {
		return stamp{}
	}
	root, err := os.OpenRoot(a.dir)
	if err != nil {
		return stamp{}
	}
	defer closeQuietly(root)
	info, err := root.Stat(filepath.FromSlash(name))
	if err != nil || !info.Mode().IsRegular() {
		return stamp{}
	}
	return stampOf(info)
}

// closeQuietly closes what was only read from.
func closeQuietly(c io.Closer) { _ = c.Close() }

func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size() + 1, mtime: info.ModTime().UnixNano()}
}

// read returns a file and its state. A file that is not there is no error: it
// has the zero stamp.
func (t *tree) read(p string, limit int) (string, source, error) {
	src := source{path: p}
	a, name, ok := t.place(p)
	if !ok {
		return "", src, nil
	}
	root, err := os.OpenRoot(a.dir)
	if err != nil {
		return "", src, unreadable(p, err)
	}
	defer closeQuietly(root)
	// A pipe must not hold us up, so it is looked at before it is opened.
	info, err := root.Stat(filepath.FromSlash(name))
	if err != nil {
		return "", src, unreadable(p, err)
	}
	if !info.Mode().IsRegular() {
		return "", src, nil
	}
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return "", src, unreadable(p, err)
	}
	defer closeQuietly(f)
	if info, err = f.Stat(); err != nil {
		return "", src, unreadable(p, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return "", src, unreadable(p, err)
	}
	src.stamp, src.sum = stampOf(info), sha256.Sum256(b)
	src.young = time.Since(info.ModTime()) < settled
	if len(b) > limit {
		e := message.NewError(message.CodeBadContent, fmt.Sprintf("%s has more than %d bytes", p, limit), "Split the script, or raise the limit maxFile.")
		e.Path = p
		return "", src, e
	}
	return string(b), src, nil
}

// unreadable returns the error of a file that is there and cannot be read. One
// that leads out of the tree is as good as not there.
func unreadable(p string, err error) error {
	var pe *fs.PathError
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "escapes") {
		return nil
	}
	e := message.NewError(message.CodeSourceDown, p+" cannot be read", "The log of the node says why.")
	e.Path, e.Cause = p, err
	return e
}

// same reports whether a file is still what it was, and returns what is known of
// it by now.
func (t *tree) same(s source, limit int) (source, bool) {
	if t.stat(s.path) != s.stamp {
		return s, false
	}
	if !s.young {
		return s, true
	}
	_, now, err := t.read(s.path, limit)
	return now, err == nil && now.sum == s.sum && now.stamp == s.stamp
}

// resolve returns the path that an import in a file means; why is what is wrong
// with it.
func (t *tree) resolve(from, to string) (p, why string) {
	if !strings.HasPrefix(to, "./") && !strings.HasPrefix(to, "../") {
		return "", "only files below the same directory of scripts can be imported, by a path that begins with ./ or ../"
	}
	dir := strings.TrimPrefix(path.Dir(from), "/")
	joined := path.Join(dir, to)
	if joined == ".." || strings.HasPrefix(joined, "../") || joined == "." {
		return "", "it leads out of the directory of scripts"
	}
	p = "/" + joined
	if a, _, ok := t.place(p); !ok || a != t.appOf(from) {
		return "", "it leads out of the directory of scripts"
	}
	return p, ""
}

func (t *tree) appOf(p string) *app {
	a, _, _ := t.place(p)
	return a
}

// candidates are the files that an import may mean, in this order: TypeScript
// names the file that will be compiled to.
func candidates(p string) []string {
	ext := path.Ext(p)
	bare := strings.TrimSuffix(p, ext)
	switch ext {
	case ".ts", ".mts", ".json":
		return []string{p}
	case ".js":
		return []string{p, bare + ".ts"}
	case ".mjs":
		return []string{p, bare + ".mts"}
	}
	return []string{p + ".ts", p + ".js", p + ".mts", p + ".mjs"}
}
