package standard

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ts "github.com/ropewalk/ropewalk/sdk/ts"
)

// clientPath is where pages find the client.
const clientPath = "/ropewalk.js"

// Pages returns a handler that serves the files of a directory to browsers, and
// the client as /ropewalk.js; dir may be "" for the client alone. What it does
// not find is for otherwise, which may be nil. Hidden files do not exist for it,
// nor does what symbolic links out of the directory point to; a directory shows
// its index.html. The files in never, and what SQLite keeps beside them, do not
// exist either. The error says why dir cannot be read.
func Pages(dir string, otherwise http.Handler, never ...string) (http.Handler, error) {
	if otherwise == nil {
		otherwise = http.NotFoundHandler()
	}
	p := &pages{otherwise: otherwise, built: time.Now()}
	if dir == "" {
		return p, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, in("pages", fmt.Errorf("open the directory of pages: %w", err))
	}
	p.root = root.FS()
	for _, file := range never {
		if inside(dir, file) {
			p.never = append(p.never, filepath.Base(file))
		}
	}
	p.files = http.FileServerFS(p.root)
	return p, nil
}

type pages struct {
	root      fs.FS // nil: none
	files     http.Handler
	otherwise http.Handler
	never     []string // names of files
	built     time.Time
}

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case p.has(r.URL.Path):
		w.Header().Set("Cache-Control", "no-cache") // asked for again, and answered with 304
		w.Header().Set("X-Content-Type-Options", "nosniff")
		p.files.ServeHTTP(w, r)
	case r.URL.Path == clientPath:
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, clientPath, p.built, bytes.NewReader(ts.Client))
	default:
		p.otherwise.ServeHTTP(w, r)
	}
}

// has tells whether there is a file, or a directory with an index.html, that may
// be shown.
func (p *pages) has(at string) bool {
	if p.root == nil {
		return false
	}
	name := strings.TrimPrefix(path.Clean("/"+at), "/")
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || slices.ContainsFunc(p.never, func(n string) bool {
			return strings.EqualFold(part, n) || len(part) > len(n) && strings.EqualFold(part[:len(n)+1], n+"-")
		}) {
			return false
		}
	}
	if name == "" {
		name = "."
	}
	info, err := fs.Stat(p.root, name)
	if err != nil {
		return false
	}
	if info.IsDir() {
		info, err = fs.Stat(p.root, path.Join(name, "index.html"))
	}
	return err == nil && info.Mode().IsRegular()
}
