package script_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/query"
	_ "github.com/ropewalk/ropewalk/content/query/drivers"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/session"
)

// database is one of package query, as scripts use it.
type database struct{ *query.DB }

func (d database) Query(ctx context.Context, sql string, params json.RawMessage, s *session.Session, follow bool) (json.RawMessage, script.Dependency, error) {
	rows, reads, err := d.DB.Query(ctx, sql, params, s, follow)
	return rows, tables{d.DB, reads}, err
}

func (d database) Exec(ctx context.Context, sql string, params json.RawMessage, s *session.Session) (json.RawMessage, error) {
	return result(d.DB.Exec(ctx, sql, params, s))
}

func (d database) Transaction(ctx context.Context, s *session.Session, f func(script.Tx) error) error {
	return d.DB.Transaction(ctx, s, func(tx *query.Tx) error { return f(transaction{tx}) })
}

type transaction struct{ *query.Tx }

func (t transaction) Run(ctx context.Context, sql string, params json.RawMessage) (json.RawMessage, error) {
	return result(t.Tx.Run(ctx, sql, params))
}

func result(r *query.Result, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// tables is a dependency on what a query has read.
type tables struct {
	db    *query.DB
	reads query.Reads
}

func (t tables) Key() string { return t.db.Name() + ":" + strings.Join(t.reads.Tables, ",") }

func (t tables) Watch(changed func()) func() {
	w := t.db.Watch(changed)
	w.Set(t.reads)
	return w.Stop
}

// withDatabase returns a provider whose scripts may read and write a database.
func withDatabase(t testing.TB, files map[string]string, grants ...script.Grant) *script.Provider {
	t.Helper()
	q, err := query.New(query.Settings{Root: t.TempDir(), Databases: map[string]query.Database{
		"main": {File: filepath.Join(t.TempDir(), "main.db"), Check: duration.Duration(50 * time.Millisecond)},
		"more": {File: filepath.Join(t.TempDir(), "more.db")},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	db, err := q.DB("main")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL)", "INSERT INTO t (name) VALUES ('ann'), ('bob')"} {
		if _, err := db.Exec(t.Context(), text, nil, session.Anonymous()); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := provider(t, script.Settings{Grants: grants}, script.Host{Database: func(name string) (script.Database, error) {
		d, err := q.DB(name)
		return database{d}, err
	}}, files)
	return p
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	count := `return (await db.query("SELECT count(*) AS n FROM t"))[0].n`
	try := func(code string) string {
		return `export default async () => { try { ` + code + ` } catch (e) { return [e.name, e.code ?? e.message] } }`
	}
	may := map[string]string{
		"query.js":    try(`return await db.query("SELECT name FROM t WHERE id = :id", { id: 2 })`),
		"writes.js":   try(`await db.query("DELETE FROM t")`),
		"exec.js":     try(`const r = await db.exec("INSERT INTO t (name) VALUES (:n)", { n: "eve" }); return [r.rowsAffected, await db.query("SELECT name FROM t WHERE id = 3")]`),
		"commit.js":   try(`await db.transaction(async (tx) => { await tx.exec("INSERT INTO t (name) VALUES ('x')"); await tx.exec("INSERT INTO t (name) VALUES ('y')") }); ` + count),
		"rollback.js": try(`try { await db.transaction(async (tx) => { await tx.exec("DELETE FROM t"); throw new Error("no") }) } catch (e) { if (e.message !== "no") throw e } ` + count),
		"reads.js":    try(`return await db.transaction(async (tx) => { await tx.exec("INSERT INTO t (name) VALUES ('x')"); return (await tx.query("SELECT count(*) AS n FROM t"))[0].n })`),
		"late.js":     try(`let kept; await db.transaction(async (tx) => { kept = tx }); await kept.exec("DELETE FROM t")`),
		"open.js":     `export default async () => { await db.transaction(async (tx) => { await tx.exec("DELETE FROM t"); await new Promise(() => {}) }) }`,
		"bad.js":      try(`await db.query("SELEC 1")`),
		"other.js":    try(`return await db.use("more").query("SELECT 1 AS one")`),
		"classic.js":  `var r = JSON.parse(db.executeQuery("SELECT name FROM t WHERE id = ? AND name <> '?'", '{"id":1}')); db.executeNamedParamsUpdate("UPDATE t SET name = :n WHERE id = 1", '{"n":"zoe"}') + r[0].name + db.removeSpecialChars("a-b;c") && db.executeNamedParamsQuery("SELECT ::col FROM t ORDER BY id LIMIT 1", '{"col":"name"}')`,
		"inject.js":   `try { db.executeNamedParamsQuery("SELECT ::col FROM t", '{"col":"1; DROP TABLE t"}') } catch (e) { "\"" + e.name + "\"" }`,
	}
	for name, body := range map[string]string{
		"query.js": `[{"name":"bob"}]`, "writes.js": `["HostError","bad_content"]`, "exec.js": `[1,[{"name":"eve"}]]`, "commit.js": `4`, "rollback.js": `2`,
		"reads.js": `3`, "late.js": `["HostError","conflict"]`, "bad.js": `["HostError","bad_content"]`, "other.js": `["HostError","forbidden"]`,
		"classic.js": `[{"name":"zoe"}]`, "inject.js": `"TypeError"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := withDatabase(t, may, script.Grant{Paths: []string{"/**"}, Exec: []string{"main"}})
			want(t, p, "/"+name, body)
		})
	}
	t.Run("left open", func(t *testing.T) {
		t.Parallel()
		p := withDatabase(t, may, script.Grant{Paths: []string{"/**"}, Exec: []string{"main"}})
		if body, err := get(t, p, "/open.js", nil, ""); err == nil {
			t.Fatalf("got %s", body)
		}
		want(t, p, "/query.js", `[{"name":"bob"}]`)
	})
	t.Run("read only", func(t *testing.T) {
		t.Parallel()
		p := withDatabase(t, may, script.Grant{Paths: []string{"/**"}, Query: []string{"*"}})
		want(t, p, "/query.js", `[{"name":"bob"}]`)
		want(t, p, "/exec.js", `["HostError","forbidden"]`)
		want(t, p, "/commit.js", `["HostError","forbidden"]`)
	})
}

// TestLiveDatabase watches a script that reads a table while another one writes.
func TestLiveDatabase(t *testing.T) {
	t.Parallel()
	p := withDatabase(t, map[string]string{
		"read.js":  `export default async () => (await db.query("SELECT name FROM t ORDER BY id")).map((r) => r.name)`,
		"write.js": `export const call = async (b) => db.exec("INSERT INTO t (name) VALUES (:n)", b)`,
	}, script.Grant{Paths: []string{"/read.js"}, Query: []string{"main"}}, script.Grant{Paths: []string{"/write.js"}, Exec: []string{"main"}})
	res, err := p.Open(t.Context(), contenttest.Request("/read.js"))
	if err != nil {
		t.Fatal(err)
	}
	rang, stop := rings(t, res, 1)
	defer stop()
	names := []string{"ann", "bob"}
	for i := range 5 {
		for {
			c, err := res.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := json.Unmarshal(c.Body, &got); err != nil {
				t.Fatal(err)
			}
			if slices.Equal(got, names) {
				break
			}
			select {
			case <-rang:
			case <-time.After(20 * time.Second):
				t.Fatalf("still %v, want %v", got, names)
			}
		}
		name := fmt.Sprintf("n%d", i)
		names = append(names, name)
		r := contenttest.Request("/write.js")
		if _, err := p.Call(t.Context(), r, body(fmt.Sprintf(`{"n":%q}`, name))); err != nil {
			t.Fatal(err)
		}
	}
}

// rings watches a resource. Of changes that nobody has taken yet so many are
// told.
func rings(t *testing.T, res content.Resource, most int) (rang <-chan struct{}, stop func()) {
	t.Helper()
	c := make(chan struct{}, most)
	stop, err := res.Watch(func() {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, stop
}

// slow is a database of two queries, "old" and "new", of the same table. The one
// that began first ends last, and has not seen a change between the two.
type slow struct {
	script.Database

	done chan struct{} // new has ended
}

func (slow) Name() string { return "main" }

func (d slow) Query(ctx context.Context, sql string, _ json.RawMessage, _ *session.Session, _ bool) (json.RawMessage, script.Dependency, error) {
	if sql == "new" {
		defer close(d.done)
		return json.RawMessage("[]"), moment{}, nil
	}
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	return json.RawMessage("[]"), moment{changed: true}, ctx.Err()
}

// moment is a dependency on the table, read before it changed or after.
type moment struct{ changed bool }

func (moment) Key() string { return "table" }

func (m moment) Watch(changed func()) func() {
	if m.changed {
		changed()
	}
	return func() {}
}

// TestReadsAtOnce has a script read a table twice at once.
func TestReadsAtOnce(t *testing.T) {
	t.Parallel()
	db := slow{done: make(chan struct{})}
	p, _ := provider(t, script.Settings{Grants: []script.Grant{{Paths: []string{"/**"}, Query: []string{"main"}}}}, script.Host{
		Database: func(string) (script.Database, error) { return db, nil },
	}, map[string]string{"both.js": `export default async () => { await Promise.all([db.query("old"), db.query("new")]); return 1 }`})
	res, err := p.Open(t.Context(), contenttest.Request("/both.js"))
	if err != nil {
		t.Fatal(err)
	}
	rang, stop := rings(t, res, 1)
	defer stop()
	if _, err := res.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-rang:
	default:
		t.Error("a change that one of the two has not seen is not told")
	}
}
