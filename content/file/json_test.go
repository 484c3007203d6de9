package file_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

func TestJSONIsCompact(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.JSON()
	for name, c := range map[string]struct{ text, want string }{
		"plain.json":     {"{ \"b\" : [1.50, null],\n \"a\": \"<\\u00e4>\" }\n", `{"b":[1.50,null],"a":"<\u00e4>"}`},
		"bom.json":       {"\ufeff[1]", `[1]`},
		"comments.jsonc": {"// top\n{/* a */\"a\": \"// no /* comment\", // end\n\"b\":[1,2,],} // last", `{"a":"// no /* comment","b":[1,2]}`},
		"same.json":      {`[{"a":1},{"a":{"a":2}}]`, `[{"a":1},{"a":{"a":2}}]`},
		"big.json":       {`12345678901234567890.123`, `12345678901234567890.123`},
	} {
		put(t, dir, name, c.text)
		got, err := get(t, p, request("/"+name))
		if err != nil || string(got.Body) != c.want || got.ContentType != "" {
			t.Errorf("%s: %s %q, %v, want %s", name, got.Body, got.ContentType, err, c.want)
		}
	}
}

func TestBrokenJSONSaysWhere(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.JSON()
	for name, c := range map[string]struct {
		text         string
		line, column int
		problem      string
	}{
		"comma.json":      {"{\n  \"a\": 1,\n  \"ä\" 2\n}", 3, 7, "invalid character"},
		"end.json":        {"[1,\n2", 2, 2, "ends too early"},
		"empty.json":      {"", 1, 1, "empty"},
		"blank.jsonc":     {" \n", 2, 1, "empty"},
		"two.json":        {"1 2", 1, 3, "invalid character"},
		"comment.json":    {"// no\n1", 1, 1, "invalid character"},
		"trailing.json":   {"[1,]", 1, 4, "invalid character"},
		"twice.json":      {"{\"a\":1,\n \"b\":2, \"\\u0061\":3}", 2, 9, `"a" is here for the second time`},
		"twice.jsonc":     {"{\"a\":1, // b\n /* c */ \"a\":3}", 2, 10, "second time"},
		"latin.json":      {"[1,\n \"\xe4\"]", 2, 3, "not UTF-8"},
		"open.jsonc":      {"{\"a\": /* 1}", 1, 7, ""},
		"deep.json":       {strings.Repeat("[", 100_000), 1, 513, "more than 512 brackets"},
		"deep.jsonc":      {strings.Repeat("[", 100_000), 1, 513, "more than 512 brackets"},
		"deepkeys.jsonc":  {strings.Repeat(`{"a":`, 600), 1, 513*5 - 4, "more than 512 brackets"},
		"deepquote.jsonc": {`// " ` + "\n" + strings.Repeat("[", 600), 2, 513, "more than 512 brackets"},
	} {
		put(t, dir, name, c.text)
		_, err := get(t, p, request("/"+name))
		e := fails(t, err, message.CodeBadContent, dir)
		var at struct {
			Line    int    `json:"line"`
			Column  int    `json:"column"`
			Problem string `json:"problem"`
		}
		if err := json.Unmarshal(e.Details, &at); err != nil {
			t.Fatal(err)
		}
		if at.Line != c.line || at.Column != c.column || !strings.Contains(at.Problem, c.problem) {
			t.Errorf("%s: %+v, want %d:%d %s", name, at, c.line, c.column, c.problem)
		}
	}
}

func TestJSONHasItsExtensions(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.JSON()
	put(t, dir, "a.txt", "1")
	for _, name := range []string{"/a.txt", "/a", "/a.json5", "/a.JSON"} {
		_, err := get(t, p, request(name))
		if e := fails(t, err, message.CodeNotFound, dir); !strings.Contains(e.Hint, "file:") {
			t.Errorf("%s: the hint is %s", name, e.Hint)
		}
		_, err = publish(t.Context(), p, name, "", "1")
		fails(t, err, message.CodeNotFound, dir)
	}
}

func TestPublishedJSONIsReadable(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.JSON()
	got, err := publish(t.Context(), p, "/a.json", "", `{"b":[1,{}],"a":"ä<"}`)
	if err != nil || string(got.Body) != `{"path":"/a.json","created":true}` {
		t.Fatal(string(got.Body), err)
	}
	if want := "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": \"ä<\"\n}\n"; text(t, dir, "a.json") != want {
		t.Errorf("it is\n%s", text(t, dir, "a.json"))
	}
	for _, body := range []string{"", "{", `{"a":1,"a":2}`, "1 2", "// a\n1", "\"\xff\"", strings.Repeat("[", 600) + strings.Repeat("]", 600)} {
		_, err := publish(t.Context(), p, "/a.json", "", body)
		fails(t, err, message.CodeInvalidInput, dir)
	}
	r := request("/a.json")
	_, err = p.(content.Publisher).Publish(t.Context(), r, content.Content{Body: []byte("1"), ContentType: "text/plain"})
	fails(t, err, message.CodeInvalidInput, dir)
	if !strings.HasPrefix(text(t, dir, "a.json"), "{") {
		t.Error("bad input was written")
	}
}

func TestCommentsAreKept(t *testing.T) {
	t.Parallel()
	tr, dir := tree(t, file.Settings{})
	p := tr.JSON()
	for _, c := range []struct{ name, old, publish, want string }{
		{
			"a value", "// top\n{\n    // the a\n    \"a\": 1, // one\n    \"b\": [1, 2], /* two */\n}\n// end\n", `{"a":2,"b":[1,2]}`,
			"// top\n{\n    // the a\n    \"a\": 2, // one\n    \"b\": [1, 2], /* two */\n}\n// end\n",
		},
		{"a new key", "{\n  // the a\n  \"a\": 1\n}", `{"a":1,"b":{"c":[]}}`, "{\n  // the a\n  \"a\": 1,\n  \"b\": {\n    \"c\": []\n  }\n}\n"},
		{"a key less", "{\n  // the a\n  \"a\": 1,\n  // the b\n  \"b\": 2\n}", `{"b":2}`, "{\n  // the b\n  \"b\": 2\n}\n"},
		{"another order", "{\n  // a\n  \"a\": 1,\n  // b\n  \"b\": 2\n}", `{"b":2,"a":1}`, "{\n  // b\n  \"b\": 2,\n  // a\n  \"a\": 1\n}\n"},
		{"an element", "[\n  // x\n  \"x\",\n  // y\n  \"y\"\n]", `["x","z","y"]`, "[\n  // x\n  \"x\",\n  \"z\",\n  // y\n  \"y\"\n]\n"},
		{"within", "{\"a\": {\n  // deep\n  \"b\": 1}}", `{"a":{"b":[true]}}`, "{\"a\": {\n  // deep\n  \"b\": [\n      true\n    ]}}\n"},
		{"filled", "{\n  // nothing\n}", `{"a":1}`, "{\n  \"a\": 1\n  // nothing\n\n}\n"},
		{"emptied", "[1, 2] // list", `[]`, "[] // list\n"},
		{"another kind", "// top\n{\"a\": 1}", `[1]`, "// top\n[\n  1\n]\n"},
		{"broken", "{ // no", `{"a":1}`, "{\n  \"a\": 1\n}\n"},
		{"nothing", "", `1`, "1\n"},
	} {
		put(t, dir, "a.jsonc", c.old)
		if _, err := publish(t.Context(), p, "/a.jsonc", "", c.publish); err != nil {
			t.Fatal(err)
		}
		if got := text(t, dir, "a.jsonc"); got != c.want {
			t.Errorf("%s: it is\n%s\nwant\n%s", c.name, got, c.want)
		}
		got, err := get(t, p, request("/a.jsonc"))
		if err != nil || string(got.Body) != c.publish {
			t.Errorf("%s: %s, %v", c.name, got.Body, err)
		}
	}
}

// FuzzJSON publishes JSON over whatever there is: either it is refused or it is
// what is got, and old text never breaks anything.
func FuzzJSON(f *testing.F) {
	f.Add([]byte("// a\n{\"a\":1,/*b*/\"b\":[1,2,],}"), []byte(`{"b":[2],"c":{}}`))
	f.Add([]byte("[[1,//x\n],2]"), []byte(`[[],[2],{}]`))
	f.Add([]byte(`{"a":1,"a":2}`), []byte(`{"a":1,"\u0061":2}`))
	f.Add([]byte("{}// x"), []byte(`{"a":{}}`))
	f.Add([]byte("\"\\"), []byte(`"\ud800"`))
	tr, dir := tree(f, file.Settings{})
	p := tr.JSON()
	f.Fuzz(func(t *testing.T, old, next []byte) {
		for _, name := range []string{"a.json", "a.jsonc"} {
			put(t, dir, name, string(old))
			if c, err := get(t, p, request("/"+name)); err == nil && !message.ValidJSON(c.Body) {
				t.Fatalf("%q is taken for JSON", c.Body)
			} else if err != nil {
				fails(t, err, message.CodeBadContent, dir)
			} else if name == "a.json" && !json.Valid([]byte(strings.TrimPrefix(string(old), "\ufeff"))) {
				t.Fatalf("%q is taken for JSON", old)
			}
			if len(next) == 0 {
				continue
			}
			if _, err := publish(t.Context(), p, "/"+name, "", string(next)); err != nil {
				fails(t, err, message.CodeInvalidInput, dir)
				if text(t, dir, name) != string(old) {
					t.Fatal("something was written although it was refused")
				}
				continue
			}
			c, err := get(t, p, request("/"+name))
			if err != nil {
				t.Fatalf("what was published cannot be read: %v\n%s", err, text(t, dir, name))
			}
			var a, b any
			if json.Unmarshal(c.Body, &a) != nil || json.Unmarshal(next, &b) != nil || !sameJSON(a, b) {
				t.Fatalf("%s was published, %s is got", next, c.Body)
			}
		}
	})
}

func sameJSON(a, b any) bool {
	return reflect.DeepEqual(a, b)
}
