package query_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/query"
	_ "github.com/ropewalk/ropewalk/content/query/drivers"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(&program{m}) }

// program ends what the tests began before the search for leaks.
type program struct{ m *testing.M }

func (p *program) Run() int {
	defer postgres.Stop()
	defer mariadb.Stop()
	return p.m.Run()
}

// site is a provider with one application, and a connection of somebody else to
// its database.
type site struct {
	*query.Provider

	dir   string
	other *sql.DB
}

// openSQLite starts a site with an SQLite database. edit may change settings.
func openSQLite(t testing.TB, edit func(*query.Settings)) *site {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.db")
	s := query.Settings{
		Applications: map[string]string{"app": dir},
		Databases:    map[string]query.Database{"main": {File: file, Check: duration.Duration(20 * time.Millisecond)}},
	}
	if edit != nil {
		edit(&s)
	}
	return start(t, s, dir, "sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)")
}

func start(t testing.TB, s query.Settings, dir, driver, dsn string) *site {
	t.Helper()
	p, err := query.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	other, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	return &site{Provider: p, dir: dir, other: other}
}

// exec has somebody else run SQL.
func (s *site) exec(t testing.TB, list ...string) {
	t.Helper()
	for _, q := range list {
		if _, err := s.other.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// file writes a file of the application.
func (s *site) file(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func request(name, params string) *content.Request {
	r := contenttest.Request("/app/" + name)
	if params != "" {
		r.Params = json.RawMessage(params)
	}
	return r
}

// get returns the content of a request.
func (s *site) get(t testing.TB, r *content.Request) (string, error) {
	t.Helper()
	res, err := s.Open(t.Context(), r)
	if err != nil {
		return "", err
	}
	c, err := res.Get(t.Context())
	return string(c.Body), err
}

// run writes a query into a file of its own and returns its rows.
func (s *site) run(t testing.TB, text, params string) (string, error) {
	t.Helper()
	name := "q" + session.NewID() + ".sql"
	s.file(t, name, text)
	return s.get(t, request(name, params))
}

func (s *site) publish(t testing.TB, name, body string) (string, error) {
	t.Helper()
	c, err := s.Publish(t.Context(), request(name, ""), content.Content{Body: []byte(body)})
	return string(c.Body), err
}

// must fails the test if there is an error.
func must(t testing.TB, got string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wants fails the test unless err has a code.
func wants(t testing.TB, err error, code message.Code) *message.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error, want %s", code)
	}
	e := message.AsError(err)
	if e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if e.Message == "" || e.Hint == "" {
		t.Errorf("the error has no message or hint: %+v", e)
	}
	return e
}

// env is what the conformance suite needs.
func (s *site) env(t *testing.T) contenttest.Env {
	t.Helper()
	s.exec(t, "CREATE TABLE counters (name VARCHAR(100) PRIMARY KEY, n INTEGER)")
	s.file(t, "set.sql", "-- @param name string\n-- @param n integer\nDELETE FROM counters WHERE name = :name;\nINSERT INTO counters VALUES (:name, :n);\n")
	path := func(name string) string { return name + ".sql" }
	write := func(name string, n int) error {
		tx, err := s.other.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.ExecContext(t.Context(), "DELETE FROM counters WHERE name = '"+name+"'"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO counters VALUES ('%s', %d)", name, n)); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		file := filepath.Join(s.dir, path(name))
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		return os.WriteFile(file, []byte("-- @one\n-- @column n integer\n-- @param k integer = 1\n"+
			"SELECT n * CAST(:k AS DECIMAL(9)) AS n FROM counters WHERE name = '"+name+"'\n"), 0o600)
	}
	return contenttest.Env{
		Provider: s.Provider,
		Request:  func(name string) *content.Request { return request(path(name), "") },
		Write:    write,
		Remove:   func(name string) error { return os.Remove(filepath.Join(s.dir, path(name))) },
		Content:  func(n int) content.Content { return content.Content{Body: fmt.Appendf(nil, `{"n":%d}`, n)} },
		Filtered: func(name string) (a, b *content.Request) {
			return request(path(name), `{"k":1}`), request(path(name), `{"k":2}`)
		},
		Publication: func(name string, n int) (*content.Request, content.Content) {
			if _, err := os.Stat(filepath.Join(s.dir, path(name))); err != nil {
				if err := write(name, 0); err != nil {
					t.Error(err)
				}
			}
			return request("set.sql", ""), content.Content{Body: fmt.Appendf(nil, `{"name":%q,"n":%d}`, name, n)}
		},
		Forbidden: []*content.Request{request("main.db", ""), request(".hidden.sql", ""), request("%2e%2e/x.sql", "")},
	}
}
