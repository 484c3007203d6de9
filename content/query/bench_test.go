package query_test

import (
	"fmt"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/query"
)

// filled makes a table of 100,000 rows in 100 groups.
func (s *site) filled(b *testing.B, series string) {
	b.Helper()
	s.exec(b, "CREATE TABLE t (id INTEGER PRIMARY KEY, grp INTEGER, name VARCHAR(50), n INTEGER)",
		"INSERT INTO t (id, grp, name, n) SELECT x, x % 100, 'name of ' || x, 0 FROM "+series, "CREATE INDEX t_grp ON t (grp)")
	s.file(b, "page.sql", "SELECT id, name, n FROM t WHERE grp = :grp ORDER BY id LIMIT 20")
	s.file(b, "sum.sql", "SELECT count(*) AS rows, sum(n) AS n FROM t WHERE grp = :grp")
	s.file(b, "inc.sql", "UPDATE t SET n = n + 1 WHERE id = :id")
}

const (
	sqliteSeries   = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100000) SELECT x FROM c)"
	postgresSeries = "generate_series(1, 100000) AS x"
)

// BenchmarkRun is the cost of computing a content once: 20 rows of 3 columns.
func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name, series string
		open         func(testing.TB, func(*query.Settings)) *site
	}{{"sqlite", sqliteSeries, openSQLite}, {"postgres", postgresSeries, openPostgres}} {
		b.Run(c.name, func(b *testing.B) {
			s := c.open(b, nil)
			s.filled(b, c.series)
			w := s.watch(b, request("page.sql", `{"grp":7}`))
			w.until(b, "name of 7")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.get(b); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLatency is the time from a publish, or from a commit of somebody
// else, until the new content is there.
func BenchmarkLatency(b *testing.B) {
	for _, c := range []struct {
		name, series string
		open         func(testing.TB, func(*query.Settings)) *site
		other        bool
	}{
		{"sqlite/publish", sqliteSeries, openSQLite, false}, {"sqlite/other", sqliteSeries, openSQLite, true},
		{"postgres/publish", postgresSeries, openPostgres, false}, {"postgres/other", postgresSeries, openPostgres, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := c.open(b, nil)
			s.filled(b, c.series)
			w := s.watch(b, request("sum.sql", `{"grp":7}`))
			w.until(b, `"n":0`)
			for n := 1; b.Loop(); n++ {
				if c.other {
					s.exec(b, "UPDATE t SET n = n + 1 WHERE id = 7")
				} else if _, err := s.Publish(b.Context(), request("inc.sql", ""), content.Content{Body: []byte(`{"id":7}`)}); err != nil {
					b.Fatal(err)
				}
				w.until(b, fmt.Sprintf(`"n":%d`, n))
			}
		})
	}
}
