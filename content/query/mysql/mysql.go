// Package mysql has package content/query read and write MariaDB and MySQL
// databases. A program imports it for its effect: the driver is known as
// "mysql". These databases do not tell of changes: queries that are watched are
// run anew every now and then, and after what is published here.
package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

func init() { //nolint:gochecknoinits // drivers register themselves
	sqldb.Register("mysql", driver{})
}

type driver struct{}

func (driver) Check(cfg sqldb.Config) error {
	switch {
	case cfg.File != "":
		return errors.New("file: MySQL has a url in place of it")
	case cfg.URL == "":
		return errors.New("url: it is missing")
	}
	if _, err := parse(cfg.URL, nil); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if _, err := parse(cfg.ReadURL, nil); cfg.ReadURL != "" && err != nil {
		return fmt.Errorf("readURL: %w", err)
	}
	return nil
}

var errURL = errors.New("it cannot be read; write it like mysql://user:password@host:3306/database")

const (
	maxWriters = 4
	// afterKill is how long a query has to end when it was told to, before its
	// connection is given up.
	afterKill = 2 * time.Second
	connect   = 5 * time.Second
)

// parse reads a URL. The query may have socket, for a server on this machine,
// and tls: true, skip-verify or preferred.
func parse(text string, log *slog.Logger) (*mysql.Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "mysql" && u.Scheme != "mariadb" || len(u.Path) < 2 {
		return nil, errURL // the error of url.Parse may show the password
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.DBName, c.Net, c.Addr = u.Path[1:], "tcp", u.Host
	if u.Port() == "" {
		c.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	for name, v := range u.Query() {
		switch name {
		case "socket":
			c.Net, c.Addr = "unix", v[0]
		case "tls":
			c.TLSConfig = v[0]
		default:
			return nil, fmt.Errorf("there is no option %.50q; there are socket and tls", name)
		}
	}
	c.Timeout, c.Collation = connect, "utf8mb4_general_ci"
	c.Params = map[string]string{"time_zone": "'+00:00'"}
	if log != nil {
		c.Logger = logger{log}
	}
	return c, nil
}

// logger passes on what the driver says of lost connections.
type logger struct{ log *slog.Logger }

// Print implements mysql.Logger.
func (l logger) Print(v ...any) {
	l.log.Debug("the database driver says", "text", fmt.Sprint(v...))
}

func (driver) Open(cfg sqldb.Config) (sqldb.Database, error) {
	d := &database{cfg: cfg, tracker: sqldb.NewTracker()}
	read := cfg.ReadURL
	if read == "" {
		read = cfg.URL
	}
	var err error
	if d.readers, err = pool(read, cfg.MaxOpen, cfg.Logger); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if d.writers, err = pool(cfg.URL, maxWriters, cfg.Logger); err != nil {
		_ = d.readers.Close()
		return nil, fmt.Errorf("url: %w", err)
	}
	if d.killers, err = pool(cfg.URL, 0, cfg.Logger); err != nil {
		return nil, errors.Join(fmt.Errorf("url: %w", err), d.readers.Close(), d.writers.Close())
	}
	return d, nil
}

// pool opens connections as they are needed; n is 0 for as many as that are.
func pool(u string, n int, log *slog.Logger) (*sql.DB, error) {
	c, err := parse(u, log)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, errURL
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(max(n, 1))
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// database is one MariaDB or MySQL database.
type database struct {
	cfg     sqldb.Config
	tracker *sqldb.Tracker
	readers *sql.DB
	writers *sql.DB
	killers *sql.DB // as many as are needed: the others may all be busy
	closing sync.Once
	err     error
}

func (d *database) Dialect() *sqlfile.Dialect { return sqlfile.MySQL }
func (d *database) Style() sqlfile.Style      { return sqlfile.Each }
func (d *database) Tracker() *sqldb.Tracker   { return d.tracker }

func (d *database) Quote(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// Close implements sqldb.Database.
func (d *database) Close() error {
	d.closing.Do(func() { d.err = errors.Join(d.readers.Close(), d.writers.Close(), d.killers.Close()) })
	return d.err
}

// Follow implements sqldb.Database: nothing can be followed.
func (d *database) Follow(context.Context, []sqldb.Statement, []string) (sqldb.Reads, error) {
	return sqldb.Reads{Blind: true}, nil
}

// Read implements sqldb.Database.
func (d *database) Read(ctx context.Context, list []sqldb.Statement, rows []*sqldb.Rows) (sqldb.Reads, error) {
	opts := &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	err := d.inTx(ctx, d.readers, opts, func(ctx context.Context, tx *sql.Tx, u *use) error {
		for i, s := range list {
			u.note(s.SQL)
			if err := query(ctx, tx, s, rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return sqldb.Reads{Blind: true}, err
}

// Write implements sqldb.Database.
func (d *database) Write(ctx context.Context, f func(tx sqldb.Tx) error) error {
	if d.cfg.ReadOnly {
		return &sqldb.Fault{
			Code: message.CodeForbidden, Message: "the database " + d.cfg.Name + " is read-only",
			Hint: "Its settings say so: readOnly.",
		}
	}
	err := d.inTx(ctx, d.writers, nil, func(_ context.Context, tx *sql.Tx, u *use) error {
		return f(&transaction{tx: tx, use: u, stop: ctx})
	})
	if err == nil {
		d.tracker.All()
	}
	return err
}

// inTx runs f in a transaction. If ctx ends, the server is told to end what it
// is doing: a canceled context of the driver would only drop the connection,
// and the query would go on.
func (d *database) inTx(
	ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(ctx context.Context, tx *sql.Tx, u *use) error,
) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return fault(ctx, err, "")
	}
	u := &use{}
	defer func() { u.release(c) }()
	var id int64
	if err := c.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return fault(ctx, err, "")
	}
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer d.killer(ctx, id, cancel)()
	tx, err := c.BeginTx(hard, opts)
	if err != nil {
		return fault(ctx, err, "")
	}
	if err := f(hard, tx, u); err != nil {
		_ = tx.Rollback()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if err := ctx.Err(); err != nil {
		_ = tx.Rollback()
		return err
	}
	return fault(ctx, tx.Commit(), "")
}

// killer ends the query of a connection when ctx ends, until the function that
// it returns was called.
func (d *database) killer(ctx context.Context, id int64, giveUp func()) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(ended)
		defer giveUp()
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), afterKill)
		defer done()
		_, _ = d.killers.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", id))
		select {
		case <-over:
		case <-ctx.Done():
		}
	})
	return func() {
		if !cancel() {
			close(over)
			<-ended
		}
	}
}

// transaction is a sqldb.Tx. Its statements run under the hard context of inTx;
// that of the caller makes the server end them.
type transaction struct {
	tx   *sql.Tx
	use  *use
	stop context.Context //nolint:containedctx // the transaction is the call itself
}

// Run implements sqldb.Tx.
func (t *transaction) Run(ctx context.Context, s sqldb.Statement, rows *sqldb.Rows) (sqldb.Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	if err := t.stop.Err(); err != nil {
		return sqldb.Outcome{}, err
	}
	t.use.note(s.SQL)
	if s.Gives {
		err := query(ctx, t.tx, s, rows)
		out := sqldb.Outcome{}
		if err == nil && s.Writes {
			out.Affected = int64(rows.Count())
		}
		return out, err
	}
	r, err := t.tx.ExecContext(ctx, s.SQL, arguments(s.Args)...)
	if err != nil {
		return sqldb.Outcome{}, fault(t.stop, err, s.SQL)
	}
	var out sqldb.Outcome
	if out.Affected, err = r.RowsAffected(); err != nil {
		return out, fault(t.stop, err, s.SQL)
	}
	out.Key, err = r.LastInsertId()
	out.HasKey = err == nil && out.Key > 0 && out.Affected > 0
	return out, nil
}

// arguments makes values of the driver. Decimals and dates are texts, which
// the database reads with all their digits.
func arguments(list []any) []any {
	args := make([]any, len(list))
	for i, a := range list {
		switch a := a.(type) {
		case json.Number:
			args[i] = a.String()
		case sqldb.Date:
			args[i] = a.Text()
		default:
			args[i] = a
		}
	}
	return args
}
