package query_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/session"
)

// held has somebody else run SQL in a transaction that stays open until end is
// called.
func (s *site) held(t *testing.T, text string) (end func()) {
	t.Helper()
	tx, err := s.other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	end = func() { _ = tx.Rollback() }
	t.Cleanup(end)
	if _, err := tx.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	return end
}

// count returns the number that a query of somebody else gives.
func (s *site) count(t *testing.T, text string) (n int) {
	t.Helper()
	if err := s.other.QueryRowContext(t.Context(), text).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// as has an account use the database in place of the superuser.
func as(role string) func(*query.Settings) {
	return func(s *query.Settings) {
		unpolled(s)
		d := s.Databases["main"]
		d.URL = strings.Replace(d.URL, "postgres@", role+"@", 1)
		s.Databases["main"] = d
	}
}

// all has watchers compute at once.
func (s *site) all(t *testing.T, watchers []*watcher) {
	t.Helper()
	var wg sync.WaitGroup
	for _, w := range watchers {
		wg.Go(func() {
			if _, err := w.res.Get(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestPostgresLockedTables has many begin to watch tables that somebody holds a
// lock on: they wait for it once, and not one after the other.
func TestPostgresLockedTables(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, func(s *query.Settings) { unpolled(s); s.Timeout = duration.Duration(15 * time.Second) })
	var names, list []string
	for i := range 12 {
		name := fmt.Sprintf("t%d", i)
		s.exec(t, "CREATE TABLE "+name+" (x int)")
		names, list = append(names, name), append(list, "TABLE "+name)
	}
	s.exec(t, "CREATE TABLE free (x int)", "CREATE TABLE one (x int)")
	s.file(t, "many.sql", strings.Join(list, " UNION ALL "))
	s.file(t, "one.sql", "SELECT x FROM one WHERE x > :x")
	s.file(t, "free.sql", "SELECT count(*) AS n FROM free")
	free := s.watch(t, request("free.sql", ""))
	free.starts(t, `[{"n":0}]`)
	const listeners = "SELECT coalesce(max(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND objid = 'free'::regclass"
	before := s.count(t, listeners)
	end := s.held(t, "LOCK TABLE one, "+strings.Join(names, ", ")+" IN ROW EXCLUSIVE MODE")
	watchers := []*watcher{s.watch(t, request("many.sql", ""))}
	for i := range 20 {
		watchers = append(watchers, s.watch(t, request("one.sql", fmt.Sprintf(`{"x":%d}`, i))))
	}
	s.all(t, watchers)
	s.exec(t, "INSERT INTO free VALUES (1)")
	free.comes(t, `[{"n":1}]`)
	if after := s.count(t, listeners); before == 0 || after != before {
		t.Errorf("the listener was %d and is %d", before, after)
	}
	end()
	s.eventually(t, func() bool {
		for _, w := range watchers {
			_, _ = w.get(t)
		}
		return s.has(t, "one") && s.has(t, "t11")
	})
}

// TestPostgresLocksGivenBack has many queries of two nodes want the triggers of a
// table at once: they are gone all the same when none of them does any more.
func TestPostgresLocksGivenBack(t *testing.T) {
	t.Parallel()
	var settings query.Settings
	s := openPostgres(t, func(s *query.Settings) { unpolled(s); settings = *s })
	o := start(t, settings, s.dir, "pgx", settings.Databases["main"].URL)
	s.exec(t, "CREATE TABLE a (x int)", "CREATE TABLE first (x int)")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a WHERE x > :x")
	s.file(t, "first.sql", "SELECT count(*) AS n FROM first")
	var watchers []*watcher
	for _, node := range []*site{s, o} {
		node.watch(t, request("first.sql", "")).starts(t, `[{"n":0}]`) // the listener is there
		for i := range 20 {
			watchers = append(watchers, node.watch(t, request("a.sql", fmt.Sprintf(`{"x":%d}`, i))))
		}
	}
	s.all(t, watchers)
	s.eventually(t, func() bool {
		for _, w := range watchers {
			_, _ = w.get(t)
		}
		return s.has(t, "a")
	})
	for _, w := range watchers {
		w.stop()
	}
	s.eventually(t, func() bool { return !s.has(t, "a") })
}

// TestPostgresLeftOnBusyTables has triggers be left on tables that somebody reads
// for long, as a backup does: nobody waits for their removal.
func TestPostgresLeftOnBusyTables(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, unpolled)
	s.exec(t, "CREATE TABLE a (x int)", "CREATE TABLE idle (x int)")
	s.exec(t, "CREATE FUNCTION ropewalk_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('ropewalk_changed', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME); RETURN NULL; END $$",
		"CREATE TRIGGER ropewalk_changed AFTER INSERT ON idle FOR EACH STATEMENT EXECUTE FUNCTION ropewalk_changed()")
	names := make([]string, 60) // of which each would take a second
	for i := range names {
		names[i] = fmt.Sprintf("busy%d", i)
		s.exec(t, "CREATE TABLE "+names[i]+" (x int)",
			"CREATE TRIGGER ropewalk_changed AFTER INSERT ON "+names[i]+" FOR EACH STATEMENT EXECUTE FUNCTION ropewalk_changed()")
	}
	s.held(t, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS SHARE MODE")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	w := s.watch(t, request("a.sql", ""))
	w.starts(t, `[{"n":0}]`)
	s.eventually(t, func() bool { return !s.has(t, "idle") })
	select {
	case <-w.ring: // of before
	default:
	}
	s.exec(t, "INSERT INTO a VALUES (1)")
	w.comes(t, `[{"n":1}]`)
}

// TestPostgresFunctionInUse has one node leave, and take the function with it,
// while another puts a trigger on a table that needs it.
func TestPostgresFunctionInUse(t *testing.T) {
	t.Parallel()
	var settings query.Settings
	s := openPostgres(t, func(s *query.Settings) { unpolled(s); settings = *s })
	o := start(t, settings, s.dir, "pgx", settings.Databases["main"].URL)
	s.exec(t, "CREATE TABLE a (x int)", "CREATE TABLE b (x int)", `CREATE FUNCTION pause() RETURNS event_trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock(42); END $$`)
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.file(t, "b.sql", "SELECT count(*) AS n FROM b")
	a := s.watch(t, request("a.sql", ""))
	a.starts(t, `[{"n":0}]`)
	s.exec(t, "CREATE EVENT TRIGGER pause ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION pause()")
	end := s.held(t, "SELECT pg_advisory_xact_lock(42)")
	b := o.watch(t, request("b.sql", ""))
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.res.Get(t.Context()) })
	s.eventually(t, func() bool {
		return s.count(t, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted") > 0
	})
	a.stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	end()
	wg.Wait()
	s.exec(t, "INSERT INTO b VALUES (1)")
	b.until(t, `[{"n":1}]`)
}

// TestPostgresSchemaOutOfReach has an account that has no schema of its own in
// its search_path, and reads a view of tables that it must not know of.
func TestPostgresSchemaOutOfReach(t *testing.T) {
	t.Parallel()
	role := "r" + session.NewID()
	s := openPostgres(t, as(role))
	s.exec(t, "CREATE ROLE "+role+" LOGIN", "ALTER ROLE "+role+" SET search_path = ''", "CREATE SCHEMA hidden", "CREATE TABLE hidden.t (x int)",
		"CREATE VIEW v AS SELECT x FROM hidden.t", "GRANT SELECT ON v TO "+role,
		"CREATE SCHEMA own AUTHORIZATION "+role, "CREATE TABLE own.a (x int)", "ALTER TABLE own.a OWNER TO "+role)
	s.file(t, "a.sql", "SELECT count(*) AS n FROM own.a")
	s.file(t, "v.sql", "-- @poll 100ms\nSELECT count(*) AS n FROM public.v")
	a, v := s.watch(t, request("a.sql", "")), s.watch(t, request("v.sql", ""))
	a.until(t, `[{"n":0}]`)
	v.until(t, `[{"n":0}]`)
	s.eventually(t, func() bool {
		_, _ = a.get(t)
		return s.has(t, "own.a")
	})
	s.exec(t, "INSERT INTO own.a VALUES (1)", "INSERT INTO hidden.t VALUES (1)")
	a.comes(t, `[{"n":1}]`)
	v.comes(t, `[{"n":1}]`)
	a.stop()
	v.stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.count(t, "SELECT count(*) FROM pg_proc WHERE proname = 'ropewalk_changed'"); n != 0 {
		t.Errorf("%d functions stay behind", n)
	}
}

// TestPostgresNoLockWithoutRight has an account that must not put triggers on a
// table ask for no lock on it.
func TestPostgresNoLockWithoutRight(t *testing.T) {
	t.Parallel()
	role := "r" + session.NewID()
	s := openPostgres(t, as(role))
	s.exec(t, "CREATE ROLE "+role+" LOGIN", "GRANT CREATE ON SCHEMA public TO "+role, "CREATE TABLE a (x int)", "GRANT SELECT ON a TO "+role)
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	s.held(t, "INSERT INTO a VALUES (1)")
	asked := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		n := 0
		for ctx.Err() == nil {
			_ = s.other.QueryRowContext(context.WithoutCancel(ctx), "SELECT $1 + count(*) FROM pg_locks WHERE relation = 'a'::regclass AND NOT granted", n).Scan(&n)
		}
		asked <- n
	}()
	w := s.watch(t, request("a.sql", ""))
	w.starts(t, `[{"n":0}]`)
	cancel()
	if n := <-asked; n > 0 {
		t.Errorf("somebody waited for a lock, seen %d times", n)
	}
}

// TestPostgresListenerRefused has the listener fail each time after it has
// connected: it does not try without a pause.
func TestPostgresListenerRefused(t *testing.T) {
	t.Parallel()
	role := "r" + session.NewID()
	s := openPostgres(t, as(role))
	s.exec(t, "CREATE ROLE "+role+" LOGIN", "CREATE TABLE a (x int)", "GRANT SELECT ON a TO "+role, "REVOKE SELECT ON pg_catalog.pg_policy FROM PUBLIC")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM a")
	w := s.watch(t, request("a.sql", ""))
	began := time.Now()
	_, _ = w.get(t)
	s.eventually(t, func() bool { return w.told.Load() >= 8 })
	if took := time.Since(began); took < 1200*time.Millisecond {
		t.Errorf("it tried 8 times in %v", took)
	}
}
