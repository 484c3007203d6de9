package postgres

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/message"
)

// faultIn makes a *sqldb.Fault of an error of a statement.
func faultIn(ctx context.Context, err error, text string) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || ctx.Err() != nil {
		return fault(ctx, err)
	}
	f := faultOf(e)
	if stale(e) {
		f.Code, f.Message, f.Hint, f.Again = message.CodeConflict, "somebody else changed the tables at the same time", "Try again.", true
	}
	if e.Position > 0 {
		f.Pos, f.HasPos = offset(text, int(e.Position)-1), true
	}
	return f
}

// offset is how many bytes n characters are.
func offset(text string, n int) int {
	at := 0
	for range n {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// fault makes a *sqldb.Fault of an error; errors of ctx and Faults stay.
func fault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*sqldb.Fault](err); ok {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return faultOf(e)
	}
	if _, ok := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); ok {
		return &sqldb.Fault{
			Code: message.CodeLimitExceeded, Message: "a row is too large", Hint: "Ask for less, such as left(column, 1000).", Cause: err,
		}
	}
	return &sqldb.Fault{
		Code: message.CodeSourceDown, Message: "the database cannot be reached", Hint: "Is the server running, and are url and account right?", Cause: err,
	}
}

// faultOf makes a Fault of what the server said. Its texts name tables and
// values of the statement, never accounts or files, but for the classes that
// get a text of their own.
func faultOf(e *pgconn.PgError) *sqldb.Fault {
	f := &sqldb.Fault{Code: message.CodeInternal, Message: "the database failed", Constraint: e.ConstraintName, Cause: e}
	switch e.Code {
	case "23505", "23P01":
		f.Code, f.Message, f.Hint = message.CodeConflict, "there is one already: "+e.ConstraintName, "Give other values."
	case "23503", "23001":
		f.Code, f.Message = message.CodeConflict, "what it refers to is not there, or is referred to by others: "+e.ConstraintName
	case "23502":
		f.Code, f.Message, f.Constraint = message.CodeInvalidInput, "a value is missing: "+e.ColumnName, e.ColumnName
	case "23514":
		f.Code, f.Message, f.Hint = message.CodeInvalidInput, "a value is not allowed: "+e.ConstraintName, "Give other values."
	case "40001", "40P01":
		f.Code, f.Message, f.Again = message.CodeConflict, "somebody else changed the same rows at the same time", true
	case "55P03":
		f.Code, f.Message, f.Again = message.CodeOverloaded, "the rows are locked by somebody else", true
	case "25006":
		f.Code, f.Message, f.Hint = message.CodeBadContent, "this is a query, which cannot write: "+e.Message, "Publish to write."
	case "42501":
		f.Code, f.Message, f.Hint = message.CodeForbidden, e.Message, "Give the account of the database the right."
	case "42P18":
		f.Code, f.Message, f.Hint = message.CodeBadContent, e.Message, "Say what type the parameter has: CAST(:name AS bigint)."
	case "57014":
		f.Code, f.Message = message.CodeLimitExceeded, "the query was interrupted"
	case "53100":
		f.Code, f.Message, f.Hint = message.CodeStorageFull, "the database has no room to write to", "Make room on its disk."
	case "P0001":
		f.Code, f.Message = message.CodeConflict, e.Message
	default:
		class(f, e)
	}
	return f
}

// class looks at the first two letters of a code.
func class(f *sqldb.Fault, e *pgconn.PgError) {
	switch code := e.Code; {
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "23"):
		f.Code, f.Message = message.CodeInvalidInput, e.Message
	case strings.HasPrefix(code, "42"), strings.HasPrefix(code, "0A"), strings.HasPrefix(code, "26"), strings.HasPrefix(code, "2B"),
		strings.HasPrefix(code, "25"), strings.HasPrefix(code, "39"), strings.HasPrefix(code, "38"):
		f.Code, f.Message, f.Hint = message.CodeBadContent, e.Message, "Correct the SQL."
	case strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "08"),
		strings.HasPrefix(code, "28"), strings.HasPrefix(code, "3D"):
		f.Code, f.Message, f.Hint = message.CodeSourceDown, "the database takes no connection", "Is the server running, and are url and account right?"
	case strings.HasPrefix(code, "54"):
		f.Code, f.Message = message.CodeLimitExceeded, e.Message
	}
}
