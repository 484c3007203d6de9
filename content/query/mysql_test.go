package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/dbtest"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

var mariadb = dbtest.Share(dbtest.MariaDB)

// openMariaDB starts a site with an empty database of the shared server.
func openMariaDB(t testing.TB, edit func(*query.Settings)) *site {
	t.Helper()
	return mariadbAt(t, mariadb.Get(t), edit)
}

func mariadbAt(t testing.TB, server *dbtest.Server, edit func(*query.Settings)) *site {
	t.Helper()
	name := "t" + session.NewID()
	dsn := "root@unix(" + server.Socket() + ")/"
	admin := start(t, query.Settings{}, t.TempDir(), "mysql", dsn)
	admin.exec(t, "CREATE DATABASE "+name)
	dir := t.TempDir()
	s := query.Settings{
		Applications: map[string]string{"app": dir}, Poll: duration.Duration(100 * time.Millisecond),
		Databases: map[string]query.Database{"main": {Driver: "mysql", URL: server.MySQLURL(name)}},
	}
	if edit != nil {
		edit(&s)
	}
	return start(t, s, dir, "mysql", dsn+name)
}

func TestConformanceMariaDB(t *testing.T) {
	t.Parallel()
	mariadb.Get(t)
	features := contenttest.Features{Missing: true, Params: true, Publish: true, Invalidations: 5}
	contenttest.Run(t, features, func(t *testing.T) contenttest.Env {
		t.Helper()
		return openMariaDB(t, nil).env(t)
	})
}

func TestMariaDBResults(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t, nil)
	s.exec(t, "CREATE TABLE p (id bigint unsigned PRIMARY KEY, name varchar(50), salary decimal(30,3), f double, ok boolean, born date, at datetime(3), ts timestamp NULL, doc json, photo blob, e enum('a','b'))",
		`INSERT INTO p VALUES (18446744073709551615, 'A "x"', 12345678901234567890.123, 0.1, true, '1990-02-03', '2026-01-02 03:04:05.5', '2026-01-02 03:04:05', '{"a": [1, 2]}', x'00ff', 'b')`,
		"INSERT INTO p (id) VALUES (2)")
	for _, c := range []struct{ sql, params, want string }{
		{"-- @column ok boolean\n-- @column doc json\nSELECT * FROM p WHERE id > 2", "", `[{"id":18446744073709551615,"name":"A \"x\"","salary":12345678901234567890.123,` +
			`"f":0.1,"ok":true,"born":"1990-02-03","at":"2026-01-02T03:04:05.500","ts":"2026-01-02T03:04:05Z","doc":{"a":[1,2]},"photo":"AP8=","e":"b"}]`},
		{"SELECT name, salary, photo FROM p WHERE id = :id", `{"id":2}`, `[{"name":null,"salary":null,"photo":null}]`},
		{"SELECT id, f FROM p WHERE id > :id", `{"id":2}`, `[{"id":18446744073709551615,"f":0.1}]`},
		{"-- @param at date\nSELECT count(*) AS n FROM p WHERE at < :at", `{"at":"2027-01-01T00:00:00Z"}`, `[{"n":1}]`},
		{"SELECT ':x' AS a, 'it\\'s :y' AS b, 5--3 AS c, @v AS d # :z\n", "", `[{"a":":x","b":"it's :y","c":8,"d":null}]`},
		{"SELECT id FROM p ORDER BY id", `{"$limit":1,"$offset":1,"$total":true}`, `{"rows":[{"id":18446744073709551615}],"total":2}`},
		{"-- @identifier c in (id, name)\nSELECT ::c FROM p ORDER BY ::c", `{"c":"id","$limit":1}`, `[{"id":2}]`},
	} {
		if got := must2(s.run(t, c.sql, c.params)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.sql, got, c.want)
		}
	}
	for sql, says := range map[string]string{
		"SELECT 1,\n  2 +": "bad_content: line 2", "SELECT nope FROM p": "bad_content: Unknown column 'nope'", "SELECT * FROM nowhere": "bad_content",
		"SELECT 1 INTO OUTFILE '/tmp/x'": "bad_content", "DELETE FROM p": "bad_content", "SELECT 1; DROP TABLE p": "bad_content",
		"CALL x()": "bad_content", "SELECT 1 AS a, 2 AS a": "bad_content: two columns",
	} {
		if got := must2(s.run(t, sql, "")); !strings.HasPrefix(got, says) {
			t.Errorf("%s: got %s, want %s", sql, got, says)
		}
	}
}

func TestMariaDBPublish(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t, func(s *query.Settings) { s.Poll = duration.Duration(time.Hour) })
	s.exec(t, "CREATE TABLE a (id int AUTO_INCREMENT PRIMARY KEY, name varchar(20) NOT NULL, n int DEFAULT 0, UNIQUE KEY one_name (name), CONSTRAINT few CHECK (n < 10))")
	s.file(t, "add.sql", "INSERT INTO a (name) VALUES (:name)")
	s.file(t, "back.sql", "INSERT INTO a (name) VALUES (:name) RETURNING id, name")
	s.file(t, "n.sql", "UPDATE a SET n = :n; UPDATE a SET n = n + 1 WHERE name = 'x'")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, `[{"n":0}]`)
	w.wokenBy(t, true, func() {
		if got := must2(s.publish(t, "add.sql", `[{"name":"x"},{"name":"y"}]`)); got != `{"rowsAffected":2,"keys":[1,2]}` {
			t.Error(got)
		}
	})
	w.until(t, `[{"n":2}]`)
	for _, c := range []struct{ file, body, want string }{
		{"back.sql", `{"name":"z"}`, `{"rowsAffected":1,"rows":[{"id":3,"name":"z"}]}`},
		{"n.sql", `{"n":5}`, `{"rowsAffected":4}`},
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
		{"n.sql", `{"n":9}`, message.CodeInvalidInput, `{"constraint":"few"}`},
		{"n.sql", `{"n":"many"}`, message.CodeInvalidInput, ``},
	} {
		_, err := s.publish(t, c.file, c.body)
		if e := wants(t, err, c.code); string(e.Details) != c.details {
			t.Errorf("%s %s: %s", c.file, c.body, e.Details)
		}
	}
	if got := must2(s.run(t, "SELECT n FROM a ORDER BY id", "")); got != `[{"n":6},{"n":5},{"n":5}]` {
		t.Errorf("half of it was written: %s", got)
	}
}

func TestMariaDBEndless(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t, func(s *query.Settings) { s.Timeout = duration.Duration(200 * time.Millisecond) })
	_, err := s.run(t, "SELECT SLEEP(100) AS a", "")
	wants(t, err, message.CodeLimitExceeded)
	late := time.After(patience)
	for n := 1; n > 0; {
		if err := s.other.QueryRowContext(t.Context(), "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(100)%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatal("it still runs")
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.file(t, "w.sql", "DO SLEEP(100)")
	_, err = s.publish(t, "w.sql", "{}")
	wants(t, err, message.CodeLimitExceeded)
}

func TestMariaDBKilled(t *testing.T) {
	t.Parallel()
	server, err := dbtest.MariaDB()
	dbtest.Skip(t, err)
	t.Cleanup(server.Stop)
	s := mariadbAt(t, server, nil)
	s.exec(t, "CREATE TABLE a (x int)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, `[{"n":0}]`)
	s.exec(t, "INSERT INTO a VALUES (1)")
	w.until(t, `[{"n":1}]`)
	server.Kill()
	w.fails(t, message.CodeSourceDown)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	w.until(t, `[{"n":1}]`)
}
