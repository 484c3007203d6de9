package query_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// TestSeveralDatabases has a file say which database it is for: it reads and writes
// that one, and wakes only who watches it.
func TestSeveralDatabases(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, func(s *query.Settings) {
		calm(s)
		more := s.Databases["main"]
		more.File = filepath.Join(filepath.Dir(more.File), "more.db")
		s.Databases["more"], s.Default = more, "main"
	})
	for name, text := range map[string]string{
		"make.sql": "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)", "more/make.sql": "-- @database more\nCREATE TABLE t (n INTEGER); INSERT INTO t VALUES (2)",
		"n.sql": "SELECT n FROM t", "more/n.sql": "-- @database more\nSELECT n FROM t",
		"inc.sql": "-- @database main\nUPDATE t SET n = n + 10", "more/inc.sql": "-- @database more\nUPDATE t SET n = n + 10",
	} {
		if err := os.MkdirAll(filepath.Join(s.dir, filepath.Dir(name)), 0o750); err != nil {
			t.Fatal(err)
		}
		s.file(t, name, text)
	}
	for _, name := range []string{"make.sql", "more/make.sql"} {
		if _, err := s.publish(t, name, "{}"); err != nil {
			t.Fatal(err)
		}
	}
	here, there := s.watch(t, request("n.sql", "")), s.watch(t, request("more/n.sql", ""))
	here.until(t, `[{"n":1}]`)
	there.until(t, `[{"n":2}]`)
	inc := func(name string) func() {
		return func() {
			if got := must2(s.publish(t, name, "{}")); got != `{"rowsAffected":1}` {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	here.wokenBy(t, true, inc("inc.sql"))
	here.until(t, `[{"n":11}]`)
	here.wokenBy(t, false, inc("more/inc.sql"))
	there.until(t, `[{"n":12}]`)
	there.wokenBy(t, false, inc("inc.sql"))
}

// TestLockedDatabaseAlone has somebody lock one database for as long as writes wait:
// another one is written to and watched meanwhile.
func TestLockedDatabaseAlone(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, func(s *query.Settings) {
		calm(s)
		main := s.Databases["main"]
		main.Busy = duration.Duration(3 * time.Second)
		more := main
		more.File = filepath.Join(filepath.Dir(main.File), "more.db")
		s.Databases["main"], s.Databases["more"], s.Default = main, more, "main"
	})
	s.file(t, "make.sql", "CREATE TABLE t (n INTEGER)")
	s.file(t, "make2.sql", "-- @database more\nCREATE TABLE t (n INTEGER)")
	s.file(t, "add.sql", "INSERT INTO t VALUES (1)")
	s.file(t, "add2.sql", "-- @database more\nINSERT INTO t VALUES (1)")
	s.file(t, "n2.sql", "-- @database more\nSELECT count(*) AS n FROM t")
	for _, name := range []string{"make.sql", "make2.sql"} {
		if _, err := s.publish(t, name, "{}"); err != nil {
			t.Fatal(err)
		}
	}
	w := s.watch(t, request("n2.sql", ""))
	w.until(t, `[{"n":0}]`)
	lock, err := s.other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if _, err := lock.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	const many = 20
	ended := make(chan error, many)
	for range many {
		go func() {
			_, err := s.publish(t, "add.sql", "{}")
			ended <- err
		}()
	}
	for n := 1; n <= 5; n++ {
		w.wokenBy(t, true, func() {
			if got := must2(s.publish(t, "add2.sql", "{}")); got != `{"rowsAffected":1,"keys":[`+strconv.Itoa(n)+`]}` {
				t.Error(got)
			}
		})
		w.until(t, fmt.Sprintf(`[{"n":%d}]`, n))
	}
	if n := len(ended); n > 0 {
		t.Errorf("%d of those who wait have ended: the other database was not quicker", n)
	}
	if _, err := lock.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	for range many {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestSafeSettings asks SQLite how it was opened.
func TestSafeSettings(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, nil)
	s.file(t, "make.sql", "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a)")
	s.file(t, "orphan.sql", "INSERT INTO b VALUES (7)")
	if _, err := s.publish(t, "make.sql", "{}"); err != nil {
		t.Fatal(err)
	}
	const versions, wal = 18, 2 // where the header says it, and what
	head, err := os.ReadFile(filepath.Join(s.dir, "main.db"))
	if err != nil || len(head) <= versions+1 || head[versions] != wal || head[versions+1] != wal {
		t.Errorf("it has no write-ahead log: %v", err)
	}
	_, err = s.publish(t, "orphan.sql", "{}")
	wants(t, err, message.CodeConflict)
	if got := must2(s.run(t, `SELECT "no such column" AS a`, "")); got == `[{"a":"no such column"}]` {
		t.Error("a name in quotes that is none is a text")
	}
}

// TestPollOfOneQuery has a database that does not tell what others write: a file
// says how often it is asked.
func TestPollOfOneQuery(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t, func(s *query.Settings) { s.Poll = duration.Duration(time.Hour) })
	s.exec(t, "CREATE TABLE a (n int)", "INSERT INTO a VALUES (1)")
	s.file(t, "often.sql", "-- @poll 100ms\nSELECT n FROM a")
	s.file(t, "rarely.sql", "SELECT n FROM a")
	often, rarely := s.watch(t, request("often.sql", "")), s.watch(t, request("rarely.sql", ""))
	often.until(t, `[{"n":1}]`)
	rarely.until(t, `[{"n":1}]`)
	told := rarely.told.Load()
	s.exec(t, "UPDATE a SET n = 2")
	often.until(t, `[{"n":2}]`)
	if rarely.told.Load() != told {
		t.Error("the other one is asked as often")
	}
}
