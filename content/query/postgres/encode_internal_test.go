package postgres

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
)

// texts has elements be texts.
func texts(dst []byte, v string) []byte { return sqldb.AppendText(dst, sqlfile.String, v) }

func TestArray(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{}`: `[]`, `{a,NULL,"NULL","a \"b\\\","}`: `["a",null,"NULL","a \"b\\\","]`, `{{a},{b}}`: `[["a"],["b"]]`, `[0:1]={a,b}`: `["a","b"]`,
		`{a`: "", `a`: "", `{a}}`: "", `{a}{b}`: "", `{"a}`: "", ``: "",
	} {
		got, ok := array(in, texts)
		if ok != (want != "") || ok && string(got) != want {
			t.Errorf("%s: got %s, %t; want %s", in, got, ok, want)
		}
	}
}

// FuzzArray writes arrays as PostgreSQL does, and reads them.
func FuzzArray(f *testing.F) {
	f.Add("a", "NULL", `"\{},`)
	f.Add("", "ü\n", "[1:2]={}")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		_, _ = array(a, texts)
		list := []string{a, b, c}
		in := "{"
		for i, v := range list {
			list[i] = strings.ToValidUTF8(v, "")
			if in += `"` + escape.Replace(list[i]) + `"`; i < 2 {
				in += ","
			}
		}
		out, ok := array(in+"}", texts)
		var got []string
		if err := json.Unmarshal(out, &got); !ok || err != nil || !slices.Equal(got, list) {
			t.Fatalf("%s: got %s, %t", in, out, ok)
		}
	})
}
