package sqlite

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"modernc.org/libc"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

// conn is one connection, used by one goroutine at a time. It goes around
// database/sql, whose rows cannot be interrupted between the first and the last.
type conn struct {
	c        sqldriver.Conn
	handle   uintptr // sqlite3*
	readOnly bool
	age      int
	broken   bool

	stmts map[string]*stmt
	order []string // of stmts, the one that was used last at the end
	texts int      // bytes of order

	// What the authorizer and the hooks saw.
	ours   bool // the statement is of this package, such as BEGIN
	reads  map[string]struct{}
	writes map[string]struct{}
	ddl    bool
	denied string
	wrote  map[string]struct{} // in the transaction
	schema bool                // the transaction changed the schema
	made   bool                // the statement has made a row with a key
}

func dsn(cfg sqldb.Config, readOnly bool) string {
	q := url.Values{"_dqs": {"0"}, "_defensive": {"1"}, "_error_rc": {"1"}, "_pragma": {
		"busy_timeout(" + ms(cfg.Busy) + ")", "trusted_schema(0)", "foreign_keys(1)", "cache_size(-8192)",
	}}
	switch {
	case !readOnly:
		q["_pragma"] = append(q["_pragma"], "journal_mode(wal)", "synchronous(normal)")
	case cfg.ReadOnly:
		q.Set("mode", "ro")
		fallthrough
	default:
		q["_pragma"] = append(q["_pragma"], "query_only(1)")
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: cfg.File}).EscapedPath(), RawQuery: q.Encode()}
	return u.String()
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// open opens a connection.
func open(cfg sqldb.Config, readOnly bool) (*conn, error) {
	connector, err := sqlite.NewConnector(dsn(cfg, readOnly))
	if err != nil {
		return nil, fault(err, 0)
	}
	dc, err := connector.Connect(context.Background())
	if err != nil {
		return nil, fault(err, 0)
	}
	c := &conn{c: dc, readOnly: readOnly, stmts: map[string]*stmt{}}
	if err := c.prepareConn(cfg); err != nil {
		_ = dc.Close()
		return nil, err
	}
	return c, nil
}

// prepareConn installs hooks and limits.
func (c *conn) prepareConn(cfg sqldb.Config) error {
	// The driver has no way to interrupt a query between two rows, nor to tell
	// where in a statement the mistake is: SQLite has, for who knows the handle.
	field := reflect.ValueOf(c.c).Elem().FieldByName("db")
	auth, isAuth := c.c.(sqlite.AuthorizerRegisterer)
	hooks, isHooks := c.c.(sqlite.HookRegisterer)
	if !isAuth || !isHooks || field.Kind() != reflect.Uintptr {
		return &sqldb.Fault{Code: message.CodeInternal, Message: "the SQLite driver is not the one that this program was made for"}
	}
	c.handle = uintptr(field.Uint())
	tls := libc.NewTLS()
	defer tls.Close()
	sqlite3.Xsqlite3_limit(tls, c.handle, sqlite3.SQLITE_LIMIT_ATTACHED, 0)
	sqlite3.Xsqlite3_limit(tls, c.handle, sqlite3.SQLITE_LIMIT_LENGTH, int32(cfg.MaxValue))
	c.clear()
	if err := auth.RegisterAuthorizer(c.authorize); err != nil {
		return fault(err, 0)
	}
	if !c.readOnly {
		hooks.RegisterPreUpdateHook(c.updates)
	}
	return nil
}

// updates is called by SQLite before a row changes.
func (c *conn) updates(u sqlite.SQLitePreUpdateData) {
	c.wrote[u.TableName] = struct{}{}
	// Rows of triggers do not count, and tables WITHOUT ROWID have no such key.
	c.made = c.made || u.Op == sqlite3.SQLITE_INSERT && u.NewRowID != 0 && u.Depth() == 0
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.s.Close()
	}
	return c.c.Close()
}

// clear forgets what the authorizer saw.
func (c *conn) clear() {
	c.reads, c.writes, c.ddl, c.denied = map[string]struct{}{}, map[string]struct{}{}, false, ""
}

// pragmas that only tell, and nothing about the server.
var pragmas = []string{
	"table_info", "table_xinfo", "table_list", "index_info", "index_xinfo", "index_list", "foreign_key_list",
	"foreign_key_check", "data_version", "user_version", "function_list", "collation_list", "compile_options",
}

// functions that reach out of the database, in builds that have them.
var functions = []string{"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "fileio_ls", "sqlite_dbpage"}

// authorize is asked by SQLite while it prepares a statement.
func (c *conn) authorize(action sqlite.AuthorizerActionCode, arg1, arg2, database, _ string) sqlite.AuthorizerReturnCode {
	if c.ours {
		return sqlite.AuthorizerOK
	}
	// What is temporary is of the connection, and would be there for the next.
	c.broken = c.broken || database == "temp"
	switch action { //nolint:exhaustive // the others write
	case sqlite.AuthSelect, sqlite.AuthRecursive:
		return sqlite.AuthorizerOK
	case sqlite.AuthRead:
		c.reads[arg1] = struct{}{}
		return sqlite.AuthorizerOK
	case sqlite.AuthFunction:
		if slices.Contains(functions, strings.ToLower(arg2)) {
			return c.deny("the function " + arg2 + " is not allowed")
		}
		return sqlite.AuthorizerOK
	case sqlite.AuthPragma:
		if !slices.Contains(pragmas, strings.ToLower(arg1)) || arg2 != "" && strings.HasSuffix(strings.ToLower(arg1), "_version") {
			return c.deny("PRAGMA " + arg1 + " is not allowed")
		}
		return sqlite.AuthorizerOK
	case sqlite.AuthAttach, sqlite.AuthDetach:
		return c.deny("ATTACH, DETACH and VACUUM are not allowed")
	case sqlite.AuthTransaction, sqlite.AuthSavepoint:
		return c.deny("all statements of a file are one transaction: BEGIN, COMMIT and SAVEPOINT are not allowed")
	}
	if c.readOnly {
		return c.deny("this is a query, which cannot write: publish to write")
	}
	switch action { //nolint:exhaustive // the others change the schema
	case sqlite.AuthInsert, sqlite.AuthUpdate, sqlite.AuthDelete:
		c.writes[arg1] = struct{}{}
	default:
		c.ddl = true
	}
	return sqlite.AuthorizerOK
}

func (c *conn) deny(why string) sqlite.AuthorizerReturnCode {
	if c.denied == "" {
		c.denied = why
	}
	return sqlite.AuthorizerDeny
}

// guard interrupts what runs when ctx ends, until the function that it returns
// was called.
func (c *conn) guard(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(ended)
		tls := libc.NewTLS()
		defer tls.Close()
		// Again and again: one that comes before the first step is lost.
		for {
			sqlite3.Xsqlite3_interrupt(tls, c.handle)
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return func() {
		if !cancel() {
			close(over)
			<-ended
		}
	}
}

// do runs a statement of this package.
func (c *conn) do(text string) error {
	c.ours = true
	defer func() { c.ours = false }()
	s, err := c.prepare(text)
	if err != nil {
		return err
	}
	_, err = s.s.Exec(nil) //nolint:staticcheck // the driver's form with a context starts a goroutine each time
	return c.fault(err)
}

// number returns what a query of this package gives.
func (c *conn) number(ctx context.Context, text string) (int64, error) {
	defer c.guard(ctx)()
	c.ours = true
	defer func() { c.ours = false }()
	s, err := c.prepare(text)
	if err != nil {
		return 0, err
	}
	rows, err := s.s.Query(nil) //nolint:staticcheck // likewise
	if err != nil {
		return 0, c.fault(err)
	}
	defer func() { _ = rows.Close() }()
	v := make([]sqldriver.Value, 1)
	if err := rows.Next(v); err != nil {
		return 0, c.fault(err)
	}
	n, _ := v[0].(int64)
	return n, nil
}

func (c *conn) read(ctx context.Context, list []sqldb.Statement, rows []*sqldb.Rows) (reads sqldb.Reads, err error) {
	defer c.guard(ctx)()
	if len(list) > 1 {
		if err := c.do("BEGIN"); err != nil {
			return reads, err
		}
		defer func() {
			if c.do("COMMIT") != nil {
				c.broken = true
			}
		}()
	}
	tables := map[string]struct{}{}
	for i := range list {
		s, err := c.prepare(list[i].SQL)
		if err != nil {
			return reads, err
		}
		c.clear()
		err = c.query(ctx, s, list[i].Args, rows[i])
		// It was prepared anew if the schema has changed; virtual tables prepare
		// statements of their own.
		maps.Copy(s.reads, c.reads)
		maps.Copy(tables, s.reads)
		reads.Tables = slices.Sorted(maps.Keys(tables)) // what has failed may go well when they change
		if err != nil {
			return reads, err
		}
	}
	return reads, nil
}

// query runs a statement and encodes its rows.
func (c *conn) query(ctx context.Context, s *stmt, args []any, to *sqldb.Rows) error {
	values, err := bind(args)
	if err != nil {
		return err
	}
	rows, err := s.s.Query(values) //nolint:staticcheck // see do
	if err != nil {
		return c.fault(err)
	}
	defer func() { _ = rows.Close() }()
	names := rows.Columns()
	types, _ := rows.(sqldriver.RowsColumnTypeDatabaseTypeName)
	columns := make([]sqldb.Column, len(names))
	days := make([]bool, len(names))
	for i, name := range names {
		decl := types.ColumnTypeDatabaseTypeName(i)
		columns[i] = sqldb.Column{Name: name, Type: columnType(decl)}
		days[i] = decl == "DATE"
	}
	if len(columns) > 0 {
		if err := to.SetColumns(columns); err != nil {
			return err
		}
	}
	row := make([]sqldriver.Value, len(names))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.fault(err)
		}
		if err := to.Begin(); err != nil {
			if errors.Is(err, sqldb.ErrStop) {
				return nil
			}
			return err
		}
		for i, v := range row {
			encode(to, v, days[i])
		}
		if err := to.End(); err != nil {
			return err
		}
	}
}

func encode(to *sqldb.Rows, v any, day bool) {
	switch v := v.(type) {
	case int64:
		to.Int(v)
	case float64:
		to.Float(v)
	case string:
		to.Text(v)
	case []byte:
		to.Blob(v)
	case time.Time:
		h, m, s := v.Clock()
		to.Time(v, day && h+m+s+v.Nanosecond() == 0)
	case bool:
		to.Bool(v)
	default:
		to.Null()
	}
}

// columnType is what a declared type says about the values.
func columnType(decl string) sqlfile.Type {
	decl, _, _ = strings.Cut(decl, "(")
	switch decl = strings.TrimSpace(decl); decl {
	case "BOOLEAN", "BOOL":
		return sqlfile.Boolean
	case "DATE", "DATETIME", "TIMESTAMP":
		return sqlfile.Date
	case "JSON", "JSONB":
		return sqlfile.JSON
	case "":
		return sqlfile.Any
	}
	switch { // the rules of SQLite for affinity
	case strings.Contains(decl, "INT"):
		return sqlfile.Integer
	case strings.Contains(decl, "CHAR"), strings.Contains(decl, "CLOB"), strings.Contains(decl, "TEXT"):
		return sqlfile.String
	case strings.Contains(decl, "REAL"), strings.Contains(decl, "FLOA"), strings.Contains(decl, "DOUB"), //nolint:misspell // of DOUBLE
		strings.Contains(decl, "DEC"), strings.Contains(decl, "NUM"):
		return sqlfile.Number
	}
	return sqlfile.Any
}

// bind makes values of the driver. SQLite keeps fractions as binary numbers of
// 64 bits, and dates as texts.
func bind(args []any) ([]sqldriver.Value, error) {
	values := make([]sqldriver.Value, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case json.Number:
			f, err := a.Float64()
			if err != nil {
				return nil, &sqldb.Fault{Code: message.CodeInvalidInput, Message: "a number is too large", Hint: "Give it as a string."}
			}
			values[i] = f
		case sqldb.Date:
			values[i] = a.Text()
		default:
			values[i] = a
		}
	}
	return values, nil
}

// write runs f in a transaction.
func (c *conn) write(ctx context.Context, f func(tx sqldb.Tx) error) (err error) {
	defer c.guard(ctx)()
	c.wrote, c.schema = map[string]struct{}{}, false
	if err := c.do("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done && c.do("ROLLBACK") != nil {
			c.broken = true // it was rolled back already, by an error such as a full disk
		}
	}()
	if err := f(tx{c}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.do("COMMIT"); err != nil {
		return err
	}
	done = true
	return nil
}

type tx struct{ c *conn }

// Run implements sqldb.Tx.
func (t tx) Run(ctx context.Context, q sqldb.Statement, rows *sqldb.Rows) (sqldb.Outcome, error) {
	c := t.c
	s, err := c.prepare(q.SQL)
	if err != nil {
		return sqldb.Outcome{}, err
	}
	before, err := c.number(ctx, "SELECT total_changes()")
	if err != nil {
		return sqldb.Outcome{}, err
	}
	c.clear()
	c.made = false
	if err := c.query(ctx, s, q.Args, rows); err != nil {
		return sqldb.Outcome{}, err
	}
	c.schema = c.schema || s.ddl || c.ddl
	maps.Copy(c.wrote, s.writes)
	out := sqldb.Outcome{}
	if len(s.writes) == 0 {
		return out, nil
	}
	// total_changes counts what triggers do too, changes only the statement.
	after, err := c.number(ctx, "SELECT total_changes()")
	if err != nil || after == before {
		return out, err
	}
	if out.Affected, err = c.number(ctx, "SELECT changes()"); err != nil {
		return out, err
	}
	if c.made && insert(q.SQL) {
		out.HasKey = true
		out.Key, err = c.number(ctx, "SELECT last_insert_rowid()")
	}
	return out, err
}

// insert tells whether a statement makes rows itself; an update of a virtual
// table makes some behind it.
func insert(text string) bool {
	text = strings.ToUpper(text[:min(len(text), 8)])
	return strings.HasPrefix(text, "INSERT") || strings.HasPrefix(text, "REPLACE")
}
