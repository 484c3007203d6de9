package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

// source is a statement of a file as it was run.
type source struct {
	f *sqlfile.File
	r *sqlfile.Rendered
}

// position is the JSON that tells programs where in a file the mistake is.
type position struct {
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Constraint string `json:"constraint,omitempty"`
}

func (p position) details() []byte {
	if p == (position{}) {
		return nil
	}
	return encode(p)
}

// badQuery is the error that a statement cannot be watched.
func (b *DB) badQuery(f *sqlfile.File, s *sqlfile.Statement, path, text, hint string) error {
	line, column := f.Position(s.Start())
	e := message.NewError(message.CodeBadContent, fmt.Sprintf("line %d: %s", line, text), hint)
	e.Details = position{Line: line, Column: column}.details()
	e.Path = address(path)
	return e
}

func address(path string) string {
	if path == "" {
		return ""
	}
	return "query:" + path
}

// fault makes an error for users of what a database says.
func (b *DB) fault(ctx context.Context, err error, path string, at *source) error {
	if err == nil {
		return nil
	}
	if l, ok := errors.AsType[*located](err); ok {
		at = &l.at
	}
	if late(ctx) {
		e := message.NewError(message.CodeLimitExceeded, "the query took longer than it may",
			"Make it faster, with an index perhaps, or give it more time with -- @timeout in the file.")
		e.Path, e.Cause = address(path), err
		return e
	}
	f, ok := errors.AsType[*sqldb.Fault](err)
	if !ok {
		return err
	}
	e := message.NewError(f.Code, f.Message, f.Hint)
	e.Path, e.Cause = address(path), f.Cause
	d := position{Constraint: f.Constraint}
	if f.HasPos && at != nil && f.Code == message.CodeBadContent {
		d.Line, d.Column = at.f.Position(at.r.Source(f.Pos))
		e.Message = fmt.Sprintf("line %d, column %d: %s", d.Line, d.Column, f.Message)
	}
	e.Details = d.details()
	if f.Again {
		e.Retryable, e.RetryAfter = true, time.Second
	}
	return e
}
