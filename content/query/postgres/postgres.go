// Package postgres has package content/query read and write PostgreSQL
// databases, version 14 or later. A program imports it for its effect: the
// driver is known as "postgres".
//
// Which tables a query reads is taken from its plan. On these tables triggers
// are installed that tell of changes by NOTIFY. All that is installed is called
// ropewalk_changed, and removed when no node uses it any more.
package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

func init() { //nolint:gochecknoinits // drivers register themselves
	sqldb.Register("postgres", driver{})
}

type driver struct{}

func (driver) Check(cfg sqldb.Config) error {
	switch {
	case cfg.File != "":
		return errors.New("file: PostgreSQL has a url in place of it")
	case cfg.URL == "":
		return errors.New("url: it is missing")
	}
	for field, u := range map[string]string{"url": cfg.URL, "readURL": cfg.ReadURL} {
		if u == "" {
			continue
		}
		if _, err := pgxpool.ParseConfig(u); err != nil { // the error may show the password
			return errors.New(field + ": it cannot be read; write it like postgres://user:password@host/database")
		}
	}
	return nil
}

// maxWriters bounds the connections that write.
const maxWriters = 4

// maxPrepared bounds the prepared statements of a connection.
const maxPrepared = 200

// afterCancel is how long a canceled statement has to end before its
// connection is given up.
const afterCancel = 2 * time.Second

func (driver) Open(cfg sqldb.Config) (sqldb.Database, error) {
	if cfg.Poll == 0 {
		cfg.Poll = check
	}
	d := &database{
		cfg: cfg, tracker: sqldb.NewTracker(), lane: lane.New(context.Background(), cfg.Logger),
		followed: map[string]*followed{}, held: map[uint32]bool{}, waiting: map[string]chan struct{}{}, wake: func() {},
		up: make(chan struct{}),
	}
	read := cfg.ReadURL
	if read == "" {
		read = cfg.URL
	}
	var err error
	if d.readers, err = pool(cfg, read, cfg.MaxOpen, ""); err != nil {
		return nil, errors.New("url: it cannot be read")
	}
	if d.writers, err = pool(cfg, cfg.URL, maxWriters, reset); err != nil {
		d.readers.Close()
		return nil, errors.New("url: it cannot be read")
	}
	if d.triggers() {
		d.lane.Go("postgres-listen", d.listen)
	}
	return d, nil
}

// pool opens connections as they are needed. The one who has used one runs
// cleanup, which may be "", on it before somebody else gets it.
func pool(cfg sqldb.Config, url string, n int, cleanup string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	c.MaxConns, c.MinConns = int32(n), 0
	settings(&c.ConnConfig.Config)
	c.ConnConfig.MaxProtocolMessageBodyLen = cfg.MaxValue // of a row: it is in memory as a whole
	c.ConnConfig.StatementCacheCapacity = maxPrepared
	c.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: afterCancel}
	}
	if cleanup != "" {
		c.AfterRelease = func(conn *pgx.Conn) bool { return clean(conn, cleanup) }
	}
	return pgxpool.NewWithConfig(context.Background(), c)
}

// settings have values come in forms that do not depend on the server.
func settings(c *pgconn.Config) {
	maps.Copy(c.RuntimeParams, map[string]string{
		"TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "iso_8601", "bytea_output": "hex", "extra_float_digits": "1",
		"application_name": "ropewalk", "client_encoding": "UTF8",
	})
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
}

// database is one PostgreSQL database.
type database struct {
	cfg     sqldb.Config
	tracker *sqldb.Tracker
	lane    *lane.Lane
	readers *pgxpool.Pool
	writers *pgxpool.Pool
	closed  sync.Once

	plans  sqldb.Cache[plan] // by SQL
	arrays arrays
	held   map[uint32]bool // tables that the listener, who alone uses it, has the locks of

	// Of the listener.
	mu       sync.Mutex
	live     bool          // it listens
	up       chan struct{} // is closed when it has tried to; nil afterwards
	commands []*command    // that it has to carry out
	wake     func()        // interrupts its waiting
	waiting  map[string]chan struct{}
	followed map[string]*followed // by table
	nonce    atomic.Uint64
	age      atomic.Uint64 // of the schema: how often it may have become another
}

// anew tells that anything may have changed, the schema too.
func (d *database) anew() {
	d.age.Add(1)
	d.tracker.All()
}

func (d *database) Dialect() *sqlfile.Dialect { return sqlfile.Postgres }
func (d *database) Style() sqlfile.Style      { return sqlfile.Dollar }
func (d *database) Tracker() *sqldb.Tracker   { return d.tracker }
func (d *database) Quote(name string) string  { return pgx.Identifier{name}.Sanitize() }
func (d *database) triggers() bool            { return d.cfg.Triggers && !d.cfg.ReadOnly }

// Close implements sqldb.Database.
func (d *database) Close() error {
	d.closed.Do(func() {
		d.lane.Close()
		d.readers.Close()
		d.writers.Close()
	})
	return nil
}

// Read implements sqldb.Database.
func (d *database) Read(ctx context.Context, list []sqldb.Statement, rows []*sqldb.Rows) (sqldb.Reads, error) {
	opts := reading
	if len(list) > 1 {
		opts.IsoLevel = pgx.RepeatableRead
	}
	read := func(tx pgx.Tx) error {
		for i, s := range list {
			if _, err := d.query(ctx, tx, s, rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	err := d.inTx(ctx, d.readers, opts, read)
	if stale(err) { // the driver forgets the plan with the error
		err = d.inTx(ctx, d.readers, opts, read)
	}
	return sqldb.Reads{}, err
}

// stale tells whether an error only says that a prepared statement is of a table
// as it was before.
func stale(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "0A000" && e.Routine == "RevalidateCachedQuery"
}

// unlock gives back the locks that outlive a transaction, which a query can take.
const unlock = "SELECT pg_advisory_unlock_all()"

// reset is DISCARD ALL but for the prepared statements, of which only the driver
// makes any, and which it counts on.
const reset = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; " + unlock + "; DISCARD TEMP; DISCARD SEQUENCES"

// reading are the options of what only reads. It is never committed: with it goes
// what the query has set for the session, by set_config for instance.
var reading = pgx.TxOptions{AccessMode: pgx.ReadOnly, CommitQuery: "ROLLBACK; " + unlock}

// clean runs SQL on a connection between two who use it. It reports false if the
// connection has to go.
func clean(c *pgx.Conn, text string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), afterCancel)
	defer cancel()
	_, err := c.Exec(ctx, text)
	return err == nil
}

// inTx runs f in a transaction. An error of f is returned as it is.
func (d *database) inTx(ctx context.Context, p *pgxpool.Pool, opts pgx.TxOptions, f func(tx pgx.Tx) error) error {
	var own error
	err := p.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		err := pgx.BeginTxFunc(ctx, c, opts, func(tx pgx.Tx) error {
			own = f(tx)
			return own
		})
		if err != nil && opts.AccessMode == pgx.ReadOnly && !c.Conn().IsClosed() && !clean(c.Conn(), unlock) {
			_ = c.Conn().Close(context.WithoutCancel(ctx))
		}
		return err
	})
	if own != nil && ctx.Err() == nil {
		return own
	}
	return fault(ctx, err)
}

// query runs a statement and encodes its rows.
func (d *database) query(ctx context.Context, tx pgx.Tx, s sqldb.Statement, to *sqldb.Rows) (did pgconn.CommandTag, err error) {
	args := append(make([]any, 0, len(s.Args)+2), pgx.QueryResultFormats{pgx.TextFormatCode})
	if len(s.SQL) > sqldb.MaxKept {
		args = append(args, pgx.QueryExecModeDescribeExec)
	}
	for _, a := range s.Args {
		args = append(args, argument(a))
	}
	to.Reset()
	rows, err := tx.Query(ctx, s.SQL, args...)
	if err != nil {
		return did, faultIn(ctx, err, s.SQL)
	}
	defer rows.Close()
	e := newEncoder(tx.Conn().TypeMap(), &d.arrays, rows.FieldDescriptions())
	if len(e.unknown) > 0 {
		if rows.Close(); rows.Err() != nil {
			return did, faultIn(ctx, rows.Err(), s.SQL)
		}
		if err := d.arrays.learn(ctx, tx, e.unknown); err != nil {
			return did, fault(ctx, err)
		}
		if s.Writes {
			return did, &sqldb.Fault{
				Code: message.CodeConflict, Message: "a type was not known yet", Hint: "Try again.", Again: true,
			}
		}
		return d.query(ctx, tx, s, to)
	}
	if len(e.columns) > 0 {
		if err := to.SetColumns(e.columns); err != nil {
			return did, err
		}
	}
	for rows.Next() {
		if err := to.Begin(); err != nil {
			if errors.Is(err, sqldb.ErrStop) {
				return did, nil
			}
			return did, err
		}
		for i, v := range rows.RawValues() {
			e.value(to, i, v)
		}
		if err := to.End(); err != nil {
			return did, err
		}
	}
	rows.Close()
	return rows.CommandTag(), faultIn(ctx, rows.Err(), s.SQL)
}

// argument makes a text of a value, which PostgreSQL reads as what the place
// where it stands asks for.
func argument(a any) any {
	switch a := a.(type) {
	case bool:
		return strconv.FormatBool(a)
	case int64:
		return strconv.FormatInt(a, 10)
	case json.Number:
		return a.String()
	case sqldb.Date:
		return a.Text()
	}
	return a
}

// Write implements sqldb.Database.
func (d *database) Write(ctx context.Context, f func(tx sqldb.Tx) error) error {
	if d.cfg.ReadOnly {
		return &sqldb.Fault{
			Code: message.CodeForbidden, Message: "the database " + d.cfg.Name + " is read-only",
			Hint: "Its settings say so: readOnly.",
		}
	}
	nonce, told := d.expect()
	defer d.forget(nonce)
	schema := false
	err := d.inTx(ctx, d.writers, pgx.TxOptions{}, func(tx pgx.Tx) error {
		t := &transaction{d: d, tx: tx}
		if err := f(t); err != nil {
			return err
		}
		schema = t.schema
		if nonce == "" {
			return nil
		}
		_, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", object, nonce)
		return fault(ctx, err)
	})
	if err != nil {
		return err
	}
	if schema || told == nil {
		d.anew()
	}
	d.tracker.Changed(unseen)
	d.settle(ctx, told)
	return nil
}

// maxSettle is how long Write waits for news of itself.
const maxSettle = 2 * time.Second

// settle waits until the listener has heard of a transaction, and so of all
// that its triggers told.
func (d *database) settle(ctx context.Context, told <-chan struct{}) {
	if told == nil {
		return
	}
	late := time.NewTimer(maxSettle)
	defer late.Stop()
	select {
	case <-told:
	case <-ctx.Done():
	case <-late.C:
		d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a database tells late of changes", slog.Duration("after", maxSettle))
		d.tracker.All()
	}
}

type transaction struct {
	d      *database
	tx     pgx.Tx
	schema bool // a statement may have changed it
}

// quiet begin the command tags of statements of which triggers tell, or that
// change nothing.
var quiet = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "COPY", "SET", "RESET", "SHOW", "LOCK", "NOTIFY"}

// Run implements sqldb.Tx.
func (t *transaction) Run(ctx context.Context, s sqldb.Statement, rows *sqldb.Rows) (sqldb.Outcome, error) {
	did, err := t.d.query(ctx, t.tx, s, rows)
	word, _, _ := strings.Cut(did.String(), " ")
	t.schema = t.schema || !slices.Contains(quiet, word)
	if err != nil || did.Select() && rows.Columns() != nil { // PostgreSQL counts what a SELECT gives
		return sqldb.Outcome{}, err
	}
	return sqldb.Outcome{Affected: did.RowsAffected()}, nil
}
