package delta_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/topic/delta"
)

// rows makes rows "a1 b2" into [{"id":"a","v":1,…},…]. They are long, so that a
// change is smaller.
func rows(s string) string {
	all := strings.Fields(s)
	for i, r := range all {
		all[i] = `{"id":"` + r[:1] + `","v":` + r[1:] + `,"pad":"` + strings.Repeat("x", 40) + `"}`
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestRows(t *testing.T) {
	t.Parallel()
	row := func(s string) string { return strings.Trim(rows(s), "[]") }
	for _, c := range []struct{ before, after, change string }{
		{"a1 b2 c3", "a1 b4 c3", `"set":[` + row("b4") + `]`},
		{"a1 b2 c3", "a1 c3", `"remove":["b"]`},
		{"a1 b2 c3", "a1 b2 c3 d4", `"set":[` + row("d4") + `]`},
		{"a1 b2 c3", "d4 a1 b2 c3", `"set":[` + row("d4") + `],"order":["d"]`},
		{"a1 b2 c3", "d4 a1 b2", `"remove":["c"],"set":[` + row("d4") + `],"order":["d"]`},
		{"a1 b2 c3", "a1 d4 b2 c3", `"set":[` + row("d4") + `],"order":["d"],"from":1`},
		{"a1 b2 c3 d4 e5", "b2 c3 d4 a9 e5", `"set":[` + row("a9") + `],"order":["a"],"from":3`},
		{"a1 b2 c3 d4 e5", "d4 a1 b2 c3 e5", `"order":["d"]`},
		{"a1 b2 c3 d4 e5", "e5 d4 c3 b2 a1", `"order":["e","d","c","b"]`},
		{"a1 b2 c3", "c3 b2", `"remove":["a"],"order":["c"]`},
		{"a1 b2 c3", "a1 b2 c3", ``},
	} {
		got, ok := delta.Rows([]byte(rows(c.before)), []byte(rows(c.after)), "id")
		want := `{"key":"id"}`
		if c.change != "" {
			want = `{"key":"id",` + c.change + `}`
		}
		if !ok || string(got) != want {
			t.Errorf("%s to %s: got %s, %v; want %s", c.before, c.after, got, ok, want)
			continue
		}
		again, err := delta.ApplyRows([]byte(rows(c.before)), got)
		if err != nil || string(again) != rows(c.after) {
			t.Errorf("%s to %s: applied, got %s, %v", c.before, c.after, again, err)
		}
	}
}

func TestRowsRefuses(t *testing.T) {
	t.Parallel()
	good := rows("a1 b2 c3")
	for _, bad := range []string{
		`{}`, `[1]`, `[{}]`, `[{"id":null}]`, `[{"id":1.0}]`, `[{"id":-0}]`, `[{"id":1e3}]`, `[{"id":1234567890123456}]`,
		`[{"id":[1]}]`, `[{"id":1},{"id":1}]`, `[{"id":"a"},{"id":"\u0061"}]`, `[`, rows("a1 a2"), rows("a1 b1 a2 c3"), rows("d1 d1"),
	} {
		if got, ok := delta.Rows([]byte(good), []byte(bad), "id"); ok {
			t.Errorf("to %s: got %s", bad, got)
		}
		if got, ok := delta.Rows([]byte(bad), []byte(good), "id"); ok {
			t.Errorf("from %s: got %s", bad, got)
		}
	}
	if got, ok := delta.Rows([]byte(good), []byte(rows("x1")), "id"); ok {
		t.Errorf("not smaller: got %s", got)
	}
}

func TestApplyRowsKeys(t *testing.T) {
	t.Parallel()
	// A number and a string are different keys; a string is the same however it
	// is written.
	got, err := delta.ApplyRows([]byte(`[{"k":"1"},{"k":1}]`), []byte(`{"key":"k","set":[{"k":1,"v":2},{"\u006b":"\u0031","v":3}],"more":1}`))
	if err != nil || string(got) != `[{"\u006b":"\u0031","v":3},{"k":1,"v":2}]` {
		t.Errorf("got %s, %v", got, err)
	}
	// A row that was removed can be set: it comes last.
	got, err = delta.ApplyRows([]byte(`[{"k":1},{"k":2}]`), []byte(`{"key":"k","remove":[1],"set":[{"k":1}]}`))
	if err != nil || string(got) != `[{"k":2},{"k":1}]` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestApplyRowsRefuses(t *testing.T) {
	t.Parallel()
	content := []byte(`[{"k":1},{"k":2}]`)
	for change, want := range map[string]error{
		`[]`:                                    delta.ErrInvalid,
		`{}`:                                    delta.ErrInvalid,
		`{"key":1}`:                             delta.ErrInvalid,
		`{"key":"k","set":{}}`:                  delta.ErrInvalid,
		`{"key":"k","set":[{}]}`:                delta.ErrInvalid,
		`{"key":"k","set":[{"k":1},{"k":1}]}`:   delta.ErrInvalid,
		`{"key":"k","remove":[null]}`:           delta.ErrInvalid,
		`{"key":"k","remove":[3]}`:              delta.ErrMismatch,
		`{"key":"k","remove":[1,1]}`:            delta.ErrMismatch,
		`{"key":"k","order":[1,1]}`:             delta.ErrInvalid,
		`{"key":"k","order":[3]}`:               delta.ErrMismatch,
		`{"key":"k","remove":[1],"order":[1]}`:  delta.ErrMismatch,
		`{"key":"k","order":[1],"from":2}`:      delta.ErrMismatch,
		`{"key":"k","order":[1],"from":-1}`:     delta.ErrInvalid,
		`{"key":"k","order":[1],"from":1.0}`:    delta.ErrInvalid,
		`{"key":"k","order":[1],"from":1e9}`:    delta.ErrInvalid,
		`{"key":"k","order":[1],"from":"1"}`:    delta.ErrInvalid,
		`{"key":"other","remove":[1]}`:          delta.ErrMismatch,
		`{"key":"k","remove":[1],"remove":[2]}`: delta.ErrInvalid,
		`{"key":"k"`:                            delta.ErrInvalid,
	} {
		if got, err := delta.ApplyRows(content, []byte(change)); !errors.Is(err, want) {
			t.Errorf("%s: got %s, %v; want %v", change, got, err, want)
		}
	}
	for _, content := range []string{`{}`, `[1]`, `[{"k":1},{"k":1}]`, `[{"k":null}]`, `[`} {
		if got, err := delta.ApplyRows([]byte(content), []byte(`{"key":"k"}`)); err == nil {
			t.Errorf("%s: got %s", content, got)
		}
	}
}
