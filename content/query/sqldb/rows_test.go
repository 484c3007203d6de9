package sqldb_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

func TestAppendText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t        sqlfile.Type
		in, want string
	}{
		{"", "a\"\n\xff<", `"a\"\n\ufffd<"`},
		{sqlfile.String, "12", `"12"`},
		{sqlfile.Integer, "12", "12"},
		{sqlfile.Integer, "0x12", `"0x12"`},
		{sqlfile.Number, "-1.50", "-1.50"},
		{sqlfile.Number, "NaN", "null"},
		{sqlfile.Number, "01", `"01"`},
		{sqlfile.Number, `"x"`, `"\"x\""`},
		{sqlfile.Boolean, "t", "true"},
		{sqlfile.Boolean, "0", "false"},
		{sqlfile.Boolean, "?", `"?"`},
		{sqlfile.JSON, `{"a": 1}`, `{"a":1}`},
		{sqlfile.JSON, `{"a"`, `"{\"a\""`},
		{sqlfile.Date, "2026-01-02", `"2026-01-02"`},
		{sqlfile.Date, "2026-01-02 03:04:05", `"2026-01-02T03:04:05"`},
		{sqlfile.Date, "2026-01-02 03:04:05.5+00", `"2026-01-02T03:04:05.5Z"`},
		{sqlfile.Date, "2026-01-02 03:04:05-03:30", `"2026-01-02T03:04:05-03:30"`},
		{sqlfile.Date, "2026-01-02 03:04:05+05", `"2026-01-02T03:04:05+05:00"`},
		{sqlfile.Date, "infinity", `"infinity"`},
	} {
		if got := string(sqldb.AppendText(nil, c.t, c.in)); got != c.want {
			t.Errorf("%s %q: got %s, want %s", c.t, c.in, got, c.want)
		}
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	fill := func(r *sqldb.Rows, n int) error {
		r.Reset()
		if err := r.SetColumns([]sqldb.Column{{Name: "a", Type: sqlfile.Integer}, {Name: "b \"c\""}}); err != nil {
			return err
		}
		for i := range n {
			if err := r.Begin(); err != nil {
				return err
			}
			r.Int(int64(i))
			r.Float(math.Inf(1))
			if err := r.End(); err != nil {
				return err
			}
		}
		return nil
	}
	r := &sqldb.Rows{Limit: 3, Skip: 1}
	if err := fill(r, 3); err != nil || string(r.JSON()) != `[{"a":1,"b \"c\"":null},{"a":2,"b \"c\"":null}]` || string(r.First()) != `{"a":1,"b \"c\"":null}` {
		t.Errorf("%v: %s", err, r.JSON())
	}
	if err := fill(r, 0); err != nil || string(r.JSON()) != "[]" || string(r.First()) != "null" {
		t.Errorf("%v: %s", err, r.JSON())
	}
	for _, c := range []struct {
		r    *sqldb.Rows
		code message.Code
	}{{&sqldb.Rows{Limit: 2}, message.CodeLimitExceeded}, {&sqldb.Rows{Size: 40}, message.CodeLimitExceeded}} {
		var f *sqldb.Fault
		if err := fill(c.r, 3); !errors.As(err, &f) || f.Code != c.code {
			t.Errorf("got %v", err)
		}
	}
	if err := fill(&sqldb.Rows{Stop: 2, Limit: 2}, 3); !errors.Is(err, sqldb.ErrStop) {
		t.Errorf("got %v", err)
	}
	none := &sqldb.Rows{}
	if err := none.SetColumns(nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_ = none.Begin()
		_ = none.End()
	}
	if got := string(none.JSON()); got != "[{},{}]" {
		t.Errorf("got %s", got)
	}
}

func FuzzValues(f *testing.F) {
	f.Add("x", int64(1), 1.5, []byte{1}, true)
	f.Add(`{"a":1}`, int64(math.MaxInt64), math.NaN(), []byte(nil), false)
	f.Add("2026-01-02 03:04:05.5+00", int64(0), 1e300, []byte("[1]"), false)
	f.Fuzz(func(t *testing.T, s string, n int64, x float64, b []byte, ok bool) {
		for _, typ := range []sqlfile.Type{"", sqlfile.String, sqlfile.Integer, sqlfile.Number, sqlfile.Boolean, sqlfile.Date, sqlfile.JSON} {
			r := &sqldb.Rows{Override: func(string) sqlfile.Type { return typ }}
			columns := []sqldb.Column{{Name: s}, {Name: s + "1"}, {Name: s + "2"}, {Name: s + "3"}, {Name: s + "4"}, {Name: s + "5"}}
			if r.SetColumns(columns) != nil || r.Begin() != nil {
				return
			}
			r.Text(s)
			r.Int(n)
			r.Float(x)
			r.Blob(b)
			r.Bool(ok)
			r.Time(time.Unix(n%1e10, 0), ok)
			if r.End() != nil || !json.Valid(r.JSON()) {
				t.Fatalf("%s: %s is no JSON", typ, r.JSON())
			}
		}
	})
}
