package query_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestTextsAreBounded runs many long statements, as a script does that makes them
// of what others say.
func TestTextsAreBounded(t *testing.T) {
	s := openSQLite(t, nil)
	db, err := s.DB("")
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 100 {
		sql := fmt.Sprintf("SELECT %d AS n /* %s */", n, strings.Repeat("x", 500_000))
		if rows, _, err := db.Query(t.Context(), sql, nil, nil, false); err != nil || string(rows) != fmt.Sprintf(`[{"n":%d}]`, n) {
			t.Fatalf("%s, %v", rows, err)
		}
	}
	if after := heap(); after > before+20<<20 {
		t.Errorf("%d MiB are kept", (after-before)>>20)
	}
}

// TestStatementsInUseAreKept prepares more statements than a connection keeps, and
// in one transaction one of the oldest again and again.
func TestStatementsInUseAreKept(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, nil)
	s.exec(t, "CREATE TABLE a (x INTEGER)")
	db, err := s.DB("")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 900 {
		for _, sql := range []string{"INSERT INTO a VALUES (1)", fmt.Sprintf("INSERT INTO a VALUES (%d)", n%307)} {
			if _, err := db.Exec(t.Context(), sql, nil, nil); err != nil {
				t.Fatal(n, err)
			}
		}
	}
	if got := must2(s.run(t, "SELECT count(*) AS n FROM a", "")); got != `[{"n":1800}]` {
		t.Error(got)
	}
}
