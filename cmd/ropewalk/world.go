package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// maxWidth is the widest that help is set, and what is assumed of a
	// terminal that does not tell: longer lines are hard to read.
	maxWidth = 100
)

// world is what a verb can reach besides its flags. Tests make their own.
type world struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	json     bool
	colorOut bool
	colorErr bool
}

func newWorld(in io.Reader, out, errs io.Writer, env []string) *world {
	w := &world{in: in, out: out, err: errs, env: env}
	plain := w.getenv("NO_COLOR") != "" || w.getenv("TERM") == "dumb"
	w.colorOut = !plain && isTerminal(out)
	w.colorErr = !plain && isTerminal(errs)
	return w
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (w *world) getenv(name string) string {
	for _, kv := range w.env {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}

// style is how a piece of text looks on a terminal.
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

// paint returns text for standard output in a style, if that is a terminal.
func (w *world) paint(s style, text string) string { return paint(w.colorOut, s, text) }

func paint(on bool, s style, text string) string {
	if !on || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func (w *world) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(w.out, format, args...)
	return err
}

// line prints v as one line of JSON.
func (w *world) line(v any) error { return writeJSON(w.out, v) }

func writeJSON(to io.Writer, v any) error {
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// errorJSON is an error as it is printed and as it travels.
func errorJSON(e *message.Error) json.RawMessage { return message.AppendError(nil, e) }

// fail prints an error on standard error and returns the exit code.
func (w *world) fail(err error) int {
	code := exitCode(err)
	e := explained(err)
	if w.json {
		_ = writeJSON(w.err, item{Type: "error", Error: errorJSON(e)})
		return code
	}
	if c, ok := errors.AsType[*config.Error](err); ok {
		w.failConfig(c)
		return code
	}
	word := paint(w.colorErr, red, "error:")
	fmt.Fprintf(w.err, "%s %s (%s)\n", word, printable(e.Message), printable(string(e.Code)))
	for _, also := range furtherProblems(e) {
		fmt.Fprintf(w.err, "  Also: %s\n", printable(also))
	}
	if e.Hint != "" {
		fmt.Fprintf(w.err, "  %s\n", printable(e.Hint))
	}
	return code
}

// furtherProblems are those of an input after the first, which is the message.
func furtherProblems(e *message.Error) []string {
	var details struct {
		Problems []struct {
			Message string `json:"message"`
		} `json:"problems"`
	}
	if len(e.Details) == 0 || json.Unmarshal(e.Details, &details) != nil {
		return nil
	}
	var list []string
	for i, p := range details.Problems {
		if i > 0 && p.Message != "" {
			list = append(list, p.Message)
		}
	}
	return list
}

func (w *world) failConfig(c *config.Error) {
	word := paint(w.colorErr, red, "error:")
	for _, p := range c.Problems {
		fmt.Fprintf(w.err, "%s %s\n", word, printable(p.String()))
		if p.Hint != "" {
			fmt.Fprintf(w.err, "  %s\n", printable(p.Hint))
		}
	}
	if slices.ContainsFunc(c.Problems, func(p config.Problem) bool { return p.Path != "" }) {
		fmt.Fprintln(w.err, `"ropewalk config doc" prints all fields.`)
	}
}

// explained returns an error with code, message and hint, whatever it was. The
// text of a foreign error is shown: it was made on this machine.
func explained(err error) *message.Error {
	var e *message.Error
	if errors.As(err, &e) {
		return inWordsOfFlags(e)
	}
	e = message.AsError(err)
	if e.Code == message.CodeInternal {
		return message.NewError(message.CodeInternal, err.Error(), "If you cannot see what to do about it, report it as a bug.")
	}
	return e
}

// inWordsOfFlags replaces hints that name functions of the Go client.
func inWordsOfFlags(e *message.Error) *message.Error {
	if e.Remote() {
		return e
	}
	c := *e
	switch e.Code {
	case message.CodeDeadlineExceeded:
		c.Hint = "Give it more time with --timeout, or find out what the service is waiting for."
	case message.CodeConnectionLost:
		c.Hint = "It may have been executed: look before you do it again. The log of the node says more."
	default:
		return e
	}
	return &c
}

// warnf prints a line for a person on standard error.
func (w *world) warnf(format string, args ...any) {
	fmt.Fprintf(w.err, "%s %s\n", paint(w.colorErr, yellow, "note:"), printable(fmt.Sprintf(format, args...)))
}

// printable takes out of a text that came from elsewhere what a terminal could
// take for a command.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}
