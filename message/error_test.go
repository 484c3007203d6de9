package message_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

var update = flag.Bool("update", false, "write docs/reference/errors.md")

const errorsPage = "../docs/reference/errors.md"

// TestErrorsPage keeps the page of the error codes as the table of the codes says.
func TestErrorsPage(t *testing.T) {
	t.Parallel()
	want := page()
	if *update {
		if err := os.WriteFile(errorsPage, want, 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(errorsPage)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale (%v): run go generate ./message", errorsPage, err)
	}
}

func page() []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Made by go generate ./message from message/codeinfo.go. Do not edit. -->\n" + `
# Error codes

` + "```" + `
$ ropewalk call math:/decimal/mull '[2,3]'
{"type":"error","error":{"code":"no_service","message":"nobody serves math:/decimal/mull","hint":"Did you mean math:/decimal/mul?"}}
` + "```" + `

What went wrong is said by the same word everywhere: in Go (` + "`message.Code`" + `), TypeScript, the CLI, the metrics, the log and on the
wire ([the form of an error](wire.md#errors)). Codes are never renamed. Services may send codes of their own; these count as
HTTP status 500 and are not repeated.

**Again?** says whether the same request may be sent again without harm, if the error itself does not say it in ` + "`retryable`" + `.

| code | HTTP | again? | what it means | what to do |
| --- | --- | --- | --- | --- |
`)
	for _, c := range message.CodeTable() {
		again := "no"
		if c.Retryable {
			again = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s |\n", c.Code, c.HTTPStatus, again, c.Meaning, c.Hint)
	}
	return b.Bytes()
}

// TestCodes checks that the table has each constant of code.go once.
func TestCodes(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []message.Code
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(lit.Value)
			want = append(want, message.Code(s))
		}
		return true
	})
	if got := message.Codes(); len(want) < 25 || !reflect.DeepEqual(got, want) {
		t.Errorf("the table has\n%q\nthe constants are\n%q", got, want)
	}
	for _, info := range message.CodeTable() {
		if info.Meaning == "" || info.Hint == "" || !info.Code.Known() || info.Code.Info() != info {
			t.Errorf("%s: %+v", info.Code, info)
		}
		if s := info.Code.HTTPStatus(); s != 499 && http.StatusText(s) == "" || s < 400 {
			t.Errorf("%s: HTTP status %d", info.Code, s)
		}
	}
	if c := message.Code("mine"); c.Known() || c.Retryable() || c.HTTPStatus() != 500 {
		t.Errorf("got %+v", c.Info())
	}
}

func TestErrorIsAndAs(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk full")
	e := message.NewError(message.CodeOverloaded, "too much", "")
	e.Cause = cause
	err := fmt.Errorf("store: %w", e)
	if !errors.Is(err, &message.Error{Code: message.CodeOverloaded}) || errors.Is(err, &message.Error{Code: message.CodeInternal}) {
		t.Error("Is does not compare codes")
	}
	if !errors.Is(err, cause) || message.AsError(err) != e {
		t.Error("the error is not unwrapped")
	}
	if e.Error() != "overloaded: too much: disk full" || e.Hint == "" || !e.Retryable {
		t.Errorf("got %v, %+v", e, e)
	}
	for _, c := range []struct {
		err  error
		want message.Code
	}{
		{nil, ""},
		{err, message.CodeOverloaded},
		{fmt.Errorf("x: %w", context.Canceled), message.CodeCanceled},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), message.CodeDeadlineExceeded},
		{cause, message.CodeInternal},
	} {
		if got := message.CodeOf(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
	foreign := message.AsError(cause)
	if body := string(message.AppendError(nil, foreign)); strings.Contains(body, "disk") || !errors.Is(foreign, cause) {
		t.Errorf("the text of a foreign error is sent: %s", body)
	}
}

func TestErrorOnTheWire(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]message.Error{
		`{"code":"no_service","message":"nobody"}`: {Code: message.CodeNoService, Message: "nobody"},
		`{"code":"overloaded","message":"a \"b\"","hint":"wait","path":"/x","details":{"n":[1]},"retryable":true,"retryAfter":1.5}`: {
			Code: message.CodeOverloaded, Message: `a "b"`, Hint: "wait", Path: "/x", Details: []byte(`{"n":[1]}`),
			Retryable: true, RetryAfter: 1500 * time.Millisecond,
		},
		`{"code":"overloaded","message":"","retryable":false}`: {Code: message.CodeOverloaded},
		`{"code":"out_of_stock","message":"none left","retryable":true}`: {
			Code: "out_of_stock", Message: "none left", Retryable: true,
		},
	} {
		if got := string(message.AppendError(nil, &want)); got != body {
			t.Errorf("got %s, want %s", got, body)
		}
		got := message.DecodeError([]byte(body))
		if !got.Remote() || !message.FromPeer(fmt.Errorf("x: %w", got)) || message.FromPeer(&want) || message.FromPeer(nil) {
			t.Errorf("%s: remote is wrong", body)
		}
		same := *message.DecodeError(message.AppendError(nil, got))
		if !reflect.DeepEqual(*got, same) || got.Code != want.Code || got.Message != want.Message || got.Hint != want.Hint ||
			got.Path != want.Path || !bytes.Equal(got.Details, want.Details) || got.Retryable != want.Retryable ||
			got.RetryAfter != want.RetryAfter {
			t.Errorf("%s: got %+v", body, got)
		}
	}
	usual := message.DecodeError([]byte(` { "code" : "overloaded" , "message":7, "details":null, "retryAfter":"x" } `))
	if !usual.Retryable || usual.Message != "" || usual.Details != nil || usual.RetryAfter != 0 {
		t.Errorf("got %+v", usual)
	}
	for _, body := range []string{
		"", "null", "5", "{}", "[]", `{"code":5}`, `{"code":""}`, `{"code":"x"`, "{\"code\":\"\xff\"}",
		`{"code":"` + strings.Repeat("x", 65) + `"}`,
	} {
		got := message.DecodeError([]byte(body))
		if !got.Remote() || code(t, got, message.CodeInternal).Retryable {
			t.Errorf("%s: got %+v", body, got)
		}
	}
	odd := &message.Error{Code: "\xff", Message: "\x00\xfe", Details: []byte("{"), Path: "é\n"}
	if body := message.AppendError(nil, odd); !json.Valid(body) || !message.ValidJSON(body) {
		t.Errorf("%q is not JSON", body)
	}
}
