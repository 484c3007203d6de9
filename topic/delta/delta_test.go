package delta_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/topic/delta"
)

// fataler is what helpers need of a test, of package rapid too.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// value decodes JSON by the standard library, numbers as they are written.
func value(t fataler, b []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

// RFC 7396, appendix A, and more.
var mergeVectors = []struct{ content, patch, result string }{
	{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
	{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
	{`{"a":"b"}`, `{"a":null}`, `{}`},
	{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
	{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
	{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
	{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
	{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
	{`["a","b"]`, `["c","d"]`, `["c","d"]`},
	{`{"a":"b"}`, `["c"]`, `["c"]`},
	{`{"a":"foo"}`, `null`, `null`},
	{`{"a":"foo"}`, `"bar"`, `"bar"`},
	{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
	{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
	{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	{`{"a":1}`, `{"\u0061":2}`, `{"a":2}`},
	{`{"a":12345678901234567890.10}`, `{"b":1e400}`, `{"a":12345678901234567890.10,"b":1e400}`},
	{`{"a":[null]}`, `{"b":[null,{"c":null}]}`, `{"a":[null],"b":[null,{"c":null}]}`},
}

func TestApplyMerge(t *testing.T) {
	t.Parallel()
	for _, v := range mergeVectors {
		got, err := delta.ApplyMerge([]byte(v.content), []byte(v.patch))
		if err != nil || string(got) != strings.ReplaceAll(v.result, " ", "") {
			t.Errorf("%s + %s: got %s, %v; want %s", v.content, v.patch, got, err, v.result)
		}
	}
}

// RFC 6902, appendix A, and more. An empty result is an error.
var patchVectors = []struct{ content, patch, result string }{
	{`{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"foo":"bar","baz":"qux"}`},
	{`{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`},
	{`{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`},
	{`{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`},
	{`{"baz":"qux","foo":"bar"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo","foo":"bar"}`},
	{
		`{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`,
		`[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`,
		`{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`,
	},
	{`{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`},
	{
		`{"baz":"qux","foo":["a",2,"c"]}`,
		`[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]`,
		`{"baz":"qux","foo":["a",2,"c"]}`,
	},
	{`{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, ``},
	{`{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"foo":"bar","child":{"grandchild":{}}}`},
	{`{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","xyz":123}]`, `{"foo":"bar","baz":"qux"}`},
	{`{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, ``},
	{`{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","op":"remove"}]`, ``},
	{`{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10}]`, `{"/":9,"~1":10}`},
	{`{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":"10"}]`, ``},
	{`{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`},

	{`[1,2]`, `[]`, `[1,2]`},
	{`[1,2]`, `[{"op":"replace","path":"","value":{"a":1}},{"op":"add","path":"/b","value":2}]`, `{"a":1,"b":2}`},
	{`[1,2]`, `[{"op":"add","path":"","value":3}]`, `3`},
	{`[1,2]`, `[{"op":"remove","path":""}]`, ``},
	{`[1,2]`, `[{"op":"add","path":"/3","value":1}]`, ``},
	{`[1,2]`, `[{"op":"replace","path":"/2","value":1}]`, ``},
	{`[1,2]`, `[{"op":"replace","path":"/-","value":1}]`, ``},
	{`[1,2]`, `[{"op":"replace","path":"/01","value":1}]`, ``},
	{`[1,2]`, `[{"op":"remove","path":"/1e0"}]`, ``},
	{`[1,2]`, `[{"op":"remove","path":"1"}]`, ``},
	{`{"a":1}`, `[{"op":"remove","path":"/~2"}]`, ``},
	{`{"a":1}`, `[{"op":"remove","path":"/a~"}]`, ``},
	{`{"a":1}`, `[{"op":"copy","path":"/b","from":"/a"},{"op":"add","path":"/a","value":2}]`, `{"a":2,"b":1}`},
	{`{"a":{"b":1}}`, `[{"op":"add","path":"/a/c","value":2},{"op":"copy","path":"/d","from":"/a"},{"op":"remove","path":"/a/b"}]`, `{"a":{"c":2},"d":{"b":1,"c":2}}`},
	{`{"a":{"b":1}}`, `[{"op":"move","path":"/a/b/c","from":"/a"}]`, ``},
	{`{"a":{"b":1}}`, `[{"op":"move","path":"/a","from":"/a"}]`, `{"a":{"b":1}}`},
	{`{"a":{"b":1}}`, `[{"op":"move","path":"/a","from":"/a/b"}]`, `{"a":1}`},
	{`{"a":1.50}`, `[{"op":"test","path":"/a","value":15e-1},{"op":"test","path":"","value":{"a":0.0015e3}}]`, `{"a":1.50}`},
	{`{"a":-0}`, `[{"op":"test","path":"/a","value":0.0e7}]`, `{"a":-0}`},
	{`{"a":1e99999999999999999999}`, `[{"op":"test","path":"/a","value":10e99999999999999999998}]`, ``},
	{`{"a":[1],"b":"\u00e9"}`, `[{"op":"add","path":"/a/0","value":0},{"op":"test","path":"","value":{"b":"é","a":[0,1.0]}}]`, `{"a":[0,1],"b":"\u00e9"}`},
	{`{"":{"":1}}`, `[{"op":"replace","path":"//","value":2}]`, `{"":{"":2}}`},
	{`{"a\"\n\\":1}`, `[{"op":"add","path":"/\"\n","value":2},{"op":"remove","path":"/a\"\n\\"}]`, `{"\"\u000a":2}`},
	{`{}`, `[{"op":"add","path":"/\ud800x","value":2}]`, `{"\ud800x":2}`},
	{`{"\ud800":1,"\ud801":2}`, `[{"op":"replace","path":"/\ud801","value":3}]`, `{"\ud800":1,"\ud801":3}`},
	{`{"a":1}`, `[{"op":"remove","path":"/a"},{"op":"add","path":"/a","value":2}]`, `{"a":2}`},
	{`{"a":1}`, `[{"op":"remove","path":"/a"},{"op":"remove","path":"/a"}]`, ``},
	{`{}`, `{}`, ``},
	{`{}`, `[1]`, ``},
	{`{}`, `[{"op":"jump","path":""}]`, ``},
	{`{}`, `[{"op":"add","value":1}]`, ``},
	{`{}`, `[{"op":"add","path":"/a"}]`, ``},
	{`{}`, `[{"op":"copy","path":"/a"}]`, ``},
	{`{}`, `[{"op":"copy","path":"/a","from":"/b"}]`, ``},
	{`{}`, `[{"op":"move","path":"/a","from":"/b"}]`, ``},
}

func TestApplyPatch(t *testing.T) {
	t.Parallel()
	for _, v := range patchVectors {
		got, err := delta.ApplyPatch([]byte(v.content), []byte(v.patch))
		if v.result == "" {
			if err == nil || !errors.Is(err, delta.ErrInvalid) && !errors.Is(err, delta.ErrMismatch) {
				t.Errorf("%s + %s: got %s, %v", v.content, v.patch, got, err)
			}
			continue
		}
		if err != nil || string(got) != v.result {
			t.Errorf("%s + %s: got %s, %v; want %s", v.content, v.patch, got, err, v.result)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after, patch string }{
		{`{"a":1,"b":"long enough"}`, `{"a":2,"b":"long enough"}`, `{"a":2}`},
		{`{"a":1,"b":"long enough"}`, `{"b":"long enough"}`, `{"a":null}`},
		{`{"a":{"b":[1,2],"c":3},"d":"xxx"}`, `{"d":"xxx","a":{"b":[1,2],"c":4}}`, `{"a":{"c":4}}`},
		{`{"a":{"b":1},"d":"xxxxx"}`, `{"a":{"\u0062":1},"d":"xxxxx"}`, `{}`},
		{`{"a":[{"b":1,"c":2}],"d":"x"}`, `{"a":[{"c":2,"b":1}],"d":"x"}`, `{}`},
		{`{"a":{"x":1},"b":"long enough"}`, `{"a":{},"b":"long enough"}`, `{"a":{"x":null}}`},
		{`{"b":"long enough"}`, `{"a":[null],"b":"long enough"}`, `{"a":[null]}`},
		{`{"n":null,"a":1,"b":"long"}`, `{"n":null,"a":2,"b":"long"}`, `{"a":2}`},
		{`{"a":1,"b":"long"}`, `{"a":1.0,"b":"long"}`, `{"a":1.0}`},

		{`{"a":1,"b":"long enough"}`, `{"a":null,"b":"long enough"}`, ``},
		{`{"b":"long enough, is it not"}`, `{"a":{"x":null},"b":"long enough, is it not"}`, ``},
		{`{"a":1}`, `{"b":2}`, ``},
		{`[1]`, `[1,2,3,4,5,6,7]`, ``},
		{`{"a":1,"a":2,"b":"long enough"}`, `{"a":2,"b":"long enough"}`, ``},
		{`nonsense`, `{}`, ``},
		{`{}`, `nonsense`, ``},
	} {
		got, ok := delta.Merge([]byte(c.before), []byte(c.after))
		if string(got) != c.patch || ok != (c.patch != "") {
			t.Errorf("%s to %s: got %s, %v; want %s", c.before, c.after, got, ok, c.patch)
		}
	}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("x", 100) + `"`
	for _, c := range []struct{ before, after, patch string }{
		{`{"a":1,"l":L}`, `{"a":2,"l":L}`, `[{"op":"replace","path":"/a","value":2}]`},
		{`{"a":1,"l":L}`, `{"a":null,"l":L}`, `[{"op":"replace","path":"/a","value":null}]`},
		{`{"a/~":1,"l":L}`, `{"l":L}`, `[{"op":"remove","path":"/a~1~0"}]`},
		{`{"\"":1,"l":L}`, `{"l":L}`, `[{"op":"remove","path":"/\""}]`},
		{`[1,2,L]`, `[1,3,L]`, `[{"op":"replace","path":"/1","value":3}]`},
		{`[L]`, `[0,L]`, `[{"op":"add","path":"/0","value":0}]`},
		{`[L,1]`, `[L]`, `[{"op":"remove","path":"/1"}]`},
		{`[1,2,3,L,5,L]`, `[2,3,4,L,L,6]`, `[{"op":"remove","path":"/0"},{"op":"add","path":"/2","value":4},` +
			`{"op":"remove","path":"/4"},{"op":"add","path":"/5","value":6}]`},
		{`[{"a":{"b":1},"l":L},L]`, `[{"a":{"b":2},"l":L},L]`, `[{"op":"replace","path":"/0/a/b","value":2}]`},
		{`{"a":{"b":1,"c":2},"l":L}`, `{"l":L,"a":{"b":3,"c":4}}`, `[{"op":"replace","path":"/a","value":{"b":3,"c":4}}]`},
		{`{"a":"\u00e9","l":L}`, `{"a":"é","l":L}`, `[]`},
		{`{"a":1}`, `{"a":2}`, ``},
		{`{"a":1}`, `[1]`, ``},
		{`1`, `2`, ``},
	} {
		before, after := strings.ReplaceAll(c.before, "L", long), strings.ReplaceAll(c.after, "L", long)
		got, ok := delta.Patch([]byte(before), []byte(after))
		if c.patch == "" {
			if ok {
				t.Errorf("%s to %s: got %s", c.before, c.after, got)
			}
			continue
		}
		// A patch for the second long string of the fifth kind may be longer than
		// the content; then there is none.
		if !ok || string(got) != c.patch {
			t.Errorf("%s to %s: got %s, %v; want %s", c.before, c.after, got, ok, c.patch)
		}
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	content := []byte(`[{"id":1}]`)
	for cty, change := range map[string]string{
		delta.MergeType: `[]`,
		delta.PatchType: `[{"op":"remove","path":"/0"}]`,
		delta.RowsType:  `{"key":"id","remove":[1]}`,
	} {
		got, err := delta.Apply(cty, content, []byte(change))
		if err != nil || string(got) != `[]` || !delta.IsChange(cty) {
			t.Errorf("%s: got %s, %v", cty, got, err)
		}
	}
	if _, err := delta.Apply("text/plain", content, nil); !errors.Is(err, delta.ErrInvalid) || delta.IsChange("") {
		t.Errorf("got %v", err)
	}
}
