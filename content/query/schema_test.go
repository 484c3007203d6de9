package query_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/session"
)

// unpolled has changes be noticed in no other way than by triggers and looks.
func unpolled(s *query.Settings) {
	s.Poll = duration.Duration(time.Hour)
	d := s.Databases["main"]
	d.Check = duration.Duration(20 * time.Millisecond)
	s.Databases["main"] = d
}

// starts begins to compute.
func (w *watcher) starts(t testing.TB, want string) {
	t.Helper()
	w.changed()
	w.comes(t, want)
}

// TestPostgresSchema changes the schema under watched queries, by publishing and
// by somebody else.
func TestPostgresSchema(t *testing.T) {
	t.Parallel()
	again := []string{
		"DROP VIEW v", "DROP TABLE a", "CREATE TABLE a (x int)", "INSERT INTO a VALUES (2)", "CREATE VIEW v AS SELECT x FROM a",
	}
	for _, c := range []struct {
		name   string
		change []string
		a, v   string
		after  string // a later change of rows
		a2, v2 string
	}{
		{"made again", again, `[{"x":2}]`, `[{"x":2}]`, "UPDATE a SET x = 3", `[{"x":3}]`, `[{"x":3}]`},
		{"another view", []string{"CREATE OR REPLACE VIEW v AS SELECT x FROM b"}, "", `[{"x":10}]`, "UPDATE b SET x = 11", "", `[{"x":11}]`},
		{"a column more", []string{"ALTER TABLE a ADD COLUMN y int DEFAULT 7"}, `[{"x":1,"y":7}]`, "", "UPDATE a SET x = 2", `[{"x":2,"y":7}]`, `[{"x":2}]`},
		{"another name", []string{"ALTER TABLE a RENAME COLUMN x TO z"}, `[{"z":1}]`, "", "UPDATE a SET z = 2", `[{"z":2}]`, `[{"x":2}]`},
		{
			"tables in turn", []string{"ALTER TABLE a RENAME TO old", "ALTER TABLE b RENAME TO a"}, `[{"x":10}]`, "",
			"UPDATE old SET x = 5; UPDATE a SET x = 12", `[{"x":12}]`, `[{"x":5}]`,
		},
		{"a partition more", []string{"CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2)"}, "", "", "INSERT INTO part2 VALUES (2)", "", ""},
	} {
		for _, who := range []string{"publish", "other"} {
			t.Run(c.name+" by "+who, func(t *testing.T) {
				t.Parallel()
				s := openPostgres(t, unpolled)
				s.exec(t, "CREATE TABLE a (x int)", "INSERT INTO a VALUES (1)", "CREATE TABLE b (x int)", "INSERT INTO b VALUES (10)",
					"CREATE VIEW v AS SELECT x FROM a", "CREATE TABLE part (k int) PARTITION BY LIST (k)", "CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1)")
				s.file(t, "a.sql", "TABLE a")
				s.file(t, "v.sql", "TABLE v")
				s.file(t, "p.sql", "SELECT count(*) AS n FROM part")
				s.file(t, "change.sql", strings.Join(c.change, ";"))
				a, v, p := s.watch(t, request("a.sql", "")), s.watch(t, request("v.sql", "")), s.watch(t, request("p.sql", ""))
				a.starts(t, `[{"x":1}]`)
				v.starts(t, `[{"x":1}]`)
				p.starts(t, `[{"n":0}]`)
				comes := func(w *watcher, want string) {
					t.Helper()
					if want != "" {
						w.comes(t, want)
					}
				}
				if who == "publish" {
					before := a.told.Load()
					if _, err := s.publish(t, "change.sql", "{}"); err != nil {
						t.Fatal(err)
					}
					if a.told.Load() == before {
						t.Error("the answer came first")
					}
				} else {
					s.exec(t, strings.Join(c.change, ";"))
				}
				comes(a, c.a)
				comes(v, c.v)
				s.exec(t, c.after)
				comes(a, c.a2)
				comes(v, c.v2)
				if strings.Contains(c.after, "part2") {
					p.comes(t, `[{"n":1}]`)
				}
			})
		}
	}
}

// TestPostgresTriggersComeAndGo has others take triggers away, leave some behind,
// or keep them from being put on a table.
func TestPostgresTriggersComeAndGo(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, unpolled)
	s.exec(t, "CREATE TABLE a (x int)", "CREATE TABLE dead (x int)", "CREATE TABLE held (x int)")
	s.exec(t, "CREATE FUNCTION ropewalk_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('ropewalk_changed', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME); RETURN NULL; END $$",
		"CREATE TRIGGER ropewalk_changed AFTER INSERT ON dead FOR EACH STATEMENT EXECUTE FUNCTION ropewalk_changed()")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.file(t, "held.sql", "-- @poll 100ms\nSELECT count(*) AS n FROM held")
	w := s.watch(t, request("a.sql", ""))
	w.starts(t, `[{"n":0}]`)
	s.exec(t, "DROP TRIGGER ropewalk_changed ON a", "INSERT INTO a VALUES (1)")
	w.comes(t, `[{"n":1}]`)
	s.eventually(t, func() bool {
		_, _ = w.get(t)
		return s.has(t, "a")
	})
	s.exec(t, "ALTER TABLE a DISABLE TRIGGER ropewalk_changed", "INSERT INTO a VALUES (2)")
	w.comes(t, `[{"n":2}]`)
	s.eventually(t, func() bool {
		_, _ = w.get(t)
		return !s.has(t, "dead") && s.has(t, "a")
	})
	// A lock keeps the triggers away for a while.
	tx, err := s.other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "INSERT INTO held VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	held := s.watch(t, request("held.sql", ""))
	held.starts(t, `[{"n":0}]`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, func() bool {
		_, _ = held.get(t)
		return s.has(t, "held")
	})
	held.stop()
	s.eventually(t, func() bool { return !s.has(t, "held") })
	if !s.has(t, "a") {
		t.Error("a table that is watched has no triggers")
	}
}

// TestPostgresFunctionOfOthers has somebody who may do little wait with a function
// of the name that ours has, for others to run it.
func TestPostgresFunctionOfOthers(t *testing.T) {
	t.Parallel()
	evil := "r" + session.NewID()
	s := openPostgres(t, unpolled)
	s.exec(t, "CREATE ROLE "+evil, "CREATE SCHEMA evil AUTHORIZATION "+evil, "CREATE TABLE a (x int)", "CREATE TABLE secret (x int)",
		"GRANT USAGE ON SCHEMA evil TO PUBLIC", "SET ROLE "+evil+`; CREATE FUNCTION evil.ropewalk_changed() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN DELETE FROM public.secret; PERFORM pg_notify('ropewalk_changed', 'public.a'); RETURN NULL; END $$; RESET ROLE`, "INSERT INTO secret VALUES (1)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	w := s.watch(t, request("a.sql", ""))
	w.starts(t, `[{"n":0}]`)
	s.exec(t, "INSERT INTO a VALUES (1)")
	w.comes(t, `[{"n":1}]`)
	if got := must2(s.run(t, "SELECT x FROM secret", "")); got != `[{"x":1}]` {
		t.Errorf("it ran, with the rights of who wrote: %s", got)
	}
}

// has tells whether a table has triggers.
func (s *site) has(t *testing.T, table string) (ok bool) {
	t.Helper()
	err := s.other.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname = 'ropewalk_changed' AND tgenabled <> 'D')", table).Scan(&ok)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestPostgresNotOwner has an account that may put triggers on a table, but not
// take them off.
func TestPostgresNotOwner(t *testing.T) {
	t.Parallel()
	role := "r" + session.NewID()
	s := openPostgres(t, func(s *query.Settings) {
		unpolled(s)
		d := s.Databases["main"]
		d.URL = strings.Replace(d.URL, "postgres@", role+"@", 1)
		s.Databases["main"] = d
	})
	s.exec(t, "CREATE ROLE "+role+" LOGIN", "GRANT CREATE ON SCHEMA public TO "+role, "CREATE TABLE a (x int)", "CREATE TABLE b (x int)",
		"GRANT SELECT, TRIGGER ON a, b TO "+role)
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.file(t, "b.sql", "SELECT count(*) AS n FROM b")
	a, b := s.watch(t, request("a.sql", "")), s.watch(t, request("b.sql", ""))
	a.starts(t, `[{"n":0}]`)
	b.starts(t, `[{"n":0}]`)
	listener := func() (pid int) {
		_ = s.other.QueryRowContext(t.Context(), "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = 'a'::regclass", 0x726f7065).Scan(&pid)
		return pid
	}
	before := listener()
	b.stop()
	s.eventually(t, func() bool { // it has let go of b
		var n int
		err := s.other.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = 'b'::regclass", 0x726f7065).Scan(&n)
		return err == nil && n == 0
	})
	s.exec(t, "INSERT INTO a VALUES (1)")
	a.comes(t, `[{"n":1}]`)
	if now := listener(); before == 0 || now != before {
		t.Errorf("the listener was %d and is %d", before, now)
	}
}

// TestPostgresSilence has the connection of the listener die without a word: what
// was changed comes all the same, over another.
func TestPostgresSilence(t *testing.T) {
	t.Parallel()
	var wire *hose
	s := openPostgres(t, func(s *query.Settings) {
		unpolled(s)
		d := s.Databases["main"]
		d.URL, wire = through(t, d.URL)
		s.Databases["main"] = d
	})
	s.exec(t, "CREATE TABLE a (x int)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	w := s.watch(t, request("a.sql", ""))
	w.starts(t, `[{"n":0}]`)
	wire.cut()
	s.exec(t, "INSERT INTO a VALUES (1)")
	w.until(t, `[{"n":1}]`)
	s.exec(t, "INSERT INTO a VALUES (1)")
	w.comes(t, `[{"n":2}]`)
}

// hose passes bytes on to a server, until it is cut: what was open then is as
// dead as behind a router that has forgotten it, what comes later is not.
type hose struct {
	mu    sync.Mutex
	valve chan struct{}
}

func (h *hose) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.valve)
	h.valve = make(chan struct{})
}

// through returns a URL of the same server that leads through a hose.
func through(t *testing.T, to string) (string, *hose) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	socket := u.Query().Get("host") + "/.s.PGSQL.5432"
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hose{valve: make(chan struct{})}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			valve := h.valve
			h.mu.Unlock()
			wg.Go(func() { pass(ctx, c, socket, valve) })
		}
	})
	u.Host, u.RawQuery = l.Addr().String(), "sslmode=disable"
	return u.String(), h
}

// pass joins a connection to a server until the valve is shut.
func pass(ctx context.Context, c net.Conn, socket string, valve <-chan struct{}) {
	defer func() { _ = c.Close() }()
	s, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	var wg sync.WaitGroup
	done := make(chan struct{}, 2)
	for _, ends := range [][2]net.Conn{{c, s}, {s, c}} {
		wg.Go(func() {
			_, _ = io.Copy(ends[0], ends[1])
			done <- struct{}{}
		})
	}
	select {
	case <-done:
	case <-ctx.Done():
	case <-valve:
		_ = s.Close() // c stays open, and nobody reads it
		<-ctx.Done()
	}
	_, _ = c.Close(), s.Close()
	wg.Wait()
}
