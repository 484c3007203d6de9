package query_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func people(t *testing.T, edit func(*query.Settings)) *site {
	t.Helper()
	s := openSQLite(t, edit)
	s.exec(t, `CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dept TEXT, salary NUMERIC,
		active BOOLEAN DEFAULT 1, born DATE, seen DATETIME, doc JSON, photo BLOB, CHECK (salary >= 0))`,
		`INSERT INTO people VALUES (1, 'Anna', 'Food', 99.5, 1, '1990-02-03', '2026-01-02 03:04:05', '{"a": [1, 2]}', x'00ff'),
		(2, 'Bert', 'Food', 9007199254740993, 0, NULL, '2026-01-02T03:04:05.5+02:00', 'no json', NULL),
		(3, 'Cleo "C"', NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	return s
}

func TestResults(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	for _, c := range []struct{ sql, params, want string }{
		{"SELECT * FROM people WHERE id = 1", "", `[{"id":1,"name":"Anna","dept":"Food","salary":99.5,"active":true,"born":"1990-02-03",` +
			`"seen":"2026-01-02T03:04:05Z","doc":{"a":[1,2]},"photo":"AP8="}]`},
		{"SELECT salary, active, seen, doc FROM people WHERE id = 2;", "", `[{"salary":9007199254740993,"active":false,"seen":"2026-01-02T03:04:05.5+02:00","doc":"no json"}]`},
		{"SELECT name, dept, salary, active, born, doc, photo FROM people WHERE id = 3 -- the end", "",
			`[{"name":"Cleo \"C\"","dept":null,"salary":null,"active":null,"born":null,"doc":null,"photo":null}]`},
		{"SELECT id FROM people WHERE dept = :dept ORDER BY id", `{"dept":"Food","unused":{"x":1}}`, `[{"id":1},{"id":2}]`},
		{"SELECT id FROM people WHERE id = :id", `{"id":9223372036854775807}`, `[]`},
		{"SELECT :n AS n, :n + 1 AS m", `{"n":9223372036854775806}`, `[{"n":9223372036854775806,"m":9223372036854775807}]`},
		{"SELECT :a AS a, :b AS b, :c AS c, :d AS d", `{"a":1.5,"b":true,"c":null,"d":[1,"x"]}`, `[{"a":1.5,"b":1,"c":null,"d":"[1,\"x\"]"}]`},
		{"-- @column b boolean\n-- @column d json\nSELECT :b AS b, :d AS d", `{"b":true,"d":[1, "x"]}`, `[{"b":true,"d":[1,"x"]}]`},
		{"SELECT value FROM json_each(:ids)", `{"ids":[3,4]}`, `[{"value":3},{"value":4}]`},
		{"-- @one\nSELECT id FROM people ORDER BY id", "", `{"id":1}`},
		{"-- @one\nSELECT id FROM people WHERE 0", "", `null`},
		{"-- @param d string = \"Food\"\nSELECT count(*) AS n FROM people WHERE dept = :d", "", `[{"n":2}]`},
		{"-- @param d date\nSELECT :d AS d", `{"d":"2026-01-02T05:04:05+02:00"}`, `[{"d":"2026-01-02 03:04:05"}]`},
		{"-- @identifier col in (id, name) = id\n-- @identifier dir in (asc, desc)\nSELECT id FROM people ORDER BY ::col", "", `[{"id":1},{"id":2},{"id":3}]`},
		{"-- @identifier col in (id, name)\nSELECT ::col FROM people ORDER BY ::col DESC", `{"col":"name"}`, `[{"name":"Cleo \"C\""},{"name":"Bert"},{"name":"Anna"}]`},
		{"SELECT id FROM people ORDER BY id", `{"$limit":1,"$offset":1}`, `[{"id":2}]`},
		{"SELECT id FROM people ORDER BY id LIMIT 2", `{"$limit":1,"$offset":1}`, `[{"id":2}]`},
		{"VALUES (1), (2)", `{"$limit":1}`, `[{"column1":1}]`},
		{"WITH q AS (SELECT id FROM people) SELECT max(id) AS m FROM q /* : ; */", "", `[{"m":3}]`},
		{"SELECT ':x' AS a, \"id\" AS \":y\", [id] AS `:z` FROM people WHERE id = 1 -- :u ?", "", `[{"a":":x",":y":1,":z":1}]`},
		{"-- @key id\nSELECT id, name, photo FROM people ORDER BY id", `{"$columns":true,"$total":true,"$limit":1}`,
			`{"columns":[{"name":"id","type":"integer"},{"name":"name","type":"string"},{"name":"photo","type":""}],"key":["id"],` +
				`"rows":[{"id":1,"name":"Anna","photo":"AP8="}],"total":3}`},
		{"-- @column f string\n-- @column n string\nSELECT 0.1 AS f, 12 AS n, NULL AS x", "", `[{"f":"0.1","n":"12","x":null}]`},
		{"SELECT 1e999 AS inf, 0.1 AS f, 1e300 AS g, x'' AS b, '' AS s", "", `[{"inf":null,"f":0.1,"g":1e+300,"b":"","s":""}]`},
	} {
		got, err := s.run(t, c.sql, c.params)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
		} else if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.sql, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := people(t, func(s *query.Settings) { s.Rows, s.Size = 2000, 100_000 })
	for _, c := range []struct {
		sql, params string
		code        message.Code
		says        string
	}{
		{"SELECT :a + :b + :c", `{"b":1}`, message.CodeInvalidInput, "a, c"},
		{"-- @param a integer\nSELECT :a", `{"a":"1"}`, message.CodeInvalidInput, "whole number"},
		{"-- @param a integer\nSELECT :a", `{"a":9223372036854775808}`, message.CodeInvalidInput, "64 bits"},
		{"-- @param a date\nSELECT :a", `{"a":"yesterday"}`, message.CodeInvalidInput, "date"},
		{"-- @param a boolean\nSELECT :a", `{"a":1}`, message.CodeInvalidInput, "true or false"},
		{"-- @identifier c in (id)\nSELECT ::c FROM people", `{"c":"name"}`, message.CodeInvalidInput, "c is"},
		{"-- @identifier c in (id)\nSELECT ::c FROM people", `{"c":["id"]}`, message.CodeInvalidInput, "c is"},
		{"-- @identifier c in (id)\nSELECT ::c FROM people", "", message.CodeInvalidInput, "missing"},
		{"-- @limit 2\nSELECT id FROM people", `{"$limit":3}`, message.CodeLimitExceeded, "more than 2 rows"},
		{"SELECT 1", `{"$limit":0}`, message.CodeInvalidInput, "$limit"},
		{"SELECT 1", `{"$limit":-1}`, message.CodeInvalidInput, "$limit"},
		{"SELECT 1", `{"$offset":"x"}`, message.CodeInvalidInput, "$offset"},
		{"SELECT 1", `{"$x":1}`, message.CodeInvalidInput, "$x"},
		{"SELEC 1", "", message.CodeBadContent, "line 1: this is no query: it does not begin with SELECT"},
		{"SELECT id,\n  nope FROM people", "", message.CodeBadContent, "line 2, column 3"},
		{"SELECT :a AS a,\n  nope FROM people", `{"a":1}`, message.CodeBadContent, "line 2, column 3"},
		{"SELECT * FROM nowhere", "", message.CodeBadContent, "nowhere"},
		{"SELECT 1 AS a, 2 AS a", "", message.CodeBadContent, "two columns"},
		{"SELECT 1; SELECT 2", "", message.CodeBadContent, "one statement"},
		{"-- nothing", "", message.CodeBadContent, "no statement"},
		{"SELECT 'x", "", message.CodeBadContent, "line 1, column 8"},
		{"SELECT ?", "", message.CodeBadContent, "line 1"},
		{"SELECT $x", "", message.CodeBadContent, "line 1"},
		{"SELECT ::x", "", message.CodeBadContent, "declared"},
		{"-- @nope\nSELECT 1", "", message.CodeBadContent, "line 1, column 4"},
		{"-- @database nowhere\nSELECT 1", "", message.CodeBadContent, "nowhere"},
		{"DELETE FROM people", "", message.CodeBadContent, "writes"},
		{"WITH q AS (SELECT 1) DELETE FROM people", "", message.CodeBadContent, "writes"},
		{"INSERT INTO people (name) VALUES ('x') RETURNING id", "", message.CodeBadContent, "writes"},
		{"REPLACE INTO people (name) VALUES ('x')", "", message.CodeBadContent, "writes"},
		{"CREATE TEMP TABLE x (a)", "", message.CodeBadContent, "writes"},
		{"ATTACH 'x.db' AS y", "", message.CodeBadContent, "no query"},
		{"SELECT load_extension('x')", "", message.CodeBadContent, "load_extension"},
		{"PRAGMA journal_mode = DELETE", "", message.CodeBadContent, "PRAGMA"},
		{"PRAGMA query_only = 0", "", message.CodeBadContent, "PRAGMA"},
		{"PRAGMA database_list", "", message.CodeBadContent, "PRAGMA"},
		{"VACUUM INTO 'x.db'", "", message.CodeBadContent, "writes"},
		{"BEGIN", "", message.CodeBadContent, "no query"},
		{"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", "", message.CodeLimitExceeded, "2000 rows"},
		{"-- @limit 2\nSELECT * FROM people", "", message.CodeLimitExceeded, "2 rows"},
		{"SELECT hex(zeroblob(60000)) AS a", "", message.CodeLimitExceeded, "bytes"},
		{"SELECT zeroblob(1000000000) AS a", "", message.CodeLimitExceeded, "large"},
	} {
		got, err := s.run(t, c.sql, c.params)
		if err == nil {
			t.Errorf("%s: got %s", c.sql, got)
			continue
		}
		e := message.AsError(err)
		if e.Code != c.code || !strings.Contains(e.Message, c.says) || strings.Contains(e.Message, s.dir) || e.Hint == "" {
			t.Errorf("%s: got %v %q %q, want %s, %s and a hint", c.sql, err, e.Message, e.Hint, c.code, c.says)
		}
	}
	if got := must2(s.run(t, "SELECT count(*) AS n FROM people", "")); got != `[{"n":3}]` {
		t.Errorf("something was written: %s", got)
	}
}

func must2(got string, err error) string {
	if err != nil {
		return err.Error()
	}
	return got
}

// TestEndless interrupts queries that would run for ever: before the first row,
// between two rows, with an order of their own and in a publish.
func TestEndless(t *testing.T) {
	t.Parallel()
	s := people(t, func(s *query.Settings) {
		s.Timeout = duration.Duration(100 * time.Millisecond)
		d := s.Databases["main"]
		d.MaxOpen = 1
		s.Databases["main"] = d
	})
	endless := "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c)"
	for _, sql := range []string{
		"SELECT " + endless,
		"SELECT 1 UNION ALL SELECT " + endless,
		"SELECT id, CASE WHEN id > 1 THEN " + endless + " END AS n FROM people",
	} {
		begin := time.Now()
		_, err := s.run(t, sql, "")
		e := wants(t, err, message.CodeLimitExceeded)
		if !strings.Contains(e.Message, "longer") || time.Since(begin) > 20*time.Second {
			t.Errorf("%s: %v after %v", sql, err, time.Since(begin))
		}
		if got := must2(s.run(t, "-- @timeout 20s\nSELECT 1 AS a", "")); got != `[{"a":1}]` {
			t.Errorf("after it: %s", got)
		}
	}
	s.file(t, "w.sql", "UPDATE people SET dept = 'X';\nUPDATE people SET salary = "+endless)
	_, err := s.publish(t, "w.sql", "{}")
	wants(t, err, message.CodeLimitExceeded)
	if got := must2(s.run(t, "-- @timeout 20s\nSELECT count(*) AS n FROM people WHERE dept = 'X'", "")); got != `[{"n":0}]` {
		t.Errorf("half of it was written: %s", got)
	}
	s.file(t, "ok.sql", "-- @timeout 20s\nUPDATE people SET dept = 'Y'")
	if got := must2(s.publish(t, "ok.sql", "{}")); got != `{"rowsAffected":3}` {
		t.Errorf("after it: %s", got)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "mine.sql", "SELECT id FROM people WHERE dept = :claims.dept AND :claims.sub = 'anna' AND id < :max")
	open := func(ses *session.Session, params string) (key, got string) {
		r := request("mine.sql", params)
		r.Session = ses
		res, err := s.Open(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		c, err := res.Get(t.Context())
		return res.Key(), must(t, string(c.Body), err)
	}
	anna := session.New("anna", session.Claims{"lang": "de"}, session.Claims{"dept": "Food", "sub": "bert"})
	anna2 := session.New("anna", session.Claims{"lang": "en"}, session.Claims{"dept": "Food"})
	k1, got := open(anna, `{"max":2,"claims.dept":"X"}`)
	if got != `[{"id":1}]` {
		t.Errorf("got %s", got)
	}
	k2, _ := open(anna2, `{"max":2,"other":1}`)
	k3, got := open(session.Anonymous(), `{"claims.dept":"Food","claims.sub":"anna","max":2}`)
	if got != "[]" {
		t.Errorf("a param passes for a claim: %s", got)
	}
	k4, _ := open(session.New("anna", nil, session.Claims{"dept": "Tools"}), `{"max":2}`)
	if k1 != k2 || k1 == k3 || k1 == k4 || k3 == k4 {
		t.Errorf("the keys are\n%q\n%q\n%q\n%q", k1, k2, k3, k4)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "add.sql", "INSERT INTO people (name, dept) VALUES (:name, :claims.dept)")
	s.file(t, "back.sql", "UPDATE people SET dept = :dept WHERE id = :id RETURNING id, dept, active")
	s.file(t, "two.sql", "UPDATE people SET dept = 'T' WHERE id = 1;\nINSERT INTO people (id, name) VALUES (:id, 'Dora')")
	s.file(t, "read.sql", "SELECT id FROM people ORDER BY id")
	s.file(t, "schema.sql", "CREATE TABLE log (id INTEGER PRIMARY KEY, t TEXT); CREATE TRIGGER tr AFTER UPDATE ON people BEGIN INSERT INTO log (t) VALUES (CASE WHEN new.dept = 'T' THEN 'a;' ELSE 'b' END); END; SELECT 1 AS a")
	for _, c := range []struct{ file, body, want string }{
		{"add.sql", `{"name":"Dora"}`, `{"rowsAffected":1,"keys":[4]}`},
		{"add.sql", `[{"name":"Emil"},{"name":"Fred"}]`, `{"rowsAffected":2,"keys":[5,6]}`},
		{"add.sql", `[]`, `{"rowsAffected":0}`},
		{"back.sql", `[{"id":1,"dept":"A"},{"id":2,"dept":"B"},{"id":77,"dept":"C"}]`,
			`{"rowsAffected":2,"rows":[{"id":1,"dept":"A","active":true},{"id":2,"dept":"B","active":false}]}`},
		{"read.sql", `{}`, `{"rowsAffected":0,"rows":[{"id":1},{"id":2},{"id":3},{"id":4},{"id":5},{"id":6}]}`},
		{"schema.sql", `null`, `{"rowsAffected":0,"rows":[{"a":1}]}`},
		{"back.sql", `{"id":1,"dept":"T"}`, `{"rowsAffected":1,"rows":[{"id":1,"dept":"T","active":true}]}`},
	} {
		if got := must2(s.publish(t, c.file, c.body)); got != c.want {
			t.Errorf("%s %s:\ngot  %s\nwant %s", c.file, c.body, got, c.want)
		}
	}
	if got := must2(s.run(t, "SELECT t FROM log", "")); got != `[{"t":"a;"}]` {
		t.Errorf("got %s", got)
	}
	for _, c := range []struct {
		file, body string
		code       message.Code
		details    string
	}{
		{"add.sql", `{"name":"Anna"}`, message.CodeConflict, `{"constraint":"people.name"}`},
		{"add.sql", `{"name":null}`, message.CodeInvalidInput, `{"constraint":"people.name"}`},
		{"add.sql", `[{"name":"Gerd"},{"name":"Anna"}]`, message.CodeConflict, `{"constraint":"people.name"}`},
		{"add.sql", `{}`, message.CodeInvalidInput, ``},
		{"add.sql", `7`, message.CodeInvalidInput, ``},
		{"add.sql", `[7]`, message.CodeInvalidInput, ``},
		{"two.sql", `{"id":1}`, message.CodeConflict, `{"constraint":"people.id"}`},
		{"nope.sql", `{}`, message.CodeNotFound, ``},
	} {
		_, err := s.publish(t, c.file, c.body)
		if e := wants(t, err, c.code); string(e.Details) != c.details {
			t.Errorf("%s %s: %s", c.file, c.body, e.Details)
		}
	}
	if got := must2(s.run(t, "SELECT count(*) AS n FROM people WHERE name = 'Gerd' OR id = 1 AND dept <> 'T'", "")); got != `[{"n":0}]` {
		t.Errorf("half of it was written: %s", got)
	}
	for _, sql := range []string{"COMMIT; SELECT 1", "PRAGMA foreign_keys = 0", "ATTACH 'x' AS y", "VACUUM", "SAVEPOINT x"} {
		s.file(t, "bad.sql", sql)
		_, err := s.publish(t, "bad.sql", "{}")
		wants(t, err, message.CodeBadContent)
	}
}

// TestKeysOfNewRows asks for keys where no row got one: SQLite itself would tell
// that of a row before.
func TestKeysOfNewRows(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.exec(t, "CREATE TABLE bare (id TEXT PRIMARY KEY) WITHOUT ROWID", "CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT UNIQUE, n INTEGER)",
		"INSERT INTO word VALUES (77, 'old', 1)", "CREATE VIRTUAL TABLE docs USING fts5(text)", "CREATE VIEW words AS SELECT w FROM word",
		"CREATE TRIGGER tr INSTEAD OF INSERT ON words BEGIN INSERT INTO word (w) VALUES (new.w); END")
	for i, c := range []struct{ sql, want string }{
		{"INSERT INTO people (name) VALUES ('Dora')", `{"rowsAffected":1,"keys":[4]}`},
		{"INSERT INTO bare VALUES ('x')", `{"rowsAffected":1}`},
		{"INSERT INTO word (w, n) VALUES ('old', 1) ON CONFLICT DO UPDATE SET n = n + 1", `{"rowsAffected":1}`},
		{"INSERT INTO word (w, n) VALUES ('new', 1) ON CONFLICT DO UPDATE SET n = n + 1", `{"rowsAffected":1,"keys":[78]}`},
		{"REPLACE INTO word VALUES (5, 'new', 2)", `{"rowsAffected":1,"keys":[5]}`},
		{"INSERT INTO docs VALUES ('hello')", `{"rowsAffected":1,"keys":[1]}`},
		{"INSERT INTO people (name) VALUES ('Emil'); INSERT INTO word (n) VALUES (last_insert_rowid()) RETURNING n", `{"rowsAffected":2,"keys":[5,78],"rows":[{"n":5}]}`},
		{"UPDATE docs SET text = 'you'", `{"rowsAffected":1}`},
	} {
		name := fmt.Sprintf("keys%d.sql", i)
		s.file(t, name, c.sql)
		if got := must2(s.publish(t, name, "{}")); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.sql, got, c.want)
		}
	}
	s.file(t, "view.sql", "INSERT INTO words VALUES ('seen')")
	if got := must2(s.publish(t, "view.sql", "{}")); strings.Contains(got, "keys") {
		t.Error(got)
	}
}

func TestKeyTellsWhatMatters(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "a.sql", "SELECT :x AS x")
	key := func(params string) string {
		r, err := s.Open(t.Context(), request("a.sql", params))
		if err != nil {
			t.Fatal(err)
		}
		return r.Key()
	}
	if key(`{"x":1}`) != key(`{"a":5,"x":1}`) || key(`{"x":1}`) == key(`{"x":2}`) || key(`{"x":1}`) == key(`{"$limit":1,"x":1}`) {
		t.Error("the key is not made of what is used")
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	db := func(d query.Database) map[string]query.Database { return map[string]query.Database{"main": d} }
	for field, s := range map[string]query.Settings{
		"rows":                   {Rows: -1},
		"size":                   {Size: -1},
		"elements":               {Elements: -1},
		"poll":                   {Poll: 1},
		"applications":           {Applications: map[string]string{"a/b": "x"}},
		"applications.a":         {Applications: map[string]string{"a": ""}},
		"databases":              {Databases: map[string]query.Database{"..": {File: "x"}}},
		"databases.main.driver":  {Databases: db(query.Database{Driver: "oracle"})},
		"databases.main.file":    {Databases: db(query.Database{})},
		"databases.main.url":     {Databases: db(query.Database{File: "x", URL: "y"})},
		"databases.main.maxOpen": {Databases: db(query.Database{File: "x", MaxOpen: -1})},
		"default":                {Databases: db(query.Database{File: "x"}), Default: "other"},
	} {
		_, err := query.New(s, nil)
		e := message.AsError(err) // of who starts the program: the message says it all
		if e == nil || e.Code != message.CodeInvalidInput || e.Path != field || !strings.HasPrefix(e.Message, field+": ") {
			t.Errorf("%s: %+v", field, e)
		}
	}
	var s query.Settings
	text := `{"applications":{"app":"x"},"databases":{"main":{"file":"a.db","busy":"1s"}},"timeout":"2s"}`
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Check() != nil {
		t.Error(err, s.Check())
	}
}

func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	first := people(t, nil)
	s := openSQLite(t, func(s *query.Settings) {
		d := s.Databases["main"]
		d.File, d.ReadOnly = first.dir+"/main.db", true
		s.Databases["main"] = d
	})
	if got := must2(s.run(t, "SELECT count(*) AS n FROM people", "")); got != `[{"n":3}]` {
		t.Errorf("got %s", got)
	}
	s.file(t, "w.sql", "DELETE FROM people")
	_, err := s.publish(t, "w.sql", "{}")
	wants(t, err, message.CodeForbidden)
	if got := must2(s.get(t, request("none.sql", ""))); !strings.HasPrefix(got, "not_found") {
		t.Error(got)
	}
}
