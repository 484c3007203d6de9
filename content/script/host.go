package script

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/session"
)

// Host is what scripts can reach, if they were granted it. A field that is nil
// is not there for any script. All functions may be called from any goroutine
// and block until they are done or their context ends.
type Host struct {
	// Database returns the database of a name; "" is the usual one. Its error is
	// not_found if there is none. The names in grants are those of
	// [Database.Name].
	Database func(name string) (Database, error)
	// Call calls an address and returns the answer.
	Call func(ctx context.Context, o Origin, address string, body json.RawMessage) (content.Content, error)
	// Publish makes c the content of an address; one without a body deletes it.
	Publish func(ctx context.Context, o Origin, address string, c content.Content) (content.Content, error)
	// Get returns the content of an address, and by which to notice that it has
	// changed since; nil if that cannot be noticed.
	Get func(ctx context.Context, o Origin, address string, params json.RawMessage) (content.Content, Dependency, error)
	// Watch has event called with the events of an address, which may be a pattern,
	// one after the other, and returns why they do not come any more. The first one
	// is a Gap, when no event is missed from then on; while event runs a bounded
	// number of them waits, and a Gap stands for those that did not.
	Watch func(ctx context.Context, o Origin, address string, event func(Event)) error
	// Fetch asks by HTTP. It is up to its transport to refuse addresses of the own
	// network; hosts that were not granted are refused before, and redirects to
	// them.
	Fetch *http.Client
}

// Origin says for whom a script asks.
type Origin struct {
	// Path is that of the script.
	Path string
	// Session is who has the script run, if it was granted to know. Else it is the
	// anonymous session, never nil.
	Session *session.Session
	// Level is how many scripts wait for what it asks for, this one among them: what
	// is asked of another script has to say so, as content.Request.Level.
	Level int
}

// Database is a database as scripts use it. Its methods may be called from any
// goroutine.
type Database interface {
	// Name is what it is called in grants.
	Name() string
	// Query runs one statement that only reads, with :name for each of the params,
	// a JSON object or nil. It returns the rows as a JSON array of objects, and by
	// which to notice that they have changed since; that may be there with an
	// error, too, and nil if it cannot be noticed. With follow that is wanted;
	// without it is not made use of.
	Query(ctx context.Context, sql string, params json.RawMessage, s *session.Session, follow bool) (json.RawMessage, Dependency, error)
	// Exec runs statements that may write, in one transaction. The result is an
	// object with rowsAffected, and keys and rows if there are any.
	Exec(ctx context.Context, sql string, params json.RawMessage, s *session.Session) (json.RawMessage, error)
	// Transaction runs f in a transaction, which is committed if f returns nil. An
	// error of f is returned as it is.
	Transaction(ctx context.Context, s *session.Session, f func(Tx) error) error
}

// Tx is a transaction, within Transaction.
type Tx interface {
	// Run is Exec within the transaction.
	Run(ctx context.Context, sql string, params json.RawMessage) (json.RawMessage, error)
}

// Dependency is something that a script has read.
type Dependency interface {
	// Key is the same for two dependencies on the same thing: of these the one
	// that is watched already goes on being watched. "" is none.
	Key() string
	// Watch has changed called whenever it may have changed since it was read,
	// also if that was before the call of Watch, until stop was called. changed
	// does not block.
	Watch(changed func()) (stop func())
}
