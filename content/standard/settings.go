package standard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Config is a configuration file: a node, and the contents that it serves.
type Config struct {
	ropewalk.Config

	// Content says which files, queries, scripts and web resources are served as
	// live topics. It needs the program "ropewalk", or package content/standard.
	Content Settings `json:"content,omitzero"`
}

// Node returns the part of the node. When it is reloaded, it knows what has
// changed in the other.
func (c *Config) Node() ropewalk.Config {
	node := c.Config
	node.More = map[string]any{"content": c.Content}
	return node
}

// Settings is the section "content" of a configuration file. The zero value
// serves nothing.
type Settings struct {
	// Root is a directory of contents. Its files are served as json: and file:, the
	// .sql files in its directories as query:, its scripts as script: and
	// javascript:. Where nothing else is said, queries run on an SQLite database in
	// it, .ropewalk/main.db.
	Root string `json:"root,omitempty" path:"file"`
	// Applications are such directories by the first segment of the path: with
	// {"shop":"/srv/shop"}, json:/shop/b.json is the file /srv/shop/b.json. Give
	// either this or root. For query: this needs query.databases.
	Applications map[string]string `json:"applications,omitempty" path:"file"`
	// Pages is a directory of files for browsers: /score.html is the file score.html
	// in it, and /ropewalk.js the client. Default: the client alone.
	Pages string `json:"pages,omitempty" path:"file"`
	// Schemes are those that are served, of json, file, query, script, javascript,
	// http, https and git. Default: all that there are settings for.
	Schemes []string `json:"schemes,omitempty"`
	// Watches is how many different contents of a scheme may be watched at a time.
	// Default: 1048576.
	Watches int `json:"watches,omitempty"`
	// Presence are addresses of contents, such as "json:/scores/**", of which the
	// nodes tell who watches them, at node:/presence/json/scores/…, to all who may
	// watch them, too. Default: none.
	Presence []string `json:"presence,omitempty"`
	// Files says more about json: and file:, or names other directories for them.
	Files file.Settings `json:"files,omitzero"`
	// Query says more about query:, or names other directories for it.
	Query Query `json:"query,omitzero"`
	// Script says more about script: and javascript:, or names other directories for
	// them.
	Script Script `json:"script,omitzero"`
	// Web says what http: and https: fetch, and scripts with them.
	Web web.Settings `json:"web,omitzero"`
	// Git has json: and file: served from a branch of a repository in place of a
	// directory, and as git: what there is to know and do about it.
	Git git.Settings `json:"git,omitzero"`
}

// Sharing is what may be said about schemes whose contents may depend on who
// looks.
type Sharing struct {
	// Shared are patterns of paths, such as "/shop/board/**", whose contents are
	// the same for everybody: they are asked for once for all who watch, and
	// nothing in them knows who that is. Default: none.
	Shared []string `json:"shared,omitempty"`
	// Interval is how long after it was computed a content is computed again, at
	// least, when it changes. Default: at once for scripts, 25ms for queries.
	Interval duration.Duration `json:"interval,omitzero"`
}

// Query is about query:.
type Query struct {
	query.Settings
	Sharing
}

// Script is about script: and javascript:.
type Script struct {
	script.Settings
	Sharing
	// Schedules is "one" to run scripts by the schedules that they have, and for
	// events, at one of the nodes that say so, chosen as the owner of a topic is;
	// "everywhere" to run them at this node in any case; or "none". Default: one.
	Schedules string `json:"schedules,omitempty"`
}

// Values of Script.Schedules.
const (
	SchedulesOne        = "one"
	SchedulesEverywhere = "everywhere"
	SchedulesNone       = "none"
)

// dataDir holds what belongs to the contents and is none: hidden names are not
// served.
const dataDir = ".ropewalk"

// The schemes, in the order in which they are served.
const (
	schemeJSON       = "json"
	schemeFile       = "file"
	schemeQuery      = "query"
	schemeScript     = "script"
	schemeJavaScript = "javascript"
	schemeHTTP       = "http"
	schemeHTTPS      = "https"
	schemeGit        = "git"
)

var schemes = []string{schemeJSON, schemeFile, schemeQuery, schemeScript, schemeJavaScript, schemeHTTP, schemeHTTPS, schemeGit}

// On tells whether anything is served.
func (s *Settings) On() bool {
	return slices.ContainsFunc(schemes, s.serves)
}

// serves tells whether a scheme is served.
func (s *Settings) serves(scheme string) bool {
	return s.about(scheme) && (len(s.Schemes) == 0 || slices.Contains(s.Schemes, scheme))
}

// about tells whether there are settings for a scheme.
func (s *Settings) about(scheme string) bool {
	full := s.full()
	switch scheme {
	case schemeJSON, schemeFile:
		return full.fromGit() || full.Files.Root != "" || len(full.Files.Applications) > 0
	case schemeQuery:
		return len(full.Query.Databases) > 0 && (full.Query.Root != "" || len(full.Query.Applications) > 0)
	case schemeScript, schemeJavaScript:
		return full.Script.Root != "" || len(full.Script.Applications) > 0
	case schemeHTTP, schemeHTTPS:
		return len(full.Web.Allow) > 0
	case schemeGit:
		return full.fromGit()
	}
	return false
}

func (s *Settings) fromGit() bool { return s.Git.Repository != "" }

// full returns the settings with what one section has from the others.
func (s *Settings) full() Settings {
	out := *s
	inherit := func(root *string, apps *map[string]string) {
		switch {
		case *root != "" || len(*apps) > 0:
		case s.Root != "": // both are an error that is told once
			*root = s.Root
		default:
			*apps = s.Applications
		}
	}
	if !s.fromGit() {
		inherit(&out.Files.Root, &out.Files.Applications)
	}
	inherit(&out.Query.Root, &out.Query.Applications)
	inherit(&out.Script.Root, &out.Script.Applications)
	if len(out.Query.Databases) == 0 && out.Query.Root != "" {
		out.Query.Databases = map[string]query.Database{"main": {File: filepath.Join(out.Query.Root, dataDir, "main.db")}}
	}
	return out
}

// Check tells what is wrong, each a *message.Error with CodeInvalidInput whose
// Path is the field below content, such as "query.databases.main.url". It looks
// at no disk.
func (s *Settings) Check() []error {
	var f faults
	if s.Root != "" && len(s.Applications) > 0 {
		f.add("root", "there are applications, too", "Give one of the two.")
	}
	if s.Watches < 0 {
		f.add("watches", fmt.Sprintf("%d is negative", s.Watches), "Leave it out for the default.")
	}
	for i, scheme := range s.Schemes {
		at := fmt.Sprintf("schemes[%d]", i)
		switch {
		case !slices.Contains(schemes, scheme):
			f.add(at, fmt.Sprintf("%q is none of %s", scheme, strings.Join(schemes, ", ")), "")
		case !s.about(scheme):
			f.add(at, "there are no settings for "+scheme, missing[scheme])
		}
	}
	for i, address := range s.Presence {
		at := fmt.Sprintf("presence[%d]", i)
		scheme, path, _ := strings.Cut(address, ":")
		_, err := route.ParsePattern(path)
		switch {
		case !slices.Contains(schemes, scheme):
			f.add(at, fmt.Sprintf("%q is no address of contents", address), "Write it as json:/scores/**.")
		case err != nil:
			e := message.AsError(err)
			f.add(at, e.Message, e.Hint)
		case !s.serves(scheme):
			f.add(at, scheme+": is not served", "")
		}
	}
	s.sections(&f)
	return f
}

// presence returns the patterns of a scheme in Presence.
func (s *Settings) presence(scheme string) (paths []string) {
	for _, address := range s.Presence {
		if path, ok := strings.CutPrefix(address, scheme+":"); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// missing says what a scheme needs.
var missing = map[string]string{
	schemeJSON: "Set root.", schemeFile: "Set root.", schemeQuery: "Set root, or query.databases.", schemeScript: "Set root.", schemeJavaScript: "Set root.",
	schemeHTTP: "Set web.allow.", schemeHTTPS: "Set web.allow.", schemeGit: "Set git.repository.",
}

// sections checks those that there are.
func (s *Settings) sections(f *faults) {
	full := s.full()
	if full.fromGit() {
		f.of("git", full.Git.Check())
		if full.Files.Root != "" || len(full.Files.Applications) > 0 {
			f.add("files", "json: and file: are served from git", "Leave out files or git.")
		}
	} else if full.about(schemeJSON) {
		f.of("files", full.Files.Check())
	}
	f.of("query", full.Query.Settings.Check())
	switch dirs := full.Query.Root != "" || len(full.Query.Applications) > 0; {
	case !dirs && len(full.Query.Databases) > 0:
		f.add("query.root", "is missing", "Name the directory of the .sql files.")
	case len(s.Query.Applications) > 0 && len(full.Query.Databases) == 0:
		f.add("query.databases", "there is no database", `Name one, such as {"main":{"file":"main.db"}}.`)
	}
	if full.about(schemeScript) {
		f.of("script", full.Script.Settings.Check())
	} else if len(full.Script.Grants) > 0 {
		f.add("script.root", "is missing", "Name the directory of the scripts.")
	}
	if w := full.Script.Schedules; w != "" && w != SchedulesOne && w != SchedulesEverywhere && w != SchedulesNone {
		f.add("script.schedules", fmt.Sprintf("%q is none of one, everywhere, none", w), "Leave it out for one.")
	}
	f.of("web", full.Web.Check())
	full.Query.Sharing.check("query", f)
	full.Script.Sharing.check("script", f)
}

func (s *Sharing) check(section string, f *faults) {
	for i, p := range s.Shared {
		at := fmt.Sprintf("%s.shared[%d]", section, i)
		pattern, err := route.ParsePattern(p)
		switch {
		case err != nil:
			e := message.AsError(err)
			f.add(at, e.Message, e.Hint)
		case pattern.String() == "/" || pattern.String() == "/**":
			f.add(at, "this is everything", "Name directories, such as /shop/board/**.")
		case slices.Contains(s.Shared[:i], p):
			f.add(at, fmt.Sprintf("%q is there twice", p), "")
		}
	}
	if s.Interval < 0 {
		f.add(section+".interval", "is negative", "Leave it out for the default.")
	}
}

// faults collects what is wrong.
type faults []error

func (f *faults) add(path, text, hint string) {
	*f = append(*f, &message.Error{Code: message.CodeInvalidInput, Path: path, Message: text, Hint: hint})
}

// of adds the errors of a section, which may be several that were joined.
func (f *faults) of(section string, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // it is what errors.Join makes
		for _, one := range many.Unwrap() {
			f.of(section, one)
		}
		return
	}
	if err == nil {
		return
	}
	path, text := fieldOf(err)
	hint := ""
	if e, ok := errors.AsType[*message.Error](err); ok {
		hint = e.Hint
	}
	f.add(strings.TrimSuffix(section+"."+path, "."), text, hint)
}

// fieldOf takes the name of the field off an error, which begins with it or has
// it as its Path.
func fieldOf(err error) (path, text string) {
	text = err.Error()
	if e, ok := errors.AsType[*message.Error](err); ok {
		text = e.Message
		if e.Path != "" {
			text = strings.TrimPrefix(strings.TrimPrefix(text, e.Path), ":")
			return e.Path, strings.TrimSpace(text)
		}
	}
	if head, rest, ok := strings.Cut(text, ": "); ok && !strings.ContainsAny(head, " \t\"") {
		return head, rest
	}
	return "", text
}

// checkDirs checks that the directories are there that hold all there is: what
// else opens them knows only its own settings by name.
func (s *Settings) checkDirs() error {
	dirs := map[string]string{"root": s.Root}
	for name, dir := range s.Applications {
		dirs["applications."+name] = dir
	}
	for field, dir := range dirs {
		if dir == "" {
			continue
		}
		var what string
		switch info, err := os.Stat(dir); {
		case errors.Is(err, fs.ErrNotExist):
			what = "there is no directory " + dir
		case err != nil:
			what = err.Error()
		case !info.IsDir():
			what = dir + " is not a directory"
		default:
			continue
		}
		e := message.NewError(message.CodeInvalidInput, what, "Make it, or name another one.")
		e.Path = field
		return e
	}
	return nil
}
