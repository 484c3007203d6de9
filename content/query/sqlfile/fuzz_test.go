package sqlfile_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ropewalk/ropewalk/content/query/sqlfile"
)

// FuzzParse compares what is found with what SQLite finds: where it takes a
// statement, it has to see one, and as many parameters.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"SELECT :a, :b; SELECT 2", "SELECT ';' -- ;\n, \"a\"\"b\", [x], `y` /* ; */, :a", "-- @param a integer = 1\nSELECT :a",
		"-- @identifier c in (x, y)\nSELECT ::c", "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END; SELECT 2", "SELECT x'00', 1.5e-3, 'é', :é",
		"SELECT $$a$$, E'\\'', 1::int", "SELECT 1--:a", "SELECT a[:b]", "SELECT CASE WHEN :a THEN 1 END;", ":a", "SELECT :a.b, :claims.x", "SELECT 1/*", "SELECT 1;/*;",
	} {
		f.Add(s)
	}
	tls := libc.NewTLS()
	f.Cleanup(tls.Close)
	db := open(f, tls)
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []*sqlfile.Dialect{sqlfile.Postgres, sqlfile.MySQL, sqlfile.SQLite} {
			file, err := parse(text, d)
			if err != nil {
				continue
			}
			for _, s := range file.Statements {
				r, err := s.Render(sqlfile.Question, func(string) (string, error) { return `"x"`, nil })
				if err != nil {
					t.Fatal(err)
				}
				var whole strings.Builder
				for _, p := range s.Parts {
					whole.WriteString(p.Text)
					if p.Text == "" || !strings.HasPrefix(text[p.Pos:], p.Text) && p.Kind == sqlfile.Text {
						t.Fatalf("the part %+v is not in %q", p, text)
					}
				}
				if n := r.Source(len(r.SQL)); n > len(text) {
					t.Fatalf("%d is outside", n)
				}
				if d == sqlfile.SQLite {
					db.compare(t, r)
				}
			}
		}
	})
}

type handle struct {
	tls *libc.TLS
	db  uintptr
}

func open(f *testing.F, tls *libc.TLS) *handle {
	f.Helper()
	name, err := libc.CString(":memory:")
	if err != nil {
		f.Fatal(err)
	}
	p := tls.Alloc(8)
	if rc := sqlite3.Xsqlite3_open_v2(tls, name, p, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_CREATE|sqlite3.SQLITE_OPEN_MEMORY, 0); rc != 0 {
		f.Fatal(rc)
	}
	return &handle{tls, pointer(p)}
}

// pointer reads a pointer.
func pointer(p uintptr) uintptr { return uintptr(binary.NativeEndian.Uint64(libc.GoBytes(p, 8))) }

// prepare returns how many parameters a text has, what is left of it, and
// whether it is a statement.
func (h *handle) prepare(t *testing.T, text string) (params int, tail string, ok bool) {
	t.Helper()
	c, err := libc.CString(text)
	if err != nil {
		t.Fatal(err)
	}
	defer libc.Xfree(h.tls, c)
	p := h.tls.Alloc(16)
	defer h.tls.Free(16)
	if rc := sqlite3.Xsqlite3_prepare_v2(h.tls, h.db, c, -1, p, p+8); rc != 0 {
		return 0, "", false
	}
	stmt, rest := pointer(p), pointer(p+8)
	if stmt == 0 {
		return 0, "", false
	}
	defer sqlite3.Xsqlite3_finalize(h.tls, stmt)
	return int(sqlite3.Xsqlite3_bind_parameter_count(h.tls, stmt)), libc.GoString(rest), true
}

func (h *handle) compare(t *testing.T, r *sqlfile.Rendered) {
	t.Helper()
	n, tail, ok := h.prepare(t, r.SQL)
	if !ok {
		return
	}
	if n != len(r.Values) {
		t.Errorf("%q has %d parameters, we found %q", r.SQL, n, r.Values)
	}
	if strings.TrimSpace(tail) != "" {
		t.Errorf("after the statement in %q SQLite sees %q", r.SQL, tail)
	}
}
