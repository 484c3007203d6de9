package route_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func TestParsePattern(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("/a", route.MaxPatternSegments)
	for in, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a", "/decimal/mul": "/decimal/mul", "/users/{id}/cart": "/users/{id}/cart",
		"/{größe}/*/**": "/{größe}/*/**", "/**": "/**", "/**/": "/**", "/a@b/[get]/%2f": "/a@b/[get]/%2f",
		"/日本/ü": "/日本/ü", "/a-b_c.d~": "/a-b_c.d~", "/...": "/...", deep: deep,
	} {
		p, err := route.ParsePattern(in)
		if err != nil || p.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, p, err, want)
		}
		if again, err := route.ParsePattern(p.String()); err != nil || again.String() != p.String() || !again.Equal(p) {
			t.Errorf("%q: read again %q, %v", in, again, err)
		}
	}
}

func TestParsePatternRefuses(t *testing.T) {
	t.Parallel()
	for in, names := range map[string]string{
		"":                              "begin with /",
		"decimal":                       "begin with /",
		"//":                            "empty segment",
		"/a//b":                         "empty segment",
		"/a//":                          "empty segment",
		"/a/./b":                        "segment .",
		"/a/..":                         "segment ..",
		"/a\x00":                        "U+0000",
		"/a\u0085b":                     "U+0085",
		"/a\xff":                        "UTF-8",
		"/a:b":                          "':'",
		"/a?q=1":                        "'?'",
		"/a*":                           `"a*"`,
		"/***":                          `"***"`,
		"/**/a":                         "last",
		"/{id":                          `"{id"`,
		"/id}":                          `"id}"`,
		"/{id}x":                        `"{id}x"`,
		"/{}":                           "parameter",
		"/{a b}":                        "parameter",
		"/{{a}}":                        "parameter",
		"/{a}/b/{a}":                    "twice",
		strings.Repeat("/a", 65):        "64 segments",
		"/" + strings.Repeat("a", 1024): "1024 bytes",
	} {
		_, err := route.ParsePattern(in)
		wantError(t, err, message.CodeBadAddress, ".")
		if !strings.Contains(message.AsError(err).Message, names) {
			t.Errorf("%q: message %q does not say %q", in, message.AsError(err).Message, names)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("MustPattern did not panic")
		}
	}()
	route.MustPattern("x")
}

func TestPatternMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, path, params string
		ok                    bool
	}{
		{"/", "/", "", true},
		{"/a/b", "/a/b", "", true},
		{"/a/b", "/a/b/", "", true},
		{"/a/{x}/c/{y}", "/a/1/c/2", "x=1 y=2", true},
		{"/a/*", "/a/1", "", true},
		{"/a/**", "/a/1", "**=1", true},
		{"/{x}/**", "/a/b/c", "x=a **=b/c", true},
		{"/{x}", "/%2f", "x=%2f", true},
		{"/", "/a", "", false},
		{"/a", "/A", "", false},
		{"/a/b", "/a", "", false},
		{"/a", "/a/b", "", false},
		{"/a/**", "/a", "", false},
		{"/a/**", "/a/", "", false},
		{"/a/**", "/a/b//c", "", false},
		{"/a/{x}", "/a//", "", false},
		{"/{x}", "//", "", false},
		{"/{x}", "x", "", false},
		{"/", "", "", false},
	} {
		p, ok := route.MustPattern(tt.pattern).Match(tt.path)
		if ok != tt.ok || params(p) != tt.params {
			t.Errorf("%s matches %q: %v with %q; want %v with %q", tt.pattern, tt.path, ok, params(p), tt.ok, tt.params)
		}
	}
	if _, ok := (route.Pattern{}).Match("/"); ok {
		t.Error("the zero Pattern matches")
	}
}

func TestPatternSpecificity(t *testing.T) {
	t.Parallel()
	order := []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/{x}", "/a/b/**", "/a/{x}", "/a/{x}/c", "/a/*/**", "/a/**", "/b", "/{x}", "/{x}/b", "/*/{y}", "/**"}
	got := make([]route.Pattern, len(order))
	for i, s := range order {
		got[i] = route.MustPattern(s)
	}
	slices.Reverse(got)
	slices.SortFunc(got, route.Pattern.Compare)
	for i, p := range got {
		if p.String() != order[i] {
			t.Fatalf("place %d is %s, want %s", i, p, order[i])
		}
	}
	a, b := route.MustPattern("/{a}/x"), route.MustPattern("/*/x")
	if a.Compare(b) != 0 || !a.Equal(b) || a.Equal(route.MustPattern("/{a}")) {
		t.Error("{a} and * must be the same")
	}
}

func TestPatternCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"/", "/", true}, {"/", "/a", false}, {"/a", "/", false}, {"/**", "/", false}, {"/**", "/a", true}, {"/**", "/**", true},
		{"/a/**", "/a", false}, {"/a/**", "/a/b", true}, {"/a/**", "/a/{x}/c", true}, {"/a/**", "/**", false}, {"/a/**", "/{x}/b", false},
		{"/a/*", "/a/b", true}, {"/a/*", "/a/{x}", true}, {"/a/{x}", "/a/*", true}, {"/a/*", "/a/**", false}, {"/a/*", "/a/b/c", false},
		{"/a/b", "/a/*", false}, {"/a/b", "/a/b", true}, {"/a/b", "/a/b/c", false}, {"/{x}/b/**", "/a/b/c/d", true},
	} {
		if got := route.MustPattern(c.p).Covers(route.MustPattern(c.q)); got != c.want {
			t.Errorf("%s covers %s: %v", c.p, c.q, got)
		}
	}
	if p := (route.Pattern{}); p.Covers(p) || p.Covers(route.MustPattern("/a")) || route.MustPattern("/**").Covers(p) {
		t.Error("the zero pattern matches something")
	}
}

func TestPatternText(t *testing.T) {
	t.Parallel()
	var v struct{ P route.Pattern }
	if err := json.Unmarshal([]byte(`{"P":"/a/{b}/**"}`), &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil || string(out) != `{"P":"/a/{b}/**"}` {
		t.Errorf("%s, %v", out, err)
	}
	if names := slices.Collect(v.P.Names()); !slices.Equal(names, []string{"b", "**"}) {
		t.Errorf("names %v", names)
	}
	wantError(t, json.Unmarshal([]byte(`{"P":"a"}`), &v), message.CodeBadAddress, "")
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"/", "/a/{b}/*/**", "/{ü}/日本", "//", "/a/../b", "/{a}/{a}", "/\x00", "/a?b"} {
		f.Add(s, "/a/b/c/d")
	}
	f.Fuzz(func(t *testing.T, s, path string) {
		p, err := route.ParsePattern(s)
		if err != nil {
			if e := message.AsError(err); e.Code != message.CodeBadAddress || e.Hint == "" {
				t.Fatalf("%q: %+v", s, e)
			}
			return
		}
		again, err := route.ParsePattern(p.String())
		if err != nil || !again.Equal(p) || again.String() != p.String() || p.Compare(again) != 0 {
			t.Fatalf("%q: read again %q, %v", s, again, err)
		}
		// What matches a pattern alone is found in a table of only it.
		table := route.NewTable()
		serve(t, table, &server{id: "a"}, "s", s)
		m, err := table.Lookup(message.Address{Name: "s", Path: path})
		if ps, ok := p.Match(path); ok != (err == nil) {
			if path != "" { // in an address no path at all is the root
				t.Fatalf("%q matches %q: %v, look-up: %v", s, path, ok, err)
			}
		} else if ok && params(ps) != params(m.Params) {
			t.Fatalf("%q and %q: %q, %q", s, path, params(ps), params(m.Params))
		}
	})
}
