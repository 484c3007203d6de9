package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// File is the name of the file, or of the variable of the environment.
	File string `json:"file,omitempty"`
	// Line and Column count from 1, columns in characters; 0 if it is not about
	// a place in a file.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path of the field, such as "listeners.main.address"; may be "".
	Path string `json:"path,omitempty"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Hint says what to do about it; may be "".
	Hint string `json:"hint,omitempty"`
}

// Place returns where the problem is: "ropewalk.jsonc:3:5".
func (p Problem) Place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// String returns the problem on one line, without the hint.
func (p Problem) String() string {
	var b strings.Builder
	for _, s := range []string{p.Place(), p.Path} {
		if s != "" {
			b.WriteString(s)
			b.WriteString(": ")
		}
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error says that a configuration cannot be used. It unwraps to a
// *message.Error with CodeInvalidInput, whose details are the problems.
type Error struct {
	// Problems has at least one.
	Problems []Problem
}

// Error returns the problems, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the same as a *message.Error.
func (e *Error) Unwrap() error {
	p := e.Problems[0]
	text := p.String()
	if n := len(e.Problems); n > 1 {
		text = fmt.Sprintf("the configuration has %d problems; the first is at %s", n, text)
	}
	hint := p.Hint
	if hint == "" {
		hint = "Correct the value there."
	}
	err := message.NewError(message.CodeInvalidInput, text, hint)
	err.Path = p.Path
	err.Details, _ = json.Marshal(e.Problems) //nolint:errchkjson // strings and numbers only
	return err
}

// cause returns the reason of a file error without the path, which is said
// elsewhere.
func cause(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}
