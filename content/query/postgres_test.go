package query_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // for the connection of somebody else

	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/dbtest"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

var postgres = dbtest.Share(dbtest.Postgres)

// openPostgres starts a site with an empty database of the shared server.
func openPostgres(t testing.TB, edit func(*query.Settings)) *site {
	t.Helper()
	return postgresAt(t, postgres.Get(t), edit)
}

func postgresAt(t testing.TB, server *dbtest.Server, edit func(*query.Settings)) *site {
	t.Helper()
	name := "t" + session.NewID()
	admin := start(t, query.Settings{}, t.TempDir(), "pgx", server.PostgresURL("postgres"))
	admin.exec(t, "CREATE DATABASE "+name)
	dir := t.TempDir()
	s := query.Settings{
		Applications: map[string]string{"app": dir},
		Databases:    map[string]query.Database{"main": {Driver: "postgres", URL: server.PostgresURL(name)}},
	}
	if edit != nil {
		edit(&s)
	}
	return start(t, s, dir, "pgx", server.PostgresURL(name))
}

func TestConformancePostgres(t *testing.T) {
	t.Parallel()
	postgres.Get(t)
	contenttest.Run(t, contenttest.Features{Missing: true, Params: true, Publish: true}, func(t *testing.T) contenttest.Env {
		t.Helper()
		return openPostgres(t, nil).env(t)
	})
}

func TestPostgresResults(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, nil)
	s.exec(t, `CREATE TABLE p (id bigint PRIMARY KEY, name text, salary numeric, f float8, ok boolean, born date, at timestamptz, local timestamp,
		doc jsonb, photo bytea, tags text[], nums int[], d interval, u uuid)`,
		`INSERT INTO p VALUES (9007199254740993, 'A "x"', 12345678901234567890.123, 0.1, true, '1990-02-03', '2026-01-02 03:04:05.5+02', '2026-01-02 03:04:05',
		'{"a": [1, 2]}', '\x00ff', '{a,"b \"c\"",NULL}', '{{1,2},{3,NULL}}', '1 day 2 hours', '00000000-0000-0000-0000-000000000001')`,
		`INSERT INTO p (id, salary, f) VALUES (2, 'NaN', 'Infinity')`)
	s.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE DOMAIN few AS int", "CREATE TYPE pair AS (a int, b text)", "CREATE TABLE own (m mood, ms mood[], f few, fs few[], ps pair[])",
		`INSERT INTO own VALUES ('ok', '{sad,NULL,ok}', 1, '{1,2}', '{"(1,a)"}')`)
	s.file(t, "own.sql", "UPDATE own SET m = 'sad' RETURNING m, ms")
	if got := must2(s.publish(t, "own.sql", "{}")); got != `{"rowsAffected":1,"rows":[{"m":"sad","ms":["sad",null,"ok"]}]}` {
		t.Error(got)
	}
	for _, c := range []struct{ sql, params, want string }{
		{"TABLE own", "", `[{"m":"sad","ms":["sad",null,"ok"],"f":1,"fs":[1,2],"ps":["(1,a)"]}]`},
		{"SELECT * FROM p WHERE id > 2", "", `[{"id":9007199254740993,"name":"A \"x\"","salary":12345678901234567890.123,"f":0.1,"ok":true,"born":"1990-02-03",` +
			`"at":"2026-01-02T01:04:05.5Z","local":"2026-01-02T03:04:05","doc":{"a":[1,2]},"photo":"AP8=","tags":["a","b \"c\"",null],` +
			`"nums":[[1,2],[3,null]],"d":"P1DT2H","u":"00000000-0000-0000-0000-000000000001"}]`},
		{"SELECT name, salary, f, tags FROM p WHERE id = :id", `{"id":2}`, `[{"name":null,"salary":null,"f":null,"tags":null}]`},
		{"-- @param at date\nSELECT count(*) AS n FROM p WHERE at < :at", `{"at":"2027-01-01T00:00:00Z"}`, `[{"n":1}]`},
		{"-- @param n number\nSELECT :n::numeric AS n, $$:x$$ AS t, E'\\':y' AS u, (ARRAY[1,2,3])[1:2] AS a", `{"n":1.10}`, `[{"n":1.10,"t":":x","u":"':y","a":[1,2]}]`},
		{"SELECT id FROM p ORDER BY id", `{"$limit":1,"$offset":1,"$total":true}`, `{"rows":[{"id":9007199254740993}],"total":2}`},
		{"SELECT id FROM p ORDER BY id FETCH FIRST 2 ROWS ONLY", `{"$offset":1}`, `[{"id":9007199254740993}]`},
		{`SELECT ARRAY['\x00ff'::bytea, NULL] AS b, ARRAY['(1,1),(0,0)'::box] AS x, ARRAY[true] AS t, ARRAY['2026-01-02 03:04:05'::timestamp] AS d, ARRAY['NaN', 1.50]::numeric[] AS n`, "",
			`[{"b":["AP8=",null],"x":"{(1,1),(0,0)}","t":[true],"d":["2026-01-02T03:04:05"],"n":[null,1.50]}]`},
		{"-- @identifier c in (id, name)\nSELECT ::c FROM p WHERE id = 2", `{"c":"id"}`, `[{"id":2}]`},
		{"SELECT 1 AS a WHERE '{\"a\":1}'::jsonb ? 'a' AND :b", `{"b":true}`, `[{"a":1}]`},
		{"SELECT * FROM json_to_recordset(:rows) AS x(a int)", `{"rows":[{"a":1},{"a":2}]}`, `[{"a":1},{"a":2}]`},
	} {
		if got := must2(s.run(t, c.sql, c.params)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.sql, got, c.want)
		}
	}
	for sql, says := range map[string]string{
		"SELECT repeat('x', 100000000) AS x": "limit_exceeded: a row",
		"SELEC 1":                            "bad_content: line 1", "SELECT 1 +": "bad_content: line 1, column 11", "SELECT id,\n  'é' || nope FROM p": "bad_content: line 2, column 10", "SELECT 1 / 0 AS x": "invalid_input",
		"SELECT set_config('transaction_read_only', 'off', true)": "bad_content", "SELECT nextval('s')": "bad_content", "SELECT 'x'::int": "invalid_input",
		"SELECT * INTO q FROM p": "bad_content", "SELECT 1; DROP TABLE p": "bad_content", "COPY p TO '/tmp/x'": "bad_content",
	} {
		if got := must2(s.run(t, sql, "")); !strings.HasPrefix(got, says) {
			t.Errorf("%s: got %s, want %s", sql, got, says)
		}
	}
}

// installed is how many triggers there are.
func (s *site) installed(t *testing.T) (n int) {
	t.Helper()
	if err := s.other.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'ropewalk%'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPostgresLive(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, func(s *query.Settings) { s.Poll = duration.Duration(time.Hour) })
	s.exec(t, "CREATE TABLE a (id serial PRIMARY KEY, x int)", `CREATE SCHEMA "Other S"`, `CREATE TABLE "Other S"."B b" (x int)`,
		`CREATE VIEW v AS SELECT a.x + b.x AS x FROM a JOIN "Other S"."B b" b ON true`, "INSERT INTO a (x) VALUES (1)", `INSERT INTO "Other S"."B b" VALUES (10)`,
		"CREATE TABLE parts (k int, x int) PARTITION BY LIST (k)", "CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1)", "CREATE TABLE part2 PARTITION OF parts FOR VALUES IN (2)",
		"CREATE TABLE untouched (x int)")
	s.file(t, "v.sql", "SELECT x FROM v")
	s.file(t, "p.sql", "SELECT sum(x) AS n FROM parts WHERE k = :k")
	s.file(t, "cond.sql", "SELECT (SELECT max(x) FROM a) AS m WHERE :all = 'yes'")
	s.file(t, "u.sql", "SELECT count(*) AS n FROM untouched")
	s.file(t, "inc.sql", "UPDATE a SET x = x + :by")
	v, p, u := s.watch(t, request("v.sql", "")), s.watch(t, request("p.sql", `{"k":1}`)), s.watch(t, request("u.sql", ""))
	cond := s.watch(t, request("cond.sql", `{"all":"no"}`))
	v.until(t, `[{"x":11}]`)
	p.until(t, `[{"n":null}]`)
	u.until(t, `[{"n":0}]`)
	cond.until(t, `[]`)
	s.exec(t, "UPDATE a SET x = 2")
	v.until(t, `[{"x":12}]`)
	s.exec(t, `TRUNCATE "Other S"."B b"`)
	v.until(t, `[]`)
	s.exec(t, `INSERT INTO "Other S"."B b" VALUES (20)`)
	v.until(t, `[{"x":22}]`)
	s.exec(t, "INSERT INTO parts VALUES (1, 5)")
	p.until(t, `[{"n":5}]`)
	s.exec(t, "INSERT INTO part1 VALUES (1, 6)")
	p.until(t, `[{"n":11}]`)
	for _, w := range []*watcher{v, cond} {
		w.wokenBy(t, true, func() {
			if got := must2(s.publish(t, "inc.sql", `{"by":1}`)); got != `{"rowsAffected":1}` {
				t.Error(got)
			}
		})
	}
	u.wokenBy(t, false, func() {
		if _, err := s.publish(t, "inc.sql", `{"by":1}`); err != nil {
			t.Error(err)
		}
	})
	v.until(t, `[{"x":25}]`)
	if n := s.installed(t); n == 0 {
		t.Error("there are no triggers")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.installed(t); n != 0 {
		t.Errorf("%d triggers stay behind", n)
	}
}

// TestPostgresTwoNodes checks that one node leaves the triggers to another.
func TestPostgresTwoNodes(t *testing.T) {
	t.Parallel()
	var settings query.Settings
	s := openPostgres(t, func(s *query.Settings) { s.Poll = duration.Duration(time.Hour); settings = *s })
	s.exec(t, "CREATE TABLE a (x int)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	o := start(t, settings, s.dir, "pgx", settings.Databases["main"].URL)
	mine, theirs := s.watch(t, request("a.sql", "")), o.watch(t, request("a.sql", ""))
	mine.until(t, `[{"n":0}]`)
	theirs.until(t, `[{"n":0}]`)
	mine.stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	o.exec(t, "INSERT INTO a VALUES (1)")
	theirs.until(t, `[{"n":1}]`)
	theirs.stop()
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if n := o.installed(t); n != 0 {
		t.Errorf("%d triggers stay behind", n)
	}
}

// TestPostgresReader has an account that must not install triggers: its queries
// are polled.
func TestPostgresReader(t *testing.T) {
	t.Parallel()
	role := "r" + session.NewID()
	s := openPostgres(t, func(s *query.Settings) {
		s.Poll = duration.Duration(100 * time.Millisecond)
		d := s.Databases["main"]
		d.URL = strings.Replace(d.URL, "postgres@", role+"@", 1)
		s.Databases["main"] = d
	})
	s.exec(t, "CREATE ROLE "+role+" LOGIN", "CREATE TABLE a (x int)", "GRANT SELECT ON a TO "+role)
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.file(t, "w.sql", "DELETE FROM a")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, `[{"n":0}]`)
	s.exec(t, "INSERT INTO a VALUES (1)")
	w.until(t, `[{"n":1}]`)
	_, err := s.publish(t, "w.sql", "{}")
	wants(t, err, message.CodeForbidden)
}

func TestPostgresPublish(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, nil)
	s.exec(t, "CREATE TABLE a (id serial PRIMARY KEY, name text NOT NULL CONSTRAINT one_name UNIQUE, n int CONSTRAINT few CHECK (n < 1000000) DEFAULT 0)")
	s.file(t, "add.sql", "INSERT INTO a (name) VALUES (:name) RETURNING id")
	s.file(t, "n.sql", "UPDATE a SET n = :n")
	s.file(t, "inc.sql", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; UPDATE a SET n = (SELECT n FROM a WHERE name = 'x') + 1 WHERE name = 'x'")
	for _, c := range []struct{ file, body, want string }{
		{"add.sql", `[{"name":"x"},{"name":"y"}]`, `{"rowsAffected":2,"rows":[{"id":1},{"id":2}]}`},
		{"n.sql", `{"n":5}`, `{"rowsAffected":2}`},
	} {
		if got := must2(s.publish(t, c.file, c.body)); got != c.want {
			t.Errorf("%s %s:\ngot  %s\nwant %s", c.file, c.body, got, c.want)
		}
	}
	for _, c := range []struct {
		file, body string
		code       message.Code
		details    string
	}{
		{"add.sql", `{"name":"x"}`, message.CodeConflict, `{"constraint":"one_name"}`},
		{"add.sql", `{"name":null}`, message.CodeInvalidInput, `{"constraint":"name"}`},
		{"n.sql", `{"n":5000000}`, message.CodeInvalidInput, `{"constraint":"few"}`},
		{"n.sql", `{"n":"many"}`, message.CodeInvalidInput, ``},
	} {
		_, err := s.publish(t, c.file, c.body)
		if e := wants(t, err, c.code); string(e.Details) != c.details {
			t.Errorf("%s %s: %s", c.file, c.body, e.Details)
		}
	}
	// So is what was prepared for a table as it was before; it counts once.
	s.exec(t, "CREATE TABLE log (x int)")
	s.file(t, "log.sql", "INSERT INTO log VALUES (1); TABLE a")
	for _, change := range []string{"", "ALTER TABLE a ADD COLUMN y int"} {
		s.exec(t, change)
		for range 4 {
			if got := must2(s.publish(t, "log.sql", "{}")); !strings.HasPrefix(got, `{"rowsAffected":1,`) {
				t.Error(got)
			}
		}
	}
	if got := must2(s.run(t, "SELECT count(*) AS n FROM log", "")); got != `[{"n":8}]` {
		t.Error(got)
	}
	// Serialization conflicts are tried again, until the tries are used up.
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 4 {
		wg.Go(func() {
			for range 10 {
				_, err := s.publish(t, "inc.sql", "{}")
				if err != nil {
					if e := message.AsError(err); e.Code != message.CodeConflict || !e.Retryable {
						t.Errorf("got %v", err)
					}
					continue
				}
				mu.Lock()
				done++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got := must2(s.run(t, "SELECT n FROM a WHERE name = 'x'", "")); got != fmt.Sprintf(`[{"n":%d}]`, 5+done) || done == 0 {
		t.Errorf("got %s after %d increments", got, done)
	}
}

// TestPostgresEndless interrupts a query on the server too.
func TestPostgresEndless(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, func(s *query.Settings) { s.Timeout = duration.Duration(200 * time.Millisecond) })
	_, err := s.run(t, "SELECT 1 AS a UNION ALL SELECT pg_sleep(100)::text::int", "")
	if err == nil {
		t.Fatal("it ended")
	}
	_, err = s.run(t, "SELECT pg_sleep(100)", "")
	wants(t, err, message.CodeLimitExceeded)
	late := time.After(patience)
	for n := 1; n > 0; {
		if err := s.other.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(100)%' AND pid <> pg_backend_pid()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatal("it still runs")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestPostgresKilled kills the server under the watchers.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	server, err := dbtest.Postgres()
	dbtest.Skip(t, err)
	t.Cleanup(server.Stop)
	s := postgresAt(t, server, nil)
	s.exec(t, "CREATE TABLE a (x int)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.file(t, "w.sql", "INSERT INTO a VALUES (1)")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, `[{"n":0}]`)
	server.Kill()
	w.fails(t, message.CodeSourceDown)
	if e := message.AsError(w.fault); !e.Retryable || strings.Contains(e.Message, server.Dir) {
		t.Errorf("got %+v", e)
	}
	_, err = s.publish(t, "w.sql", "{}")
	wants(t, err, message.CodeSourceDown)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	w.until(t, `[{"n":0}]`)
	w.until(t, `[{"n":0}]`)
	if got := must2(s.publish(t, "w.sql", "{}")); got != `{"rowsAffected":1}` {
		t.Error(got)
	}
	w.until(t, `[{"n":1}]`)
	late := time.After(patience) // and by triggers again, not only by looking
	for s.installed(t) == 0 {
		select {
		case <-w.ring:
			_, _ = w.get(t)
		case <-late:
			t.Fatal("the triggers are not back")
		}
	}
	s.exec(t, "INSERT INTO a VALUES (2)")
	w.until(t, `[{"n":2}]`)
}
