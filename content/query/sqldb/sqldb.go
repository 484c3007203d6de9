// Package sqldb is what package content/query asks of a database, and what
// drivers need to answer: the encoder of rows, the tracker of changes, the form
// of errors. Drivers are in packages of their own beside this one and register
// themselves when they are imported.
package sqldb

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

// Config says what a driver is to open. Zero values have been replaced by
// defaults.
type Config struct {
	// Name is what the database is called in the configuration.
	Name string
	// File is the file of a database that is one.
	File string
	// URL is where a database server is. It may hold a password.
	URL string
	// ReadURL is the same for an account that only reads, or "".
	ReadURL string
	// ReadOnly has nothing be written.
	ReadOnly bool
	// MaxOpen bounds the connections for reading.
	MaxOpen int
	// Poll is how often is looked for changes that cannot be noticed otherwise; 0
	// for as often as the driver thinks right.
	Poll time.Duration
	// Busy is how long to wait for somebody else's lock.
	Busy time.Duration
	// MaxValue bounds the bytes of one value.
	MaxValue int
	// Triggers allows to install triggers that tell of changes.
	Triggers bool
	Logger   *slog.Logger
}

// Statement is a statement with its parameters. A value is nil, a bool, an
// int64, a json.Number, a string or a [Date].
type Statement struct {
	SQL  string
	Args []any
	// Gives is true if its words say that it gives rows, and Writes that it writes.
	Gives, Writes bool
}

// Date is a parameter of type date.
type Date struct {
	// Time is the moment; at midnight UTC if it is only a day.
	Time time.Time
	// Day is true if there is no time of the day.
	Day bool
}

// Text returns the date as most databases write it, in UTC.
func (d Date) Text() string {
	if d.Day {
		return d.Time.Format(time.DateOnly)
	}
	return d.Time.UTC().Format("2006-01-02 15:04:05.999999")
}

// Reads says what a query read.
type Reads struct {
	// Tables are the names of the tables, as the database's tracker knows them.
	Tables []string
	// Blind is true if changes of some of what it read are not noticed.
	Blind bool
}

// Outcome is what became of a statement that writes.
type Outcome struct {
	// Affected is how many rows it changed.
	Affected int64
	// Key is the key that the database made for the last row, if HasKey.
	Key    int64
	HasKey bool
}

// Database is an open database. Its methods may be called from any goroutine.
// Errors are *Fault, or those of ctx.
type Database interface {
	// Dialect is how its SQL is to be read, and Style how placeholders are
	// written.
	Dialect() *sqlfile.Dialect
	Style() sqlfile.Style
	// Quote makes a name an identifier.
	Quote(name string) string
	// Read runs queries, that must not write, on one state of the database and
	// puts what each gives into the Rows of the same number.
	Read(ctx context.Context, list []Statement, rows []*Rows) (Reads, error)
	// Follow has the tracker tell of changes of what queries read, and of tables
	// besides, from before it returns. The Reads count together with those of
	// Read; where everything is followed in any case they are empty.
	Follow(ctx context.Context, list []Statement, tables []string) (Reads, error)
	// Write runs f in a transaction that is committed if f returns nil. When
	// Write returns, the tracker knows what was changed. f must not keep tx.
	Write(ctx context.Context, f func(tx Tx) error) error
	// Tracker tells of changes.
	Tracker() *Tracker
	// Close ends what is running and waits for it.
	Close() error
}

// Tx is a transaction, used by one goroutine.
type Tx interface {
	// Run runs a statement. If it gives rows they are put into rows.
	Run(ctx context.Context, s Statement, rows *Rows) (Outcome, error)
}

// Driver opens databases. Open does not wait for a server to answer: if it is
// away, the first use says so. Its errors are those of the configuration.
type Driver interface {
	Open(cfg Config) (Database, error)
	// Check returns what is wrong with a configuration: a text that begins with
	// the name of the field.
	Check(cfg Config) error
}

var registry struct {
	mu sync.Mutex
	m  map[string]Driver
}

// Register makes a driver known under a name. It is called by init functions
// of the packages of drivers; a name that is taken is replaced.
func Register(name string, d Driver) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.m == nil {
		registry.m = map[string]Driver{}
	}
	registry.m[name] = d
}

// Lookup returns the driver of a name, or nil.
func Lookup(name string) Driver {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return registry.m[name]
}

// Names are the names of the drivers, sorted.
func Names() []string {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	list := make([]string, 0, len(registry.m))
	for name := range registry.m {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Fault is what a database says when something fails.
type Fault struct { //nolint:errname // house word
	Code    message.Code
	Message string // for people; no secrets
	Hint    string
	// Pos is where in the SQL the mistake is, in bytes from 0, if HasPos.
	Pos    int
	HasPos bool
	// Constraint is what was violated, or "".
	Constraint string
	// Again is true if the transaction may succeed when it is run anew.
	Again bool
	Cause error
}

// Error implements error.
func (f *Fault) Error() string {
	s := string(f.Code) + ": " + f.Message
	if f.Cause != nil {
		s = fmt.Sprintf("%s: %v", s, f.Cause)
	}
	return s
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Cause }
