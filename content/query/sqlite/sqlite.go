// Package sqlite has package content/query read and write SQLite databases. A
// program imports it for its effect: the driver is known as "sqlite".
//
// There is one connection that writes and several that only read. Which tables
// a query reads is learnt from SQLite's authorizer; what is written here is seen
// by the pre-update hook, what others write by PRAGMA data_version.
package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

func init() { //nolint:gochecknoinits // drivers register themselves
	sqldb.Register("sqlite", driver{})
}

type driver struct{}

func (driver) Check(cfg sqldb.Config) error {
	switch {
	case cfg.File == "":
		return errors.New("file: it is missing")
	case strings.ContainsAny(cfg.File, "\x00") || strings.HasPrefix(cfg.File, ":memory:"):
		return errors.New("file: it has to be the name of a file")
	case cfg.URL != "":
		return errors.New("url: SQLite has a file in place of it")
	}
	return nil
}

// check is how often is looked for what others write.
const check = 200 * time.Millisecond

func (driver) Open(cfg sqldb.Config) (sqldb.Database, error) {
	if cfg.Poll == 0 {
		cfg.Poll = check
	}
	d := &database{
		cfg: cfg, tracker: sqldb.NewTracker(), lane: lane.New(context.Background(), cfg.Logger),
		writer: make(chan *conn, 1), slots: make(chan struct{}, cfg.MaxOpen),
	}
	d.writer <- nil
	d.lane.Go("sqlite-poll", d.poll)
	return d, nil
}

// database is one SQLite file.
type database struct {
	cfg     sqldb.Config
	tracker *sqldb.Tracker
	lane    *lane.Lane

	writer chan *conn    // holds the one that writes; nil: it has to be opened
	slots  chan struct{} // one for each reader in use

	made atomic.Bool // the file is there, with its WAL

	mu     sync.Mutex
	idle   []*conn
	age    int // counts how often all connections were thrown away
	closed bool

	// Of whoever holds the writer.
	version int64
	file    os.FileInfo
}

func (d *database) Dialect() *sqlfile.Dialect { return sqlfile.SQLite }
func (d *database) Style() sqlfile.Style      { return sqlfile.Question }
func (d *database) Tracker() *sqldb.Tracker   { return d.tracker }

func (d *database) Quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Close implements sqldb.Database.
func (d *database) Close() error {
	d.lane.Close()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for range cap(d.slots) {
		d.slots <- struct{}{}
	}
	w := <-d.writer
	d.drop()
	if w != nil {
		return w.close()
	}
	return nil
}

// drop closes the readers that are not in use; those in use when they are put
// back.
func (d *database) drop() {
	d.mu.Lock()
	idle := d.idle
	d.idle = nil
	d.age++
	d.mu.Unlock()
	for _, c := range idle {
		_ = c.close()
	}
}

var errClosed = &sqldb.Fault{Code: message.CodeShuttingDown, Message: "the database is being closed"}

// reader returns a connection that only reads.
func (d *database) reader(ctx context.Context) (*conn, error) {
	select {
	case d.slots <- struct{}{}:
	case <-d.lane.Context().Done():
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		<-d.slots
		return nil, errClosed
	}
	if n := len(d.idle); n > 0 {
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		return c, nil
	}
	age := d.age
	d.mu.Unlock()
	c, err := d.openReader(ctx)
	if err != nil {
		<-d.slots
		return nil, err
	}
	c.age = age
	return c, nil
}

func (d *database) openReader(ctx context.Context) (*conn, error) {
	if !d.cfg.ReadOnly && !d.made.Load() {
		// The writer makes the file and its WAL, which a reader cannot.
		w, err := d.lock(ctx)
		if err != nil {
			return nil, err
		}
		d.unlock(w)
	}
	return open(d.cfg, true)
}

// put takes a reader back.
func (d *database) put(c *conn) {
	d.mu.Lock()
	keep := !c.broken && !d.closed && c.age == d.age
	if keep {
		d.idle = append(d.idle, c)
	}
	d.mu.Unlock()
	if !keep {
		_ = c.close()
	}
	<-d.slots
}

// lock returns the connection that writes, which has to be given to unlock.
func (d *database) lock(ctx context.Context) (*conn, error) {
	var c *conn
	select {
	case c = <-d.writer:
	case <-d.lane.Context().Done():
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c != nil {
		return c, nil
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		d.writer <- nil
		return nil, errClosed
	}
	c, err := open(d.cfg, d.cfg.ReadOnly)
	if err != nil {
		d.writer <- nil
		return nil, err
	}
	d.file, _ = os.Stat(d.cfg.File)
	if d.version, err = c.number(ctx, "PRAGMA data_version"); err != nil {
		_ = c.close()
		d.writer <- nil
		return nil, err
	}
	d.made.Store(true)
	d.tracker.All() // what happened while there was none is not known
	return c, nil
}

// unlock takes the connection that writes back. One that is not to be used again
// is closed at once: it may hold a lock.
func (d *database) unlock(c *conn) {
	if c.broken {
		_ = c.close()
		c = nil
	}
	d.writer <- c
}

// Read implements sqldb.Database.
func (d *database) Read(ctx context.Context, list []sqldb.Statement, rows []*sqldb.Rows) (sqldb.Reads, error) {
	c, err := d.reader(ctx)
	if err != nil {
		return sqldb.Reads{}, err
	}
	defer d.put(c)
	reads, err := c.read(ctx, list, rows)
	if err != nil && ctx.Err() != nil {
		c.broken = true
		err = ctx.Err()
	}
	return reads, err
}

// Follow implements sqldb.Database: everything is followed.
func (d *database) Follow(context.Context, []sqldb.Statement, []string) (sqldb.Reads, error) {
	return sqldb.Reads{}, nil
}

// Write implements sqldb.Database.
func (d *database) Write(ctx context.Context, f func(tx sqldb.Tx) error) error {
	if d.cfg.ReadOnly {
		return &sqldb.Fault{
			Code: message.CodeForbidden, Message: "the database " + d.cfg.Name + " is read-only",
			Hint: "Its settings say so: readOnly.",
		}
	}
	c, err := d.lock(ctx)
	if err != nil {
		return err
	}
	err = c.write(ctx, f)
	if err != nil && ctx.Err() != nil {
		c.broken = true
		err = ctx.Err()
	}
	if err == nil {
		d.tell(c)
	}
	d.unlock(c)
	return err
}

// tell passes on what the writer changed.
func (d *database) tell(c *conn) {
	if c.schema {
		d.tracker.All()
		return
	}
	tables := make([]string, 0, len(c.wrote))
	for name := range c.wrote {
		tables = append(tables, name)
	}
	d.tracker.Changed(tables...)
}

// poll looks for what others write.
func (d *database) poll(ctx context.Context) {
	tick := time.NewTicker(d.cfg.Poll)
	defer tick.Stop()
	for d.tracker.WaitActive(ctx) == nil {
		select {
		case <-tick.C:
			d.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look asks whether the file, or what is in it, is another than before.
func (d *database) look(ctx context.Context) {
	c, err := d.lock(ctx)
	if err != nil {
		d.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "a database cannot be asked for changes", slog.String("database", d.cfg.Name), slog.Any("err", err))
		return
	}
	defer d.unlock(c)
	if now, err := os.Stat(d.cfg.File); err != nil || d.file != nil && !os.SameFile(now, d.file) {
		c.broken = true // the next to use it opens what is there then
		d.made.Store(false)
		d.drop()
		d.tracker.All()
		return
	}
	v, err := c.number(ctx, "PRAGMA data_version")
	if err != nil {
		c.broken = true
		return
	}
	if v != d.version {
		d.version = v
		d.tracker.All()
	}
}
