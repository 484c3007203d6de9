package login

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// User is somebody in the user table.
type User struct {
	// ID is the subject of the user's sessions.
	ID string `json:"id"`
	// Name is what the user types to log in.
	Name string `json:"name"`
	// Disabled users cannot log in.
	Disabled bool `json:"disabled,omitempty"`
	// Public and Secret are the claims that sessions of the user get.
	Public session.Claims `json:"public,omitempty"`
	Secret session.Claims `json:"-"`

	hash string
}

// table is the user table and the table of passkeys.
type table struct {
	cfg     Users
	db      *sql.DB
	byName  string
	byID    string
	setHash string
}

// maxName is how many bytes a name may have that is looked for.
const maxName = 256

var errNoUser = errors.New("there is no such user")

// newTable opens nothing yet: the first query does.
func newTable(cfg Users) (*table, error) {
	driver, dsn := "pgx", cfg.DSN
	if cfg.Driver == DriverSQLite {
		driver, dsn = "sqlite", sqliteDSN(dsn)
	}
	if !slices.Contains(sql.Drivers(), driver) {
		return nil, &message.Error{
			Code: message.CodeInvalidInput, Path: "users.driver", Message: "this program was built without a driver for " + cfg.Driver,
			Hint: "Import github.com/ropewalk/ropewalk/login/drivers.",
		}
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, &message.Error{ //nolint:gosec // an example of a URL
			Code: message.CodeInvalidInput, Path: "users.dsn", Message: "the data source cannot be read",
			Hint: "Write it like postgres://user:password@host/database.",
		} // the error of a driver may show the password
	}
	n := cfg.Connections
	if inMemory(dsn) {
		n = 1 // each connection would have a database of its own
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(min(n, 2))
	db.SetConnMaxIdleTime(5 * time.Minute)
	if n == 1 {
		db.SetConnMaxIdleTime(0)
	}
	t := &table{cfg: cfg, db: db, byName: cfg.Queries.ByName, byID: cfg.Queries.ByID, setHash: cfg.Queries.SetHash}
	// All columns: those with claims need not be there.
	from := "SELECT * FROM " + quote(cfg.Table) + " WHERE " //nolint:unqueryvet // the same
	text(&t.byName, from+quoted(cfg.Columns.Name, "name")+" = $1")
	text(&t.byID, from+quoted(cfg.Columns.ID, "id")+" = $1")
	hash := quoted(cfg.Columns.Hash, "hash")
	text(&t.setHash, "UPDATE "+quote(cfg.Table)+" SET "+hash+" = $2 WHERE "+quoted(cfg.Columns.ID, "id")+" = $1 AND COALESCE("+hash+", '') = $3")
	return t, nil
}

func inMemory(dsn string) bool {
	return strings.Contains(dsn, ":memory:") || strings.Contains(dsn, "mode=memory")
}

// sqliteDSN has a connection wait for others that write, unless the DSN says
// what to do itself.
func sqliteDSN(dsn string) string {
	if strings.Contains(dsn, "_pragma=") {
		return dsn
	}
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	return dsn + sep + "_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)"
}

// quote makes a name, or schema.name, an identifier of SQL.
func quote(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}

// quoted is quote for a column, which has no schema.
func quoted(name, otherwise string) string {
	text(&name, otherwise)
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func (t *table) close() error { return t.db.Close() }

// limit gives a query its time.
func (t *table) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(t.cfg.Timeout))
}

// named finds a user by the name that they typed.
func (t *table) named(ctx context.Context, name string) (*User, error) {
	name = normal(name)
	if !sane(name) {
		return nil, errNoUser
	}
	return t.find(ctx, t.byName, name)
}

// user finds a user by id.
func (t *table) user(ctx context.Context, id string) (*User, error) {
	if !sane(id) {
		return nil, errNoUser
	}
	return t.find(ctx, t.byID, id)
}

// sane tells whether a text can be in a table: PostgreSQL has neither NUL nor
// what is not UTF-8.
func sane(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

func (t *table) find(ctx context.Context, query, arg string) (*User, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	rows, err := t.db.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, dbError("find a user", err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, dbError("find a user", err)
		}
		return nil, errNoUser
	}
	u, err := t.scan(rows)
	if err != nil {
		return nil, err
	}
	if rows.Next() {
		return nil, errors.New("the user table has two users of one name or id")
	}
	if err := rows.Err(); err != nil {
		return nil, dbError("find a user", err)
	}
	return u, nil
}

// dbError keeps what a database says for the log of the node.
func dbError(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := message.NewError(message.CodeInternal, "the user table cannot be reached at this moment", "Try again later.")
	e.Retryable = true
	e.Cause = fmt.Errorf("%s: %w", what, err)
	return e
}

// row is one row by the names of its columns.
type row struct {
	names []string
	vals  []any
	json  []bool
}

func readRow(rows *sql.Rows) (row, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return row{}, dbError("read a row", err)
	}
	r := row{vals: make([]any, len(types))}
	at := make([]any, len(types))
	for i, typ := range types {
		r.names = append(r.names, typ.Name())
		r.json = append(r.json, strings.HasPrefix(strings.ToUpper(typ.DatabaseTypeName()), "JSON"))
		at[i] = &r.vals[i]
	}
	if err := rows.Scan(at...); err != nil {
		return row{}, dbError("read a row", err)
	}
	for i, typ := range types { // SQLite has numbers only
		if n, ok := r.vals[i].(int64); ok && strings.HasPrefix(strings.ToUpper(typ.DatabaseTypeName()), "BOOL") {
			r.vals[i] = n != 0
		}
	}
	return r, nil
}

// get returns the value of a column. Without a given name the usual one is
// taken, and need not be there unless must.
func (r *row) get(given, usual string, must bool) (any, bool, error) {
	name := given
	text(&name, usual)
	i := slices.Index(r.names, name)
	if i < 0 {
		if given != "" || must {
			return nil, false, fmt.Errorf("the user table has no column %q", name)
		}
		return nil, false, nil
	}
	return r.vals[i], r.json[i], nil
}

func (t *table) scan(rows *sql.Rows) (*User, error) {
	r, err := readRow(rows)
	if err != nil {
		return nil, err
	}
	c, u := &t.cfg.Columns, &User{}
	for _, f := range []struct {
		to           *string
		given, usual string
		must         bool
	}{{&u.ID, c.ID, "id", true}, {&u.Name, c.Name, "name", false}, {&u.hash, c.Hash, "hash", true}} {
		v, _, err := r.get(f.given, f.usual, f.must)
		if err != nil {
			return nil, err
		}
		if v != nil {
			*f.to = textOf(v)
		}
	}
	if u.ID == "" || len(u.ID) > session.MaxName {
		return nil, errors.New("a user has no id, or one that is too long")
	}
	v, _, err := r.get(c.Disabled, "disabled", false)
	if err != nil {
		return nil, err
	}
	u.Disabled = truth(v)
	if u.Public, err = r.claims(c.Public, "public", t.cfg.Public); err == nil {
		u.Secret, err = r.claims(c.Secret, "secret", t.cfg.Secret)
	}
	if err != nil {
		return nil, err
	}
	if t.cfg.Public == nil && u.Name != "" {
		if _, has := u.Public["name"]; !has {
			u.Public["name"] = u.Name
		}
	}
	for name := range u.Secret {
		delete(u.Public, name)
	}
	return u, nil
}

// claims reads those of an object column and those of columns of their own.
func (r *row) claims(given, usual string, columns map[string]string) (session.Claims, error) {
	out := make(session.Claims)
	v, _, err := r.get(given, usual, false)
	if err != nil {
		return nil, err
	}
	if s := textOf(v); v != nil && s != "" {
		if err := json.Unmarshal([]byte(s), &out); err != nil {
			return nil, fmt.Errorf("a column with claims holds no JSON object: %w", err)
		}
		if out == nil { // null
			out = make(session.Claims)
		}
	}
	for claim, column := range columns {
		v, isJSON, err := r.get(column, column, true)
		if err != nil {
			return nil, err
		}
		if v, err = claimOf(v, isJSON); err != nil {
			return nil, err
		}
		if v != nil {
			out[claim] = v
		}
	}
	return out, nil
}

// claimOf makes of a value of a database one of JSON.
func claimOf(v any, isJSON bool) (any, error) {
	if isJSON && v != nil {
		var out any
		if err := json.Unmarshal([]byte(textOf(v)), &out); err != nil {
			return nil, fmt.Errorf("a column of type JSON holds none: %w", err)
		}
		return out, nil
	}
	switch v := v.(type) {
	case nil, bool, float64:
		return v, nil
	case int64:
		return float64(v), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339), nil
	default:
		return strings.ToValidUTF8(textOf(v), "?"), nil
	}
}

func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// truth tells whether a column says yes, whatever its type.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string, []byte:
		s := strings.ToLower(textOf(v))
		return !slices.Contains([]string{"", "0", "f", "false", "n", "no"}, s)
	default: // a time
		return true
	}
}

// changeHash replaces the hash of a user, unless somebody else has meanwhile.
func (t *table) changeHash(ctx context.Context, u *User, h Hash) (bool, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	return t.exec(ctx, "change a password", t.setHash, u.ID, h.Text(), u.hash)
}

// exec tells whether a statement changed anything.
func (t *table) exec(ctx context.Context, what, query string, args ...any) (bool, error) {
	res, err := t.db.ExecContext(ctx, query, args...)
	if err != nil {
		return false, dbError(what, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
