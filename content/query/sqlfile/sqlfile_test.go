package sqlfile_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqlfile"
)

func parse(text string, d *sqlfile.Dialect) (*sqlfile.File, error) {
	return sqlfile.Parse(text, func(string) (*sqlfile.Dialect, error) { return d, nil })
}

func quote(name string) (string, error) { return "<" + name + ">", nil }

func TestRender(t *testing.T) {
	t.Parallel()
	lite, pg, my := sqlfile.SQLite, sqlfile.Postgres, sqlfile.MySQL
	for _, c := range []struct {
		d    *sqlfile.Dialect
		text string
		want []string
	}{
		{lite, "SELECT :a, :b, :a", []string{"SELECT ?1, ?2, ?1"}},
		{pg, "SELECT :a, :b, :a", []string{"SELECT $1, $2, $1"}},
		{my, "SELECT :a, :b, :a", []string{"SELECT ?, ?, ?"}},
		{lite, "-- x\n SELECT 1; ;;\n/* ; */ SELECT ';', \"a;\"\"b\", [;], `;` -- ;\n;", []string{"SELECT 1", "SELECT ';', \"a;\"\"b\", [;], `;` -- ;\n"}},
		{lite, "SELECT ':a', 'it''s :a', \":a\" /* :a */ -- :a", []string{"SELECT ':a', 'it''s :a', \":a\" /* :a */ -- :a"}},
		{lite, "SELECT :claims.user_id, :claims, :a.b", []string{"SELECT ?1, ?2, ?3.b"}},
		{lite, "SELECT '\\', :a", []string{"SELECT '\\', ?1"}},
		{my, "SELECT '\\', :a', `\\`, :a, 1--:a\n, # :a\n @x := 2, 3 --\t:b", []string{"SELECT '\\', :a', `\\`, ?, 1--?\n, # :a\n @x := 2, 3 --\t:b"}},
		{pg, "SELECT :a::text, x::int, y[1:2], y[:a], z[:b : :c]", []string{"SELECT $1::text, x::int, y[1:2], y[$1], z[$2 : $3]"}},
		{pg, "SELECT E'\\':a', $$:a$$, $x$ :a $$ $x$, a$b$c, /* /* :a */ :a */ :a, `:b`, '{}' ? 'x'", []string{"SELECT E'\\':a', $$:a$$, $x$ :a $$ $x$, a$b$c, /* /* :a */ :a */ $1, `$2`, '{}' ? 'x'"}},
		{lite, "-- @identifier c in (x)\nSELECT ::c FROM t ORDER BY ::c, :c", []string{"SELECT <c> FROM t ORDER BY <c>, ?1"}},
		{pg, "-- @identifier c in (x)\nSELECT ::c, 1::int FROM t", []string{"SELECT <c>, 1::int FROM t"}},
		{lite, "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END; SELECT 1",
			[]string{"CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END", "SELECT 1"}},
		{lite, "SELECT 'ä' AS é, :a", []string{"SELECT 'ä' AS é, ?1"}},
	} {
		f, err := parse(c.text, c.d)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		style := map[*sqlfile.Dialect]sqlfile.Style{lite: sqlfile.Question, pg: sqlfile.Dollar, my: sqlfile.Each}[c.d]
		var got []string
		for _, s := range f.Statements {
			r, err := s.Render(style, quote)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.SQL)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestWhatStatementsAre(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]sqlfile.Statement{
		"SELECT 1":                           {Verb: "SELECT"},
		"select 1 limit 2":                   {Verb: "SELECT", Limited: true},
		"SELECT (SELECT 1 LIMIT 1)":          {Verb: "SELECT"},
		"(SELECT 1) UNION (SELECT 2)":        {Verb: "SELECT"},
		"SELECT 1 INTO x":                    {Verb: "SELECT", Limited: true, Into: true},
		"SELECT 1 FOR UPDATE":                {Verb: "SELECT", Limited: true},
		"WITH a AS (SELECT 1) SELECT 1":      {Verb: "WITH"},
		"WITH a AS (SELECT 1) DELETE FROM b": {Verb: "WITH", Writes: true},
		"INSERT INTO a VALUES (1)":           {Verb: "INSERT", Writes: true, Limited: true, Into: true},
		"REPLACE INTO a VALUES (1)":          {Verb: "REPLACE", Writes: true, Limited: true, Into: true},
		"SELECT replace(a, b)":               {Verb: "SELECT"},
		"DROP TABLE a":                       {Verb: "DROP", Writes: true},
	} {
		f, err := parse(text, sqlfile.Postgres)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := *f.Statements[0]
		if got.Parts = nil; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	f, err := parse(`
-- What it is about.
-- @database main
--@param a integer
-- @param b string = "x, y"
-- @param c json = [1]
-- @identifier sort in (name, other name) = name
-- @column doc json
-- @key id, kind
-- @tables one, two.three
-- @poll 5s
-- @timeout 1m30s
-- @limit 20
-- @one

SELECT 1 -- @nothing
`, sqlfile.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	want := sqlfile.Options{
		Database:    "main",
		Params:      []sqlfile.Param{{Name: "a", Type: "integer"}, {Name: "b", Type: "string", Default: []byte(`"x, y"`)}, {Name: "c", Type: "json", Default: []byte("[1]")}},
		Identifiers: []sqlfile.Identifier{{Name: "sort", In: []string{"name", "other name"}, Default: "name"}},
		Columns:     []sqlfile.Param{{Name: "doc", Type: "json"}},
		Key:         []string{"id", "kind"}, Tables: []string{"one", "two.three"},
		Poll: 5 * time.Second, Timeout: 90 * time.Second, Limit: 20, One: true,
	}
	if !reflect.DeepEqual(f.Options, want) {
		t.Errorf("got  %+v\nwant %+v", f.Options, want)
	}
	if l, c := f.Position(f.Statements[0].Start()); l != 16 || c != 1 {
		t.Errorf("the statement is at %d:%d", l, c)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                  "line 1, column 1: there is no statement",
		"-- x":                              "line 1, column 1: there is no statement",
		"SELECT 'x":                         "line 1, column 8: a quote",
		"SELECT\n  \"x":                     "line 2, column 3: a quote",
		"SELECT /* x":                       "line 1, column 8: a comment",
		"SELECT 'é', ?":                     "line 1, column 13: parameters",
		"SELECT @x":                         "line 1, column 8: parameters",
		"SELECT ::x":                        "line 1, column 8: ::x is not declared",
		"\xff":                              "line 1, column 1: the file is not UTF-8",
		"SELECT 1\x00":                      "line 1, column 9: there is a zero byte",
		"-- @param\nSELECT 1":               "line 1, column 4: @param: a name and a type",
		"-- @param a text\nSELECT 1":        "line 1, column 4: @param: there is no type",
		"-- @param a b c\nSELECT 1":         "line 1, column 4: @param: a name and a type",
		"-- @param a integer = x\nSELECT 1": "line 1, column 4: @param: the default",
		"-- @param a' integer\nSELECT 1":    "line 1, column 4: @param: \"a'\" is not",
		"-- x\n-- @param a integer\n-- @param a integer\nSELECT 1": "line 3, column 4: @param: a is declared twice",
		"-- @identifier a\nSELECT 1":                               "line 1, column 4: @identifier: the names",
		"-- @identifier a in ()\nSELECT 1":                         "line 1, column 4: @identifier: names",
		"-- @identifier a in )(\nSELECT 1":                         "line 1, column 4: @identifier: the names",
		"-- @identifier a in (b) = c\nSELECT 1":                    "line 1, column 4: @identifier: the default",
		"-- @poll 1ms\nSELECT 1":                                   "line 1, column 4: @poll",
		"-- @limit 0\nSELECT 1":                                    "line 1, column 4: @limit",
		"-- @one 1\nSELECT 1":                                      "line 1, column 4: @one",
		"-- @key\nSELECT 1":                                        "line 1, column 4: @key",
		"-- @what\nSELECT 1":                                       "line 1, column 4: @what: there is no such option",
		strings.Repeat("SELECT 1;", 1001):                          "line 1, column 9009: there are too many statements",
		strings.Repeat(" ", sqlfile.MaxSize+1):                     "line 1, column 1: the file is too long",
	} {
		_, err := parse(text, sqlfile.SQLite)
		var e *sqlfile.Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	text := "-- @identifier c in (x)\nSELECT :long, ::c, nope"
	f, err := parse(text, sqlfile.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := f.Statements[0].Render(sqlfile.Question, quote)
	if got, want := r.Source(strings.Index(r.SQL, "nope")), strings.Index(text, "nope"); got != want {
		t.Errorf("got %d in %q, want %d", got, r.SQL, want)
	}
	if r.Source(-1) != 0 || r.Source(1000) > len(text) {
		t.Error("places outside are not brought inside")
	}
}
