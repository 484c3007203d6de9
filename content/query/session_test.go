package query_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query"
)

// one has all queries use one connection.
func one(s *query.Settings) {
	db := s.Databases["main"]
	db.MaxOpen = 1
	s.Databases["main"] = db
}

// TestSQLiteSessionsStartAnew makes what only the connection that writes would see.
func TestSQLiteSessionsStartAnew(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "add.sql", "INSERT INTO people (name) VALUES (:name)")
	s.file(t, "read.sql", "SELECT count(*) AS n FROM people")
	for i, leave := range []string{
		"CREATE TEMP TABLE people (id INTEGER PRIMARY KEY, name TEXT)", "CREATE TEMP VIEW people AS SELECT 1 AS name",
		"CREATE TEMP TRIGGER tr AFTER INSERT ON people BEGIN DELETE FROM people; END",
	} {
		s.file(t, "leave.sql", leave)
		s.file(t, "see.sql", "SELECT count(*) AS n FROM sqlite_temp_schema")
		if got := must2(s.publish(t, "leave.sql", "{}")); !strings.HasPrefix(got, "{") {
			t.Fatal(got)
		}
		if got := must2(s.publish(t, "see.sql", "{}")); got != `{"rowsAffected":0,"rows":[{"n":0}]}` {
			t.Errorf("after %s: %s", leave, got)
		}
		if got := must2(s.publish(t, "add.sql", fmt.Sprintf(`{"name":"%d"}`, i))); got != fmt.Sprintf(`{"rowsAffected":1,"keys":[%d]}`, 4+i) {
			t.Errorf("after %s: %s", leave, got)
		}
		if got := must2(s.get(t, request("read.sql", ""))); got != fmt.Sprintf(`[{"n":%d}]`, 4+i) {
			t.Errorf("after %s: %s", leave, got)
		}
	}
}

// TestPostgresSessionsStartAnew leaves something behind in a session.
func TestPostgresSessionsStartAnew(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, one)
	s.file(t, "set.sql", "SET ropewalk.x = 'left'; SET TimeZone = 'Asia/Tokyo'; CREATE TEMP TABLE mine (x int); SELECT pg_advisory_lock(7)")
	s.file(t, "see.sql", "SELECT coalesce(current_setting('ropewalk.x', true), '') AS x, to_regclass('mine') AS y, current_setting('TimeZone') AS z")
	for range 8 { // more than there are connections
		if got := must2(s.publish(t, "set.sql", "{}")); !strings.HasPrefix(got, "{") {
			t.Fatal(got)
		}
		if got := must2(s.publish(t, "see.sql", "{}")); got != `{"rowsAffected":0,"rows":[{"x":"","y":null,"z":"UTC"}]}` {
			t.Fatal(got)
		}
	}
	for _, leave := range []string{
		"SELECT set_config('ropewalk.x', 'left', false) AS x", "SELECT pg_advisory_lock(8)::text AS x",
		"SELECT set_config('ropewalk.x', pg_advisory_lock(8)::text, false) AS x, 1 / 0 AS y",
	} {
		_, _ = s.run(t, leave, "")
		got := must2(s.run(t, "SELECT coalesce(current_setting('ropewalk.x', true), '') AS x", ""))
		if got != `[{"x":""}]` {
			t.Errorf("after %s: %s", leave, got)
		}
	}
	s.eventually(t, func() bool {
		var locks int
		err := s.other.QueryRowContext(t.Context(),
			"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid IN (7, 8) AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&locks)
		return err == nil && locks == 0
	})
	s.file(t, "prepare.sql", "PREPARE p AS SELECT 1")
	if got := must2(s.publish(t, "prepare.sql", "{}")); !strings.HasPrefix(got, "bad_content") {
		t.Error(got)
	}
}

// TestMariaDBSessionsStartAnew is the same for MariaDB.
func TestMariaDBSessionsStartAnew(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t, one)
	lock := s.dir // locks are of the whole server
	for _, leave := range []string{
		"SELECT @x := 'left' AS x", "SELECT @x := 'left' AS x, exp(100000)", "SELECT GET_LOCK(md5(:name), 0) AS x",
	} {
		_, _ = s.run(t, leave, `{"name":"`+lock+`"}`)
		if got := must2(s.run(t, "SELECT @x AS x", "")); got != `[{"x":null}]` {
			t.Errorf("after %s: %s", leave, got)
		}
	}
	s.eventually(t, func() bool {
		return must2(s.run(t, "SELECT IS_FREE_LOCK(md5(:name)) AS l", `{"name":"`+lock+`"}`)) == `[{"l":1}]`
	})
	s.file(t, "set.sql", "SET SESSION sql_select_limit = 1, @x = 'left'; CREATE TEMPORARY TABLE mine (x int)")
	s.file(t, "see.sql", "SELECT 1 AS x UNION SELECT 2")
	for range 8 {
		if got := must2(s.publish(t, "set.sql", "{}")); !strings.HasPrefix(got, "{") {
			t.Fatal(got)
		}
		if got := must2(s.publish(t, "see.sql", "{}")); got != `{"rowsAffected":0,"rows":[{"x":1},{"x":2}]}` {
			t.Fatal(got)
		}
	}
	if got := must2(s.run(t, "(SELECT 1 INTO @x)", "")); !strings.HasPrefix(got, "bad_content: line 1: this is no query") {
		t.Error(got)
	}
}

// TestMariaDBCountsWhatItWrites has words in texts that mean something outside.
func TestMariaDBCountsWhatItWrites(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t, nil)
	s.exec(t, "CREATE TABLE a (x varchar(20))")
	for _, c := range []struct{ text, want string }{
		{"INSERT INTO a VALUES ('returning')", `{"rowsAffected":1}`},
		{"INSERT INTO a VALUES ('a'), ('b') RETURNING x", `{"rowsAffected":2,"rows":[{"x":"a"},{"x":"b"}]}`},
		{"SELECT 'returning' AS x", `{"rowsAffected":0,"rows":[{"x":"returning"}]}`},
		{"/*! DROP TABLE a */", "bad_content: line 1, column 1"},
		{"SELECT 1 /*!50000 INTO OUTFILE '/tmp/x' */", "bad_content: line 1, column 10"},
		{"SELECT 1 /*M!100100 + 1 */ AS x", "bad_content: line 1, column 10"},
		{"SELECT '/*! no comment */' AS x /* but this is */ -- /*! too", `{"rowsAffected":0,"rows":[{"x":"/*! no comment */"}]}`},
	} {
		s.file(t, "w.sql", c.text)
		if got := must2(s.publish(t, "w.sql", "{}")); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.text, got, c.want)
		}
	}
}

// eventually waits for a condition.
func (s *site) eventually(t *testing.T, holds func() bool) {
	t.Helper()
	late := time.After(patience)
	for !holds() {
		select {
		case <-late:
			t.Fatal("it does not become true")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
