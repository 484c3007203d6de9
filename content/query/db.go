package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// DB is one of the databases of the settings. Its methods may be called from
// any goroutine; they block until the database has answered or ctx ends. Their
// errors are *message.Error, or those of ctx.
type DB struct {
	name string
	d    sqldb.Database
	set  *Settings

	texts sqldb.Cache[*sqlfile.File]
}

// Reads says what a query has read, and when.
type Reads struct {
	// Tables are the tables, as the database calls them.
	Tables []string
	// Blind is true if not all changes of what was read are noticed: it has to
	// be read anew every now and then.
	Blind bool

	mark uint64
}

// Result is what statements that write have done.
type Result struct {
	// Affected is how many rows they changed.
	Affected int64 `json:"rowsAffected"`
	// Keys are the keys that the database made for new rows, one for each
	// statement or element, where it tells them.
	Keys []int64 `json:"keys,omitempty"`
	// Rows are what the last statement that gives rows gave.
	Rows json.RawMessage `json:"rows,omitempty"`
}

// Name is what the database is called in the settings.
func (b *DB) Name() string { return b.name }

// Query runs one statement that reads, with :name for the parameters, and
// returns the rows as a JSON array of objects. With follow, changes of what it
// reads are told from then on to whom [Watch.Set] names the Reads; without, they
// need not be.
func (b *DB) Query(ctx context.Context, sql string, p json.RawMessage, s *session.Session, follow bool) (json.RawMessage, Reads, error) {
	f, values, err := b.prepare(sql, p, s)
	if err != nil {
		return nil, Reads{}, err
	}
	return b.read(ctx, f, values, page{}, "", follow)
}

// Exec runs statements that may write, in one transaction, and wakes whoever
// watches the tables. It repeats the transaction if others were in its way.
func (b *DB) Exec(ctx context.Context, sql string, p json.RawMessage, s *session.Session) (*Result, error) {
	f, values, err := b.prepare(sql, p, s)
	if err != nil {
		return nil, err
	}
	return b.write(ctx, f, []params{values}, "")
}

// Tx is a transaction. It is used by one goroutine, and only within the function
// that it was given to.
type Tx struct {
	b   *DB
	tx  sqldb.Tx
	ses *session.Session
}

// Run runs statements within the transaction. What they read is of the same
// transaction.
func (t *Tx) Run(ctx context.Context, sql string, p json.RawMessage) (*Result, error) {
	f, values, err := t.b.prepare(sql, p, t.ses)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := t.b.runAll(ctx, t.tx, f, []params{values}, r); err != nil {
		return nil, t.b.fault(ctx, err, "", nil)
	}
	return r, nil
}

// Transaction runs f in a transaction, that is committed if f returns nil. An
// error of f is returned as it is.
func (b *DB) Transaction(ctx context.Context, s *session.Session, f func(tx *Tx) error) error {
	err := b.d.Write(ctx, func(tx sqldb.Tx) error { return f(&Tx{b: b, tx: tx, ses: s}) })
	return b.fault(ctx, err, "", nil)
}

// Watch has changed called whenever what [Watch.Set] was told may have changed,
// until [Watch.Stop]. changed must not block.
func (b *DB) Watch(changed func()) *Watch { return &Watch{w: b.d.Tracker().Watch(changed)} }

// Watch watches tables of one database.
type Watch struct{ w *sqldb.Watch }

// Set says what is watched from now on, in place of what was before. What has
// changed since it was read is told at once.
func (w *Watch) Set(r Reads) { w.w.Set(r.Tables, r.mark) }

// Stop ends the watch: changed is not called any more when it has returned.
func (w *Watch) Stop() { w.w.Stop() }

// prepare reads the SQL of a program.
func (b *DB) prepare(sql string, p json.RawMessage, s *session.Session) (*sqlfile.File, params, error) {
	f, ok := b.texts.Get(sql)
	if !ok {
		var err error
		if f, err = sqlfile.Parse(sql, func(string) (*sqlfile.Dialect, error) { return b.d.Dialect(), nil }); err != nil {
			return nil, nil, badFile("", err)
		}
		b.texts.Put(sql, f)
	}
	values, err := readParams(p)
	if err != nil {
		return nil, nil, err
	}
	return f, values.withClaims(f, s), nil
}

// limit gives a query its time.
func (b *DB) limit(ctx context.Context, f *sqlfile.File) (context.Context, context.CancelFunc) {
	d := f.Options.Timeout
	if d == 0 {
		d = time.Duration(b.set.Timeout)
	}
	return context.WithTimeoutCause(ctx, min(d, time.Duration(b.set.MaxTimeout)), errTime)
}

var errTime = errors.New("the query took too long")

// late tells whether the time of a query is over.
func late(ctx context.Context) bool {
	return ctx.Err() != nil && errors.Is(context.Cause(ctx), errTime)
}

func (b *DB) rows(f *sqlfile.File) *sqldb.Rows {
	n := f.Options.Limit
	if n == 0 {
		n = b.set.Rows
	}
	return &sqldb.Rows{Limit: n, Size: b.set.Size, Override: func(name string) sqlfile.Type {
		if c := f.Options.Column(name); c != nil {
			return c.Type
		}
		return ""
	}}
}

// statement renders a statement with its parameters.
func (b *DB) statement(f *sqlfile.File, s *sqlfile.Statement, p params) (sqldb.Statement, *sqlfile.Rendered, error) {
	r, err := s.Render(b.d.Style(), func(name string) (string, error) {
		id, err := p.identifier(&f.Options, name)
		return b.d.Quote(id), err
	})
	if err != nil {
		return sqldb.Statement{}, nil, err
	}
	args, err := p.args(&f.Options, r.Values)
	gives := s.Returning || !s.Writes && slices.Contains(reading, s.Verb)
	return sqldb.Statement{SQL: r.SQL, Args: args, Gives: gives, Writes: s.Writes}, r, err
}

// read runs the query of a file and returns the content.
func (b *DB) read(ctx context.Context, f *sqlfile.File, p params, g page, path string, follow bool) (json.RawMessage, Reads, error) {
	reads := Reads{mark: b.d.Tracker().Mark(), Tables: f.Options.Tables}
	s := f.Statements[0]
	switch {
	case len(f.Statements) > 1:
		return nil, reads, b.badQuery(f, f.Statements[1], path, "a query is one statement",
			"Publish to files with several statements; they are one transaction.")
	case s.Writes || s.Into:
		return nil, reads, b.badQuery(f, s, path, "this is no query: it writes", "Publish to it to have it run.")
	case !slices.Contains(reading, s.Verb):
		return nil, reads, b.badQuery(f, s, path, "this is no query: it does not begin with SELECT, WITH or VALUES",
			"Correct it; or publish to it to have it run, if it is no query.")
	}
	stmt, rendered, err := b.statement(f, s, p)
	if err != nil {
		return nil, reads, err
	}
	rows := b.rows(f)
	list, results := []sqldb.Statement{stmt}, []*sqldb.Rows{rows}
	if g.total {
		list = append(list, sqldb.Statement{SQL: "SELECT count(*) AS n FROM (" + stmt.SQL + "\n) AS q", Args: stmt.Args})
		results = append(results, &sqldb.Rows{Limit: 1})
	}
	list[0].SQL += cut(s, f, g, rows)
	ctx, cancel := b.limit(ctx, f)
	defer cancel()
	var r, more sqldb.Reads
	if follow {
		more, err = b.d.Follow(ctx, list[:1], f.Options.Tables)
		reads.Blind = more.Blind
	}
	if err == nil {
		r, err = b.d.Read(ctx, list, results)
	}
	reads.Tables = slices.Concat(r.Tables, more.Tables, f.Options.Tables)
	slices.Sort(reads.Tables)
	reads.Tables, reads.Blind = slices.Compact(reads.Tables), reads.Blind || r.Blind
	if err != nil {
		err = b.fault(ctx, err, path, &source{f, rendered})
		if e, ok := errors.AsType[*message.Error](err); ok && late(ctx) {
			e.Retryable, e.RetryAfter = true, time.Second // somebody's lock, or much to do elsewhere, ends some time
		}
		return nil, reads, err
	}
	return body(f, g, results), reads, nil
}

// reading are the words that queries begin with.
var reading = []string{"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "PRAGMA"}

// cut returns what has to be appended to a query so that it gives the rows that
// are wanted, and no more than one over the limit.
func cut(s *sqlfile.Statement, f *sqlfile.File, g page, rows *sqldb.Rows) string {
	want := rows.Limit + 1
	if f.Options.One {
		g.limit = 1
	}
	if g.limit > 0 && g.limit <= rows.Limit {
		want, rows.Stop = g.limit, g.limit
	}
	if !s.Limited && (s.Verb == "SELECT" || s.Verb == "WITH") {
		return fmt.Sprintf("\nLIMIT %d OFFSET %d", want, g.offset)
	}
	rows.Skip = g.offset
	return ""
}

// body makes the content of the rows.
func body(f *sqlfile.File, g page, results []*sqldb.Rows) json.RawMessage {
	rows := results[0].JSON()
	if f.Options.One {
		rows = results[0].First()
	}
	if !g.columns && !g.total {
		return rows
	}
	out := struct {
		Columns []sqldb.Column  `json:"columns,omitempty"`
		Key     []string        `json:"key,omitempty"`
		Rows    json.RawMessage `json:"rows"`
		Total   json.RawMessage `json:"total,omitempty"`
	}{Rows: rows}
	if g.columns {
		out.Columns, out.Key = results[0].Columns(), f.Options.Key
	}
	if g.total {
		var n struct {
			N json.RawMessage `json:"n"`
		}
		_ = json.Unmarshal(results[1].First(), &n)
		out.Total = n.N
	}
	return encode(out)
}

// encode returns the JSON of what has one.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// attempts is how often a transaction is tried that others get in the way of.
const attempts = 6

// write runs all statements of a file, for each of the parameter sets, in one
// transaction.
func (b *DB) write(ctx context.Context, f *sqlfile.File, sets []params, path string) (*Result, error) {
	ctx, cancel := b.limit(ctx, f)
	defer cancel()
	for n := 1; ; n++ {
		r := &Result{}
		err := b.d.Write(ctx, func(tx sqldb.Tx) error { return b.runAll(ctx, tx, f, sets, r) })
		if err == nil {
			return r, nil
		}
		fault, ok := errors.AsType[*sqldb.Fault](err)
		if !ok || !fault.Again || n == attempts {
			return nil, b.fault(ctx, err, path, nil)
		}
		pause := time.Duration(5<<n)*time.Millisecond + rand.N(10*time.Millisecond)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, b.fault(ctx, err, path, nil)
		}
	}
}

// located is an error and the statement that it is of.
type located struct {
	error

	at source
}

func (l *located) Unwrap() error { return l.error }

// bounds are the words of statements that begin or end transactions, or leave
// statements behind that others could use.
var bounds = []string{
	"BEGIN", "START", "COMMIT", "ROLLBACK", "END", "ABORT", "SAVEPOINT", "RELEASE", "XA", "PREPARE", "DEALLOCATE", "DISCARD",
}

func (b *DB) runAll(ctx context.Context, tx sqldb.Tx, f *sqlfile.File, sets []params, r *Result) error {
	var all []json.RawMessage
	size := 0
	for _, p := range sets {
		var last *sqldb.Rows
		for _, s := range f.Statements {
			if slices.Contains(bounds, s.Verb) {
				return b.badQuery(f, s, "", s.Verb+" is not allowed", "All statements of a file are one transaction.")
			}
			stmt, rendered, err := b.statement(f, s, p)
			if err != nil {
				return err
			}
			rows := b.rows(f)
			out, err := tx.Run(ctx, stmt, rows)
			if err != nil {
				return &located{err, source{f, rendered}}
			}
			r.Affected += out.Affected
			if out.HasKey {
				r.Keys = append(r.Keys, out.Key)
			}
			if rows.Columns() != nil {
				last = rows
			}
		}
		if last != nil {
			var list []json.RawMessage
			_ = json.Unmarshal(last.JSON(), &list)
			if all = append(all, list...); all == nil {
				all = []json.RawMessage{}
			}
			if size += len(last.JSON()); size > b.set.Size {
				return &sqldb.Fault{Code: message.CodeLimitExceeded, Message: "the rows are too many bytes", Hint: "Publish less at a time."}
			}
		}
	}
	if all != nil {
		r.Rows = encode(all)
	}
	return nil
}
