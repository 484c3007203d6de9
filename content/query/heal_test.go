package query_test

import (
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// TestErrorsHeal has queries fail, for what is in the tables, from the first run
// on: what mends that wakes them.
func TestErrorsHeal(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB, func(*query.Settings)) *site{"sqlite": openSQLite, "postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(s *query.Settings) { s.Poll = duration.Duration(time.Hour); calm(s) })
			s.exec(t, "CREATE TABLE a (id INTEGER, doc TEXT)", "CREATE TABLE b (id INTEGER)", `INSERT INTO a VALUES (1, '{"x":1}'), (2, '{bad')`, "INSERT INTO b VALUES (1)")
			cast := "json_extract(doc, '$.x')"
			if name == "postgres" {
				cast = "CAST(CAST(doc AS json)->>'x' AS int)"
			}
			s.file(t, "many.sql", "-- @limit 1\nSELECT id FROM a")
			s.file(t, "bad.sql", "SELECT "+cast+" AS x FROM a WHERE EXISTS (SELECT 1 FROM b)")
			s.file(t, "mend.sql", "DELETE FROM a WHERE id = 2")
			many, bad := s.watch(t, request("many.sql", "")), s.watch(t, request("bad.sql", ""))
			many.fails(t, message.CodeLimitExceeded)
			if _, err := bad.get(t); err == nil {
				t.Fatal("the JSON is not bad")
			}
			drain(many, bad)
			if _, err := s.publish(t, "mend.sql", "{}"); err != nil {
				t.Fatal(err)
			}
			many.comes(t, `[{"id":1}]`)
			bad.comes(t, `[{"x":1}]`)
		})
	}
}

// TestLateHeals has a lock keep a query from ending in time: it is tried again,
// though nothing has changed when the lock is gone.
func TestLateHeals(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, func(s *query.Settings) {
		s.Poll, s.Timeout = duration.Duration(time.Hour), duration.Duration(500*time.Millisecond)
	})
	s.exec(t, "CREATE TABLE a (x int)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.file(t, "w.sql", "INSERT INTO a VALUES (1)")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, `[{"n":0}]`)
	tx, err := s.other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE a"); err != nil {
		t.Fatal(err)
	}
	w.changed()
	w.fails(t, message.CodeLimitExceeded)
	if e := message.AsError(w.fault); !e.Retryable || e.RetryAfter == 0 {
		t.Errorf("it is not tried again: %+v", e)
	}
	_, err = s.publish(t, "w.sql", "{}")
	if e := wants(t, err, message.CodeLimitExceeded); e.Retryable {
		t.Errorf("nobody knows what became of it: %+v", e)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	w.until(t, `[{"n":0}]`)
}

// drain takes back that something was told.
func drain(list ...*watcher) {
	for _, w := range list {
		select {
		case <-w.ring:
		default:
		}
	}
}

// comes computes only when it is told to, until that is the content.
func (w *watcher) comes(t testing.TB, want string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case <-w.ring:
		case <-late:
			t.Fatalf("%s does not come: %s %v", want, w.last, w.fault)
		}
		if _, err := w.get(t); err == nil && w.last == want {
			return
		}
	}
}
