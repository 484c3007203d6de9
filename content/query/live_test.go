package query_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// watcher watches as the runner does.
type watcher struct {
	s     *site
	req   *content.Request
	res   content.Resource
	ring  chan struct{}
	told  atomic.Int64
	runs  int
	stop  func()
	last  string
	fault error
}

func (s *site) watch(t testing.TB, req *content.Request) *watcher {
	t.Helper()
	w := &watcher{s: s, req: req, ring: make(chan struct{}, 1)}
	if err := w.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *watcher) begin(ctx context.Context) (err error) {
	if w.res, err = w.s.Open(ctx, w.req); err == nil {
		w.stop, err = w.res.Watch(w.changed)
	}
	return err
}

func (w *watcher) changed() {
	w.told.Add(1)
	select {
	case w.ring <- struct{}{}:
	default:
	}
}

func (w *watcher) get(t testing.TB) (string, error) {
	t.Helper()
	w.runs++
	c, err := w.res.Get(t.Context())
	if errors.Is(err, content.ErrReopen) {
		w.stop()
		if err := w.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err = w.res.Get(t.Context())
	}
	w.last, w.fault = string(c.Body), err
	return w.last, err
}

// until computes whenever it is told to, until the content has a part.
func (w *watcher) until(t testing.TB, want string) {
	t.Helper()
	w.when(t, want, func() bool { return w.fault == nil && strings.Contains(w.last, want) })
}

func (w *watcher) fails(t testing.TB, code message.Code) {
	t.Helper()
	w.when(t, string(code), func() bool { return w.fault != nil && message.CodeOf(w.fault) == code })
}

func (w *watcher) when(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		_, _ = w.get(t)
		if ok() {
			return
		}
		var again <-chan time.Time
		if w.fault != nil && message.AsError(w.fault).Retryable {
			again = time.After(50 * time.Millisecond) // the runner tries again by itself
		}
		select {
		case <-w.ring:
		case <-again:
		case <-late:
			t.Fatalf("%s does not come: %s %v, told %d times", what, w.last, w.fault, w.told.Load())
		}
	}
}

// wokenBy fails the test unless what f does is told before f returns.
func (w *watcher) wokenBy(t testing.TB, want bool, f func()) {
	t.Helper()
	_, _ = w.get(t)
	before := w.told.Load()
	f()
	if got := w.told.Load() > before; got != want {
		t.Errorf("%s: told is %v, want %v", w.req.Path, got, want)
	}
}

// calm has nobody else look for changes, so that only our own are seen.
func calm(s *query.Settings) {
	d := s.Databases["main"]
	d.Check = duration.Duration(time.Hour)
	s.Databases["main"] = d
}

func TestPublishWakes(t *testing.T) {
	t.Parallel()
	s := people(t, calm)
	s.exec(t, "CREATE TABLE depts (name TEXT PRIMARY KEY, boss INTEGER REFERENCES people(id) ON DELETE SET NULL)",
		"CREATE TABLE log (t TEXT)", "CREATE TRIGGER tr AFTER UPDATE ON depts BEGIN INSERT INTO log VALUES ('x'); END",
		"CREATE VIEW bosses AS SELECT p.name FROM people p JOIN depts d ON d.boss = p.id", "INSERT INTO depts VALUES ('Food', 1)",
		"CREATE VIRTUAL TABLE docs USING fts5(text)", "CREATE TABLE alone (id TEXT PRIMARY KEY) WITHOUT ROWID")
	for name, text := range map[string]string{
		"view.sql": "SELECT name FROM bosses", "people.sql": "SELECT count(*) AS n FROM people", "log.sql": "SELECT count(*) AS n FROM log",
		"docs.sql": "SELECT text FROM docs WHERE docs MATCH 'hello'", "alone.sql": "SELECT id FROM alone",
		"rename.sql": "UPDATE people SET name = name || '!' WHERE id = 1", "delete.sql": "DELETE FROM people WHERE id = 1",
		"doc.sql": "INSERT INTO docs VALUES ('hello you')", "add.sql": "INSERT INTO alone VALUES ('a')", "empty.sql": "DELETE FROM alone",
		"schema.sql": "DROP VIEW bosses; CREATE VIEW bosses AS SELECT 'nobody' AS name",
	} {
		s.file(t, name, text)
	}
	do := func(name string) func() {
		return func() {
			if _, err := s.publish(t, name, "{}"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	view, log := s.watch(t, request("view.sql", "")), s.watch(t, request("log.sql", ""))
	count, docs, alone := s.watch(t, request("people.sql", "")), s.watch(t, request("docs.sql", "")), s.watch(t, request("alone.sql", ""))
	all := []*watcher{view, log, count, docs, alone}
	for _, c := range []struct {
		file string
		told []*watcher
	}{
		{"rename.sql", []*watcher{view, count}}, {"delete.sql", []*watcher{view, count, log}},
		{"doc.sql", []*watcher{docs}}, {"add.sql", []*watcher{alone}}, {"empty.sql", []*watcher{alone}}, {"schema.sql", all},
	} {
		before := map[*watcher]int64{}
		for _, w := range all {
			_, _ = w.get(t)
			before[w] = w.told.Load()
		}
		do(c.file)()
		for _, w := range all {
			want := false
			for _, o := range c.told {
				want = want || o == w
			}
			if got := w.told.Load() > before[w]; got != want {
				t.Errorf("%s: %s is told: %v, want %v", c.file, w.req.Path, got, want)
			}
		}
	}
	view.until(t, "nobody")
	docs.until(t, "hello you")
	bad := s.watch(t, request("people.sql", ""))
	bad.wokenBy(t, false, func() {
		s.file(t, "fails.sql", "DELETE FROM people; INSERT INTO people (id, name) VALUES (1, NULL)")
		_, err := s.publish(t, "fails.sql", "{}")
		wants(t, err, message.CodeInvalidInput)
	})
}

func TestOthersWrite(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "a.sql", "SELECT name FROM people ORDER BY id LIMIT 1")
	s.file(t, "late.sql", "SELECT x FROM late")
	w, late := s.watch(t, request("a.sql", "")), s.watch(t, request("late.sql", ""))
	w.until(t, "Anna")
	late.fails(t, message.CodeBadContent)
	s.exec(t, "UPDATE people SET name = 'Änne' WHERE id = 1")
	w.until(t, "Änne")
	s.exec(t, "CREATE TABLE late (x)", "INSERT INTO late VALUES (7)")
	late.until(t, `[{"x":7}]`)
	s.exec(t, "ALTER TABLE late ADD COLUMN y DEFAULT 8", "CREATE TABLE other (x)", "DROP TABLE late", "CREATE VIEW late AS SELECT x FROM other", "INSERT INTO other VALUES (9)")
	late.until(t, `[{"x":9}]`)
	tool, err := exec.LookPath("sqlite3")
	if err == nil {
		if out, err := exec.CommandContext(t.Context(), tool, filepath.Join(s.dir, "main.db"), "UPDATE people SET name = 'Nina' WHERE id = 1").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		w.until(t, "Nina")
	}
}

func TestFileChanges(t *testing.T) {
	t.Parallel()
	s := people(t, calm)
	s.file(t, "a.sql", "SELECT 1 AS a")
	w := s.watch(t, request("a.sql", `{"x":5}`))
	w.until(t, `[{"a":1}]`)
	s.file(t, "a.sql", "SELECT 2 AS a")
	w.until(t, `[{"a":2}]`)
	s.file(t, "a.sql", "SELECT ")
	w.fails(t, message.CodeBadContent)
	s.file(t, "a.sql", "SELECT :x AS a, :claims.sub AS s")
	w.until(t, `[{"a":5,"s":null}]`)
	if err := os.Remove(filepath.Join(s.dir, "a.sql")); err != nil {
		t.Fatal(err)
	}
	w.fails(t, message.CodeNotFound)
	if err := os.MkdirAll(filepath.Join(s.dir, "new/deep"), 0o750); err != nil {
		t.Fatal(err)
	}
	deep := s.watch(t, request("new/deep/b.sql", ""))
	deep.fails(t, message.CodeNotFound)
	s.file(t, "new/deep/b.sql", "SELECT 3 AS a")
	deep.until(t, `[{"a":3}]`)
	if err := os.RemoveAll(filepath.Join(s.dir, "new")); err != nil {
		t.Fatal(err)
	}
	deep.fails(t, message.CodeNotFound)
	if err := os.MkdirAll(filepath.Join(s.dir, "new/deep"), 0o750); err != nil {
		t.Fatal(err)
	}
	s.file(t, "new/deep/b.sql", "SELECT 4 AS a")
	deep.until(t, `[{"a":4}]`)
}

func TestBadDatabases(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "a.sql", "SELECT name FROM people ORDER BY id LIMIT 1")
	s.file(t, "w.sql", "UPDATE people SET dept = 'X'")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, "Anna")
	file := filepath.Join(s.dir, "main.db")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	s.exec(t, "PRAGMA wal_checkpoint(TRUNCATE)")
	move(file, file+".away")
	_ = os.Remove(file + "-wal")
	_ = os.Remove(file + "-shm")
	if err := os.WriteFile(file, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.fails(t, message.CodeBadContent)
	if e := message.AsError(w.fault); strings.Contains(e.Message, s.dir) || !strings.Contains(e.Message, "damaged") {
		t.Errorf("got %v", e)
	}
	_, err := s.publish(t, "w.sql", "{}")
	wants(t, err, message.CodeBadContent)
	move(file+".away", file)
	w.until(t, "Anna")
}

func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	s := people(t, func(s *query.Settings) {
		d := s.Databases["main"]
		d.Busy = duration.Duration(20 * time.Millisecond)
		s.Databases["main"] = d
	})
	s.file(t, "w.sql", "UPDATE people SET dept = 'X'")
	s.file(t, "a.sql", "SELECT dept FROM people")
	w := s.watch(t, request("a.sql", ""))
	w.until(t, "Food")
	tx, err := s.other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Close() }()
	if _, err := tx.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	_, err = s.publish(t, "w.sql", "{}")
	if e := wants(t, err, message.CodeOverloaded); !e.Retryable || e.RetryAfter == 0 {
		t.Errorf("got %+v", e)
	}
	w.until(t, "Food") // who reads is not disturbed
	if _, err := tx.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if got := must2(s.publish(t, "w.sql", "{}")); got != `{"rowsAffected":3}` {
		t.Error(got)
	}
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, func(s *query.Settings) {
		d := s.Databases["main"]
		d.File = filepath.Join(filepath.Dir(d.File), "later", "main.db")
		s.Databases["main"] = d
	})
	s.file(t, "a.sql", "SELECT 1 AS a")
	w := s.watch(t, request("a.sql", ""))
	w.fails(t, message.CodeSourceDown)
	if e := message.AsError(w.fault); strings.Contains(e.Message, s.dir) || !e.Retryable {
		t.Errorf("got %+v", e)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "later"), 0o750); err != nil {
		t.Fatal(err)
	}
	w.until(t, `[{"a":1}]`)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted here: %s", out)
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", disk).Run() })
	s := openSQLite(t, func(s *query.Settings) {
		d := s.Databases["main"]
		d.File = filepath.Join(disk, "main.db")
		s.Databases["main"] = d
	})
	s.file(t, "schema.sql", "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
	s.file(t, "fill.sql", "INSERT INTO t (x) VALUES (zeroblob(:n))")
	s.file(t, "a.sql", "SELECT count(*) AS n FROM t")
	if _, err := s.publish(t, "schema.sql", "{}"); err != nil {
		t.Fatal(err)
	}
	if got := must2(s.publish(t, "fill.sql", `{"n":100}`)); got != `{"rowsAffected":1,"keys":[1]}` {
		t.Fatal(got)
	}
	w := s.watch(t, request("a.sql", ""))
	w.until(t, `[{"n":1}]`)
	_, err := s.publish(t, "fill.sql", `{"n":4000000}`)
	wants(t, err, message.CodeStorageFull)
	w.until(t, `[{"n":1}]`)
	if got := must2(s.publish(t, "fill.sql", `{"n":100}`)); got != `{"rowsAffected":1,"keys":[2]}` {
		t.Error(got)
	}
	w.until(t, `[{"n":2}]`)
}

// TestBurst has 100 parameter sets watch a table into which 10,000 writes come,
// ours and those of somebody else: all end with the right content, and are not
// computed once for each write.
func TestBurst(t *testing.T) {
	t.Parallel()
	const sets, others = 100, 200
	writes := 10_000
	if race.Enabled {
		writes = 2000
	}
	s := openSQLite(t, nil)
	s.exec(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, set_id INTEGER, n INTEGER)", "CREATE INDEX i ON t (set_id)")
	for i := range sets {
		s.exec(t, fmt.Sprintf("INSERT INTO t VALUES (%d, %d, 0)", i, i))
	}
	s.file(t, "sum.sql", "SELECT sum(n) AS n FROM t WHERE set_id = :id")
	s.file(t, "inc.sql", "UPDATE t SET n = n + 1 WHERE id = :id")
	list := make([]*watcher, sets)
	for i := range list {
		list[i] = s.watch(t, request("sum.sql", fmt.Sprintf(`{"id":%d}`, i)))
		list[i].until(t, `[{"n":0}]`)
	}
	var wg sync.WaitGroup
	var ended atomic.Bool
	var runs atomic.Int64
	for _, w := range list {
		wg.Go(func() {
			for !ended.Load() {
				select {
				case <-w.ring:
					runs.Add(1)
					if _, err := w.get(t); err != nil {
						t.Errorf("get: %v", err)
					}
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	var writers sync.WaitGroup
	for g := range 4 {
		writers.Go(func() {
			for i := range writes / 4 {
				if _, err := s.publish(t, "inc.sql", fmt.Sprintf(`{"id":%d}`, (i*4+g)%sets)); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	writers.Go(func() {
		for i := range others {
			if _, err := s.other.ExecContext(t.Context(), "UPDATE t SET n = n + 1 WHERE id = ?", i%sets); err != nil {
				t.Errorf("exec: %v", err)
				return
			}
		}
	})
	writers.Wait()
	ended.Store(true)
	wg.Wait()
	for i, w := range list {
		n := writes/sets + others/sets
		w.until(t, fmt.Sprintf(`[{"n":%d}]`, n))
		_ = i
	}
	t.Logf("%d runs of %d queries for %d writes", runs.Load(), sets, writes+others)
	if n := runs.Load(); n > int64(sets*writes/5) { // each write is one to the table of all
		t.Errorf("%d runs are as good as one of each query for each write", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := people(t, nil)
	s.file(t, "a.sql", "SELECT name FROM people WHERE id = :id")
	s.file(t, "w.sql", "UPDATE people SET dept = :d")
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 30 {
				r, err := s.Open(t.Context(), request("a.sql", fmt.Sprintf(`{"id":%d}`, g%3+1)))
				if err != nil {
					t.Error(err)
					return
				}
				stop, err := r.Watch(func() {})
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					cancel()
				}
				_, err = r.Get(ctx)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, err := s.publish(t, "w.sql", `{"d":"x"}`); err != nil {
						t.Error(err)
					}
				}
				stop()
				cancel()
			}
		})
	}
	wg.Wait()
}
