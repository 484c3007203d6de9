package standard

import (
	"maps"
	"path/filepath"

	"github.com/ropewalk/ropewalk/content/query"
)

// Below takes the relative paths of directories and files as relative to dir, where
// the configuration file is. given tells of a field, such as "query.root", whether
// the file says it: what a flag or a variable says is relative to where the program
// was started.
func (s *Settings) Below(dir string, given func(field string) bool) {
	one := func(field string, path *string) {
		if *path != "" && !filepath.IsAbs(*path) && given(field) {
			*path = filepath.Join(dir, *path)
		}
	}
	many := func(field string, paths *map[string]string) {
		*paths = maps.Clone(*paths)
		for name, path := range *paths {
			one(field+"."+name, &path)
			(*paths)[name] = path
		}
	}
	one("root", &s.Root)
	many("applications", &s.Applications)
	one("pages", &s.Pages)
	one("files.root", &s.Files.Root)
	many("files.applications", &s.Files.Applications)
	one("query.root", &s.Query.Root)
	many("query.applications", &s.Query.Applications)
	one("script.root", &s.Script.Root)
	many("script.applications", &s.Script.Applications)
	one("git.repository", &s.Git.Repository)
	databases := make(map[string]query.Database, len(s.Query.Databases))
	for name, db := range s.Query.Databases {
		one("query.databases."+name+".file", &db.File)
		databases[name] = db
	}
	if len(databases) > 0 {
		s.Query.Databases = databases
	}
}
