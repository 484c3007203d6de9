package doctest_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/internal/doctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fence = "```"

func TestParse(t *testing.T) {
	t.Parallel()
	page := strings.ReplaceAll(`# Page
<!-- run: ropewalk dev demo -->
'''console unordered
$ ropewalk call a:/b \
> '{}'
{"type":"reply"}
$ true
'''
'''go file=shop/main.go
package main
'''
'''go
not run
'''
<!-- stop: ropewalk dev -->
<!-- kill: ropewalk hello -->
`, "'''", fence)
	got, err := doctest.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	want := []doctest.Block{
		{Kind: doctest.Background, Line: 2, Commands: []doctest.Command{{Line: "ropewalk dev demo"}}},
		{
			Kind: doctest.Session, Line: 3, Lang: "console", Unordered: true, Text: got[1].Text,
			Commands: []doctest.Command{{Line: "ropewalk call a:/b \\\n'{}'", Output: "{\"type\":\"reply\"}\n"}, {Line: "true"}},
		},
		{Kind: doctest.File, Line: 9, Lang: "go", Name: "shop/main.go", Text: "package main\n"},
		{Kind: doctest.Stop, Line: 15, Text: "ropewalk dev"},
		{Kind: doctest.Kill, Line: 16, Text: "ropewalk hello"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{
		"no end":          fence + "console\n$ true\n",
		"output at first": fence + "console\ntrue\n" + fence + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if b, err := doctest.Parse(page); err == nil {
				t.Errorf("got %+v, want an error", b)
			}
		})
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want, got string
		unordered       bool
		same            bool
	}{
		{name: "ok", want: "a b\n", got: "a    b \n\n", same: true},
		{name: "nothing shown", want: "", got: "x", same: true},
		{name: "times and ids", want: "dbnbzzoquns… 1s 127.0.0.1:4", got: "qqqqqqqqqqqqq 2.5s 127.0.0.1:5", same: true},
		{name: "part of a line", want: "a … c", got: "a b c", same: true},
		{name: "lines", want: "a\n…\nd", got: "a\nb\nc\nd", same: true},
		{name: "order", want: "a\nb", got: "b\na", unordered: true, same: true},
		{name: "too much", want: "a", got: "a\nb"},
		{name: "too little", want: "a\nb", got: "a"},
		{name: "other", want: `{"body":10}`, got: `{"body":11}`},
		{name: "a dot is a dot", want: "a.b", got: "axb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := doctest.Same(c.want, c.got, c.unordered); got != c.same {
				t.Errorf("Same(%q, %q) = %v", c.want, c.got, got)
			}
		})
	}
	if !doctest.Begins("a", "a\nb") || doctest.Begins("b", "a\nb") {
		t.Error("Begins compares something else than the beginning")
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	term, err := doctest.NewTerminal(t.TempDir(), []string{"PATH=/usr/bin:/bin"})
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{line: "echo out; echo err >&2", want: "out\nerr\n"},
		{line: "x=1; cd /", want: ""},
		{line: "echo $x $PWD", want: "1 /\n"},
		{line: "(exit 3)", code: 3},
		{line: "echo $?", want: "3\n"},
		{line: "cat", want: ""},
		{line: "cat <<E\nlines\nE", want: "lines\n"},
		{line: "printf 'no newline'", want: "no newline"},
	} {
		got, code, err := term.Run(c.line)
		if err != nil || got != c.want || code != c.code {
			t.Errorf("%s: got %q, %d, %v; want %q, %d", c.line, got, code, err, c.want, c.code)
		}
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	p, err := doctest.Start(t.TempDir(), []string{"PATH=/usr/bin:/bin"}, "echo up; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	isUp := func(out string) bool { return out == "up\n" }
	if out, err := p.Wait(time.Minute, isUp); err != nil {
		t.Errorf("%v, after %q", err, out)
	}
	p.Stop()
	if _, err := p.Wait(time.Minute, func(string) bool { return false }); err == nil {
		t.Error("Wait did not see that the process ended")
	}
}
