package standard

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// special are the characters that mean something in patterns of names.
var special = regexp.MustCompile(`[\\*?\[\]]`)

// private returns patterns for the names of what the node lives on, if it lies
// among the files of a scheme that are served: who may publish there would be its
// master, and who may watch, or write a script, would read all of its secrets.
func (s *Settings) private(config, root string, applications map[string]string) []string {
	dirs := slices.AppendSeq([]string{root}, maps.Values(applications))
	var out []string
	for _, file := range s.Lives(config) {
		if slices.ContainsFunc(dirs, func(dir string) bool { return dir != "" && inside(dir, file) }) {
			name := special.ReplaceAllString(filepath.Base(file), `\$0`)
			out = append(out, name, name+"-*") // those are of SQLite
		}
	}
	return out
}

// hide has nothing serve what the node lives on.
func (s *Settings) hide(config string) {
	files, scripts := &s.Files, &s.Script.Settings
	files.Hidden = append(slices.Clip(files.Hidden), s.private(config, files.Root, files.Applications)...)
	scripts.Hidden = append(slices.Clip(scripts.Hidden), s.private(config, scripts.Root, scripts.Applications)...)
}

// Lives returns the files that the node lives on: config, which may be "", and
// those of databases.
func (s *Settings) Lives(config string) []string {
	var out []string
	if config != "" {
		out = append(out, config)
	}
	for _, db := range s.full().Query.Databases {
		if db.File != "" {
			out = append(out, db.File)
		}
	}
	return out
}

// inside reports whether a file, which need not be there, lies below a directory.
func inside(dir, file string) bool {
	rel, err := filepath.Rel(plain(dir), filepath.Join(plain(filepath.Dir(file)), filepath.Base(file)))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// plain is a path without links, as far as it is there.
func plain(p string) string {
	abs, err := filepath.Abs(p)
	if err != nil {
		return p
	}
	if found, err := filepath.EvalSymlinks(abs); err == nil {
		return found
	}
	return abs
}
