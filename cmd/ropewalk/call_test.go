package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestCall(t *testing.T) {
	t.Parallel()
	url := node(t)
	file := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(file, []byte("{\n\t\"a\": 3,\n\t\"b\": 4\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(filepath.Dir(file), "broken.json")
	put(t, filepath.Dir(file), "broken.json", `{"a":}`)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, tt := range []struct {
		name  string
		args  []string
		stdin string
		code  int
		out   string // exactly, if it ends with a line break; else the beginning
		err   []string
	}{
		{"reply", []string{"math:/decimal/mul", `{"a":2,"b":5}`}, "", exitOK, `{"type":"reply","body":10}` + "\n", nil},
		{"parts", []string{"echo:/parts?n=2", `{"x":"<&>"}`}, "", exitOK, strings.Repeat(`{"type":"part","body":{"x":"<&>"}}`+"\n", 2) + `{"type":"reply","body":{"x":"<&>"}}` + "\n", nil},
		{"no body", []string{"echo:/"}, "", exitOK, `{"type":"reply"}` + "\n", nil},
		{"null", []string{"echo:/", "null"}, "", exitOK, `{"type":"reply","body":null}` + "\n", nil},
		{"large number", []string{"echo:/", "12345678901234567890.10"}, "", exitOK, `{"type":"reply","body":12345678901234567890.10}` + "\n", nil},
		{"stdin", []string{"text:/up", "-"}, `"shout"` + "\n", exitOK, `{"type":"reply","body":"SHOUT"}` + "\n", nil},
		{"file", []string{"math:/decimal/add", "@" + file}, "", exitOK, `{"type":"reply","body":7}` + "\n", nil},
		{"content type", []string{"echo:/", "hello", "--content-type", "text/plain"}, "", exitOK, `{"type":"reply","contentType":"text/plain","body":"aGVsbG8="}` + "\n", nil},
		{"raw", []string{"echo:/parts?n=1", "hello\n", "--content-type", "text/plain", "--raw"}, "", exitOK, "hello\n", nil},
		{"strategy", []string{"math:/decimal/mul", `{"a":1,"b":1}`, "--strategy", `{"by":"sticky","key":"k"}`}, "", exitOK, `{"type":"reply","body":1}` + "\n", nil},
		{"options", []string{"echo:/", "1", "--header", "a=b=c", "--header", "d=e,f", "--timeout", "5s", "--idempotent", "--authorization", "t"}, "", exitOK, `{"type":"reply","body":1}` + "\n", nil},
		{"error", []string{"math:/decimal/div", `{"a":1,"b":0}`}, "", exitFailed, `{"type":"error","error":{"code":"invalid_input","message":"there is no such number for 1 and 0","hint":`, []string{"error: there is no such number", "(invalid_input)\n  Take smaller"}},
		{"nobody", []string{"math:/decimal/mull", `{"a":1,"b":0}`}, "", exitFailed, `{"type":"error","error":{"code":"n`, []string{"math:/decimal/mul"}},
		{"bad address", []string{"math:x"}, "", exitFailed, `{"type":"error","error":{"code":"bad_address"`, []string{"(bad_address)"}},
		{"no colon", []string{"math"}, "", exitUsage, `{"type":"error","error":{"code":"invalid_input"`, []string{`"math" is not an address: it has no colon`}},
		{"two mistakes", []string{"math:/decimal/mul", "{}"}, "", exitFailed, `{"type":"error"`, []string{"error: a is missing", "Also: b is missing"}},
		{"time-out", []string{"report:/long", `{"steps":1000}`, "--timeout", "20ms", "--raw"}, "", exitTimeout, "", []string{"(deadline_exceeded)"}},
		{"no JSON", []string{"echo:/", "hello"}, "", exitUsage, `{"type":"error"`, []string{"the body is not JSON: hello", "single quotes"}},
		{"no file", []string{"echo:/", "@/nowhere"}, "", exitUsage, `{"type":"error"`, []string{"the body cannot be read"}},
		{"empty input", []string{"echo:/", "-"}, " \n", exitUsage, `{"type":"error"`, []string{"there is no body: standard input is empty", "Check what writes it"}},
		{"blank", []string{"echo:/", " "}, "", exitUsage, `{"type":"error"`, []string{"the body is empty", "Leave the body out"}},
		{"broken input", []string{"echo:/", "-"}, `{"a":`, exitUsage, `{"type":"error"`, []string{"the body in standard input is not JSON: unexpected end"}},
		{"broken file", []string{"echo:/", "@" + broken}, "", exitUsage, `{"type":"error"`, []string{"the body in " + broken + " is not JSON: invalid character '}'"}},
		{"no unit", []string{"echo:/", "--timeout", "5"}, "", exitUsage, "", []string{`--timeout: "5" is not a time; write it like 500ms`}},
		{"negative", []string{"echo:/", "--timeout", "-5s"}, "", exitUsage, "", []string{`--timeout: -5s is negative`}},
		{"no name of a header", []string{"echo:/", "--header", "x"}, "", exitUsage, "", []string{`--header: "x" is not NAME=VALUE`}},
		{"bad strategy", []string{"echo:/", "--strategy", `{"by":7}`}, "", exitUsage, `{"type":"error"`, []string{"--strategy: "}},
		{"bad URL", []string{"echo:/", "--url", "localhost"}, "", exitUsage, `{"type":"error"`, []string{"is not the URL of a node"}},
		{"URL without a scheme", []string{"echo:/", "--url", "127.0.0.1:7420"}, "", exitUsage, `{"type":"error"`, []string{"it does not begin with ws://"}},
		{"nobody listens", []string{"echo:/", "--url", "ws://127.0.0.1:1"}, "", exitConnect, `{"type":"error","error":{"code":"not_ready"`, []string{"cannot connect to ws://127.0.0.1:1/: nothing listens there", "ropewalk dev"}},
		{"nobody answers", []string{"echo:/", "--url", "ws://" + silent.Addr().String(), "--connect-timeout", "50ms"}, "", exitConnect, `{"type":"error","error":{"code":"not_ready"`, nil},
		{"no address", nil, "", exitUsage, "", []string{`<address> is missing`, `Run "ropewalk call --help"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"call"}, tt.args...)
			if !slices.Contains(args, "--url") {
				args = append(args, "--url", url)
			}
			o := try(t, nil, tt.stdin, args...)
			wantCode(t, o, tt.code)
			if exact := strings.HasSuffix(tt.out, "\n"); exact && o.out != tt.out || !exact && !strings.HasPrefix(o.out, tt.out) || tt.out == "" && o.out != "" {
				t.Errorf("standard output\n%s\nwant\n%s", o.out, tt.out)
			}
			wantText(t, o.err, tt.err...)
			if tt.code == exitOK && o.err != "" {
				t.Errorf("standard error has %q", o.err)
			}
		})
	}
}

func TestErrorsAsJSON(t *testing.T) {
	t.Parallel()
	o := try(t, nil, "", "call", "--json", "--url", "ws://127.0.0.1:1", "echo:/")
	wantCode(t, o, exitConnect)
	if o.err != o.out || !strings.HasPrefix(o.err, `{"type":"error","error":{"code":"not_ready",`) {
		t.Errorf("standard error %q\nstandard output %q", o.err, o.out)
	}
	o = try(t, nil, "", "--json", "services", "--nonsense")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, `{"type":"error","error":{"code":"invalid_input","message":"unknown flag --nonsense"`)
}

// TestCallInterrupted stops a call by Ctrl-C, and sees that the service notices.
func TestCallInterrupted(t *testing.T) {
	t.Parallel()
	url := node(t)
	p := launch(t, t.TempDir(), at(url), "call", "report:/long", `{"steps":1000}`)
	p.line(`{"type":"part"`)
	p.signal(syscall.SIGINT)
	p.line(`{"type":"error","error":{"code":"canceled"`)
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, p.errs.all.String())
	}
	for {
		o := ask(t, url, "", "call", "node:/info")
		wantCode(t, o, exitOK)
		if strings.Contains(o.out, `"inFlight":1`) { // this one
			return
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[31mb\x07\u009b\tü\n"); got != "a·[31mb··\tü\n" {
		t.Errorf("got %q", got)
	}
}

func TestNewItem(t *testing.T) {
	t.Parallel()
	i := newItem("part", []byte("{bad"), "")
	if i.ContentType != "application/octet-stream" || string(i.Body) != `"e2JhZA=="` {
		t.Errorf("got %+v", i)
	}
}
