package query_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// TestDB uses databases as a script does.
func TestDB(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB, func(*query.Settings)) *site{"sqlite": openSQLite, "postgres": openPostgres, "mariadb": openMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, nil)
			s.exec(t, "CREATE TABLE a (id INTEGER PRIMARY KEY, x INTEGER)")
			db, err := s.DB("")
			if err != nil {
				t.Fatal(err)
			}
			ring := make(chan struct{}, 100)
			w := db.Watch(func() { ring <- struct{}{} })
			defer w.Stop()
			ses := session.New("anna", nil, session.Claims{"n": 7})
			rows, reads, err := db.Query(t.Context(), "SELECT x FROM a WHERE x = :claims.n", nil, ses, true)
			if err != nil || string(rows) != "[]" || len(reads.Tables) == 0 && !reads.Blind {
				t.Fatalf("%v: %s, %+v", err, rows, reads)
			}
			w.Set(reads)
			r, err := db.Exec(t.Context(), "INSERT INTO a VALUES (:id, :claims.n)", json.RawMessage(`{"id":1,"claims.n":8}`), ses)
			if err != nil || r.Affected != 1 {
				t.Fatalf("%v: %+v", err, r)
			}
			<-ring
			rows, _, err = db.Query(t.Context(), "SELECT x FROM a WHERE x = :claims.n", nil, ses, false)
			if err != nil || string(rows) != `[{"x":7}]` {
				t.Errorf("%v: %s", err, rows)
			}
			mine := errors.New("mine")
			err = db.Transaction(t.Context(), ses, func(tx *query.Tx) error {
				if _, err := tx.Run(t.Context(), "DELETE FROM a", nil); err != nil {
					return err
				}
				r, err := tx.Run(t.Context(), "SELECT count(*) AS n FROM a", nil)
				if err != nil || string(r.Rows) != `[{"n":0}]` {
					t.Errorf("%v: %+v", err, r)
				}
				return mine
			})
			if !errors.Is(err, mine) || message.CodeOf(err) != message.CodeInternal {
				t.Errorf("got %v", err)
			}
			err = db.Transaction(t.Context(), ses, func(tx *query.Tx) error {
				_, err := tx.Run(t.Context(), "UPDATE a SET x = x + 1", nil)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			rows, _, err = db.Query(t.Context(), "SELECT x FROM a", nil, nil, false)
			if err != nil || string(rows) != `[{"x":8}]` {
				t.Errorf("%v: %s", err, rows)
			}
			_, err = db.Exec(t.Context(), "SELEC", nil, nil)
			wants(t, err, message.CodeBadContent)
			_, _, err = db.Query(t.Context(), "DELETE FROM a", nil, nil, false)
			wants(t, err, message.CodeBadContent)
		})
	}
	s := openSQLite(t, nil)
	_, err := s.DB("other")
	wants(t, err, message.CodeBadContent)
}
