package sqlite

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"modernc.org/libc"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/message"
)

// fault makes a *sqldb.Fault of an error of this connection.
func (c *conn) fault(err error) error {
	if err == nil {
		return nil
	}
	if c.denied != "" {
		return &sqldb.Fault{Code: message.CodeBadContent, Message: c.denied, Cause: err}
	}
	return fault(err, c.handle)
}

// fault makes a *sqldb.Fault of err; handle is 0 if there is no connection.
func fault(err error, handle uintptr) error {
	var known *sqldb.Fault
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	f := &sqldb.Fault{Code: message.CodeInternal, Message: "the database failed", Cause: err}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return f
	}
	text := readable(e.Error())
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT:
		constraint(f, e.Code(), text)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		f.Code, f.Message, f.Again = message.CodeOverloaded, "the database is locked by somebody else", true
		f.Hint = "Try again; if it stays so, look which program holds the lock."
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		f.Code, f.Message = message.CodeBadContent, "the file is no SQLite database, or a damaged one"
		f.Hint = "Put a copy back that is whole; PRAGMA integrity_check in the sqlite3 shell tells what is damaged."
	case sqlite3.SQLITE_FULL:
		f.Code, f.Message, f.Hint = message.CodeStorageFull, "there is no room for the database to grow", "Make room on the disk."
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS:
		f.Code, f.Message = message.CodeSourceDown, "the file of the database cannot be opened or read"
		f.Hint = "Look whether the directory is there and the server may read and write in it."
	case sqlite3.SQLITE_READONLY:
		f.Code, f.Message, f.Hint = message.CodeForbidden, "the database cannot be written to", "Look at the rights of the file and its directory."
	case sqlite3.SQLITE_TOOBIG:
		f.Code, f.Message, f.Hint = message.CodeLimitExceeded, "a value is too large", "Ask for less, such as substr(column, 1, 1000)."
	case sqlite3.SQLITE_NOMEM:
		f.Code, f.Message = message.CodeLimitExceeded, "the query takes too much memory"
	case sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		f.Code, f.Message = message.CodeInvalidInput, text
	case sqlite3.SQLITE_INTERRUPT:
		f.Code, f.Message = message.CodeLimitExceeded, "the query was interrupted"
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_SCHEMA:
		f.Code, f.Message, f.Hint = message.CodeBadContent, text, "Correct the SQL."
		if handle != 0 {
			tls := libc.NewTLS()
			defer tls.Close()
			if n := sqlite3.Xsqlite3_error_offset(tls, handle); n >= 0 {
				f.Pos, f.HasPos = int(n), true
			}
		}
	}
	return f
}

// readable is the text of SQLite without what the driver puts around it.
func readable(s string) string {
	s = strings.TrimPrefix(s, "SQL logic error: ")
	if i := strings.LastIndex(s, " ("); i > 0 && strings.HasSuffix(s, ")") {
		s = s[:i]
	}
	return s
}

var (
	namedCheck  = regexp.MustCompile(`CHECK constraint failed: (.+)$`)
	namedUnique = regexp.MustCompile(`(?:UNIQUE|NOT NULL) constraint failed: (.+)$`)
)

// constraint says which constraint was violated.
func constraint(f *sqldb.Fault, code int, text string) {
	f.Code, f.Hint = message.CodeInvalidInput, "Give other values."
	if m := namedCheck.FindStringSubmatch(text); m != nil {
		f.Constraint = m[1]
	} else if m := namedUnique.FindStringSubmatch(text); m != nil {
		f.Constraint = m[1]
	}
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		f.Code, f.Message = message.CodeConflict, "there is one already with the same "+f.Constraint
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		f.Code, f.Constraint, f.Message = message.CodeConflict, "FOREIGN KEY", "what it refers to is not there, or is referred to by others"
	case sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		f.Message = "a value is missing: " + f.Constraint
	case sqlite3.SQLITE_CONSTRAINT_TRIGGER:
		_, f.Message, _ = strings.Cut(text, ": ")
		f.Code = message.CodeConflict
	default:
		f.Message = "a value is not allowed: " + f.Constraint
	}
}
