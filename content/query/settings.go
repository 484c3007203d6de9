package query

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// Settings say where queries and their databases are. The zero value of every
// field stands for its default.
type Settings struct {
	// Root is a directory whose directories are applications: the first segment
	// of a path is the name of one.
	Root string `json:"root,omitempty" path:"file"`
	// Applications are further applications, by name, and their directories.
	Applications map[string]string `json:"applications,omitempty" path:"file"`
	// Databases are the databases, by the names that -- @database says. Needed.
	Databases map[string]Database `json:"databases,omitempty"`
	// Default is the database of files that name none. Default: "main", or the
	// only one there is.
	Default string `json:"default,omitempty"`
	// Rows is how many rows a query may give, unless its file says otherwise with
	// -- @limit. Default: 10000.
	Rows int `json:"rows,omitempty"`
	// Size is how many bytes the rows may be as JSON. Default: 8388608 (8 MiB).
	Size int `json:"size,omitempty"`
	// Timeout is how long a query may take, unless its file says otherwise with
	// -- @timeout. Default: 5s.
	Timeout duration.Duration `json:"timeout,omitzero"`
	// MaxTimeout bounds what a file may say. Default: 1m.
	MaxTimeout duration.Duration `json:"maxTimeout,omitzero"`
	// Poll is how often a query is run anew whose database does not tell of
	// changes, unless its file says otherwise with -- @poll. Default: 2s.
	Poll duration.Duration `json:"poll,omitzero"`
	// Elements is how many elements an array may have that is published.
	// Default: 10000.
	Elements int `json:"elements,omitempty"`
}

// Database says where a database is.
type Database struct {
	// Driver is the kind of the database: sqlite, postgres or mysql (which is
	// MariaDB too). Default: sqlite.
	Driver string `json:"driver,omitempty"`
	// File is the file of an SQLite database. It is made if it is not there.
	File string `json:"file,omitempty" path:"file"`
	// URL is where the server is: postgres://user:password@host/database or
	// mysql://user:password@host:3306/database. Better given as an environment
	// variable than in a file.
	URL string `json:"url,omitempty" secret:"true"`
	// ReadURL is the same database for an account that may only read. Queries
	// use it. Default: URL.
	ReadURL string `json:"readURL,omitempty" secret:"true"`
	// ReadOnly refuses everything that writes. Default: false.
	ReadOnly bool `json:"readOnly,omitempty"`
	// MaxOpen is how many connections there may be for queries. Default: 4, or
	// as many as there are CPUs if these are more.
	MaxOpen int `json:"maxOpen,omitempty"`
	// Busy is how long to wait for a lock of somebody else. Default: 5s.
	Busy duration.Duration `json:"busy,omitzero"`
	// Check is how often to look, while somebody watches, for what nothing tells
	// of: in SQLite whether another program has written, in PostgreSQL whether the
	// schema has changed. Default: 200ms, of PostgreSQL 5s.
	Check duration.Duration `json:"check,omitzero"`
	// NoTriggers keeps triggers out of a PostgreSQL database: queries are polled
	// in place of that. Default: false.
	NoTriggers bool `json:"noTriggers,omitempty"`
}

// Defaults of Settings.
const (
	defaultRows     = 10_000
	defaultSize     = 8 << 20
	defaultTimeout  = 5 * time.Second
	defaultMax      = time.Minute
	defaultPoll     = 2 * time.Second
	defaultElements = 10_000
	defaultDriver   = "sqlite"
	defaultName     = "main"
	minOpen         = 4
	defaultBusy     = 5 * time.Second
)

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// withDefaults returns s with defaults for what is not set.
func (s Settings) withDefaults() Settings {
	set(&s.Rows, defaultRows)
	set(&s.Size, defaultSize)
	set(&s.Timeout, duration.Duration(defaultTimeout))
	set(&s.MaxTimeout, duration.Duration(defaultMax))
	set(&s.Poll, duration.Duration(defaultPoll))
	set(&s.Elements, defaultElements)
	s.Databases = maps.Clone(s.Databases)
	for name, d := range s.Databases {
		set(&d.Driver, defaultDriver)
		set(&d.MaxOpen, max(minOpen, runtime.GOMAXPROCS(0)))
		set(&d.Busy, duration.Duration(defaultBusy))
		s.Databases[name] = d
	}
	if s.Default == "" {
		s.Default = defaultName
		if len(s.Databases) == 1 {
			for name := range s.Databases {
				s.Default = name
			}
		}
	}
	return s
}

// Check returns what is wrong with the settings, an error that names the field,
// or nil. Directories need not be there.
func (s Settings) Check() error {
	bad := func(field, format string, args ...any) error {
		return &message.Error{Code: message.CodeInvalidInput, Path: field, Message: fmt.Sprintf(field+": "+format, args...)}
	}
	if s.Rows < 0 || s.Rows > 1_000_000 {
		return bad("rows", "has to be from 1 to 1000000")
	}
	if s.Size < 0 || s.Size > 1<<30 {
		return bad("size", "has to be from 1 to 1073741824")
	}
	if s.Elements < 0 {
		return bad("elements", "is negative")
	}
	if s.Poll != 0 && time.Duration(s.Poll) < 100*time.Millisecond {
		return bad("poll", "has to be 100ms at least")
	}
	for name := range s.Applications {
		if !segment(name) {
			return bad("applications", "%.100q cannot be the name of an application", name)
		}
		if s.Applications[name] == "" {
			return bad("applications."+name, "the directory is missing")
		}
	}
	full := s.withDefaults()
	for _, name := range slices.Sorted(maps.Keys(full.Databases)) {
		d, field := full.Databases[name], "databases."+name
		driver := sqldb.Lookup(d.Driver)
		switch {
		case !segment(name):
			return bad("databases", "%.100q cannot be the name of a database", name)
		case driver == nil:
			return bad(field+".driver", "there is no driver %.100q; this program has %s", d.Driver, strings.Join(sqldb.Names(), ", "))
		case d.MaxOpen < 0 || d.MaxOpen > 1000:
			return bad(field+".maxOpen", "has to be from 1 to 1000")
		}
		if err := driver.Check(d.config(name, nil)); err != nil {
			sub, text, _ := strings.Cut(err.Error(), ": ")
			return bad(field+"."+sub, "%s", text)
		}
	}
	if _, ok := full.Databases[full.Default]; !ok && len(full.Databases) > 0 && s.Default != "" {
		return bad("default", "there is no database %.100q", s.Default)
	}
	return nil
}

// config is what a driver gets.
func (d Database) config(name string, log *slog.Logger) sqldb.Config {
	file := d.File
	if file != "" {
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
	}
	return sqldb.Config{
		Name: name, File: file, URL: d.URL, ReadURL: d.ReadURL, ReadOnly: d.ReadOnly, MaxOpen: d.MaxOpen, Busy: time.Duration(d.Busy),
		Poll: time.Duration(d.Check), MaxValue: maxValue, Triggers: !d.NoTriggers, Logger: log,
	}
}

// maxValue bounds one value of a row, in bytes.
const maxValue = 64 << 20
