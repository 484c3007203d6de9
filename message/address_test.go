package message_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

// vectors reads a file of testdata with one JSON value a line.
func vectors[T any](t *testing.T, name string) []T {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		t.Fatal("no vectors in " + name)
	}
	return all
}

// code checks that err is an *Error with code c and says what to do.
func code(t *testing.T, err error, c message.Code) *message.Error {
	t.Helper()
	var e *message.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want code %s", err, c)
	}
	if e.Code != c || e.Message == "" || e.Hint == "" {
		t.Fatalf("got code %q, message %q, hint %q; want %s with both texts", e.Code, e.Message, e.Hint, c)
	}
	return e
}

func TestAddressVectors(t *testing.T) {
	t.Parallel()
	type vector struct {
		Address string
		Parsed  struct{ Instance, SubID, ServiceName, HTTPMethod, APIRoute, Error string }
	}
	for _, v := range vectors[vector](t, "vectors-address.jsonl") {
		a, err := message.ParseAddress(v.Address)
		want := v.Parsed
		if a.Instance != want.Instance || a.Sub != want.SubID || a.Name != want.ServiceName ||
			a.Method != want.HTTPMethod || a.Route() != want.APIRoute {
			t.Errorf("%q: got %+v, want %+v", v.Address, a, want)
		}
		if (err != nil) != (want.Error != "") {
			t.Errorf("%q: got error %v, want %q", v.Address, err, want.Error)
		}
		if err != nil && code(t, err, message.CodeBadAddress).Message != want.Error {
			t.Errorf("%q: got error %v, want %q", v.Address, err, want.Error)
		}
		if err != nil {
			continue
		}
		if again, err := message.ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q: %q gives %+v, %v; want %+v", v.Address, a.String(), again, err, a)
		}
	}
}

func TestParseStrict(t *testing.T) {
	t.Parallel()
	type addr = message.Address
	for s, want := range map[string]addr{
		"math:/decimal/mul":           {Name: "math", Path: "/decimal/mul"},
		"math:/":                      {Name: "math", Path: "/"},
		"math:/decimal/":              {Name: "math", Path: "/decimal"},
		"*:/decimal/*":                {Name: "*", Path: "/decimal/*"},
		"math:/**":                    {Name: "math", Path: "/**"},
		"*@client:/main":              {Instance: "*", Name: "client", Path: "/main"},
		"7f-s-t@orders:[GET]/v1?q=:/": {Instance: "7f", Sub: "s", Name: "orders", Method: "get", Path: "/v1", Query: "q=:/"},
		"orders:[Get]/v1/?":           {Name: "orders", Method: "get", Path: "/v1"},
		"Math:/A%2f/é/{id}":           {Name: "Math", Path: "/A%2f/é/{id}"},
		"a:/...":                      {Name: "a", Path: "/..."},
		"@b@c:/":                      {Name: "b@c", Path: "/"},
		"a:/b?//../":                  {Name: "a", Path: "/b", Query: "//../"},
		"a:/b:1/c":                    {Name: "a", Path: "/b:1/c"},
		"http:/host/path":             {Name: "http", Path: "/host/path"},
		"https://a.b:8080/c/?q=d:e/":  {Name: "https", Path: "/a.b:8080/c", Query: "q=d:e/"},
		"http://[::1]:80/":            {Name: "http", Path: "/[::1]:80"},
		"https:[GET]/a/b":             {Name: "https", Method: "get", Path: "/a/b"},
		"i@http://a":                  {Instance: "i", Name: "http", Path: "/a"},
		"http://":                     {Name: "http", Path: "/"},
		"http:/*":                     {Name: "http", Path: "/*"},
	} {
		got, err := message.ParseStrict(s)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", s, got, err, want)
		}
	}
}

func TestParseStrictRefuses(t *testing.T) {
	t.Parallel()
	for s, says := range map[string]string{
		"":                        "routable segments",
		"math":                    "routable segments",
		":/x":                     "no name",
		"i@:/x":                   "no name",
		"math:":                   "begin with /",
		"math:x":                  "begin with /",
		"math:?q":                 "begin with /",
		"http-gateway:/x":         "begin with /",
		"httpss:/x":               "begin with /",
		"http:8080/x":             "begin with /",
		"http:":                   "begin with /",
		"http:///x":               "segment 1 of the path is empty",
		"https://a/../b":          `segment 2 of the path is ".."`,
		"https://a//b":            "segment 2 of the path is empty",
		"math:[get/x":             "method",
		"math:[]/x":               "begin with /",
		"math://":                 "segment 1 of the path is empty",
		"math:/a//b":              "segment 2 of the path is empty",
		"math:/a//":               "segment 2 of the path is empty",
		"math:/a/b/../c":          `segment 3 of the path is ".."`,
		"math:/./c":               `segment 1 of the path is "."`,
		"math:/a/..":              `segment 2 of the path is ".."`,
		"math:/a\x00b":            "control character at byte 7",
		"math:/a\u0085":           "control character",
		"math:/a?\n":              "control character",
		"math:/\x7f":              "control character",
		"math:/\xff":              "UTF-8 at byte 6",
		strings.Repeat("a", 1025): "1024",
	} {
		_, err := message.ParseStrict(s)
		if e := code(t, err, message.CodeBadAddress); !strings.Contains(e.Message, says) {
			t.Errorf("%.40q: got %q, want something with %q", s, e.Message, says)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "PUT", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "Trace"} {
		a, err := message.ParseStrictBytes([]byte("orders:[" + method + "]/"))
		if err != nil || a.Method != strings.ToLower(method) {
			t.Errorf("%s: got %+v, %v", method, a, err)
		}
	}
}

func TestHasWildcard(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"*:/decimal/mul":  true,
		"math:/decimal/*": true,
		"math:/*/mul":     true,
		"math:/**":        true,
		"math:/a*":        false,
		"*@client:/":      false,
		"math:/x?q=/*":    false,
	} {
		a, err := message.ParseStrict(s)
		if err != nil || a.HasWildcard() != want {
			t.Errorf("%q: got %v, %v; want %v", s, a.HasWildcard(), err, want)
		}
	}
}

func TestAddressText(t *testing.T) {
	t.Parallel()
	const text = `"7f-s@orders:[get]/v1?q=1"`
	var a message.Address
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(a); err != nil || string(out) != text {
		t.Errorf("got %s, %v; want %s", out, err, text)
	}
	code(t, a.UnmarshalText([]byte("nonsense")), message.CodeBadAddress)
}

func TestParseStrictAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under -race")
	}
	for _, s := range []string{"7f-s@orders:[GET]/v1/é/?q=1", "math:/decimal/mul"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = message.ParseStrict(s) }); n != 0 {
			t.Errorf("%q: %v allocations", s, n)
		}
	}
}

func FuzzParseStrict(f *testing.F) {
	for _, s := range []string{
		"math:/decimal/mul", "7f-s@orders:[get]/v1/x?q=1", "@b@c:/", "http://host/path:[get]/x", "https:/a:1//", "http:[get]//a", "a:[b:c]/d/", "-@x:[]/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := message.ParseAddress(s); err == nil {
			if again, err := message.ParseAddress(a.String()); err != nil || again != a {
				t.Errorf("UMF: %q is %+v, again %+v, %v", s, a, again, err)
			}
		}
		a, err := message.ParseStrict(s)
		if err != nil {
			code(t, err, message.CodeBadAddress)
			return
		}
		if again, err := message.ParseStrict(a.String()); err != nil || again != a {
			t.Errorf("%q is %+v, again %+v, %v", s, a, again, err)
		}
		if a.Name == "" || a.Path[0] != '/' || strings.Contains(a.Path+"/", "//") && a.Path != "/" {
			t.Errorf("%q is %+v", s, a)
		}
	})
}
