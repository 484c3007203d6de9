package mysql

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/message"
)

// fault makes a *sqldb.Fault of an error of a statement; errors of ctx and of
// users stay as they are.
func fault(ctx context.Context, err error, text string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*sqldb.Fault](err); ok {
		return err
	}
	if _, ok := errors.AsType[*message.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return faultOf(e, text)
	}
	return &sqldb.Fault{
		Code: message.CodeSourceDown, Message: "the database cannot be reached", Hint: "Is the server running, and are url and account right?", Cause: err,
	}
}

var (
	keyName  = regexp.MustCompile("(?:for key '|CONSTRAINT [`'])([^`']+)")
	checked  = regexp.MustCompile("(?i)constraint [`']([^`']+)[`']")
	column   = regexp.MustCompile("(?:Column|Field) '([^']+)'")
	lineName = regexp.MustCompile(` at line (\d+)$`)
)

func first(r *regexp.Regexp, s string) string {
	if m := r.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// faultOf makes a Fault of what the server said.
func faultOf(e *mysql.MySQLError, text string) *sqldb.Fault {
	f := &sqldb.Fault{Code: message.CodeInternal, Message: "the database failed", Cause: e}
	switch e.Number {
	case 1062, 1586, 1022:
		f.Constraint = first(keyName, e.Message)
		f.Code, f.Message, f.Hint = message.CodeConflict, "there is one already: "+f.Constraint, "Give other values."
	case 1451, 1452, 1216, 1217:
		f.Constraint = first(keyName, e.Message)
		f.Code, f.Message = message.CodeConflict, "what it refers to is not there, or is referred to by others: "+f.Constraint
	case 1048, 1364:
		f.Constraint = first(column, e.Message)
		f.Code, f.Message = message.CodeInvalidInput, "a value is missing: "+f.Constraint
	case 3819, 4025:
		f.Constraint = first(checked, e.Message)
		f.Code, f.Message, f.Hint = message.CodeInvalidInput, "a value is not allowed: "+f.Constraint, "Give other values."
	case 1213, 1020:
		f.Code, f.Message, f.Again = message.CodeConflict, "somebody else changed the same rows at the same time", true
	case 1205, 3572:
		f.Code, f.Message, f.Again = message.CodeOverloaded, "the rows are locked by somebody else", true
	case 1792:
		f.Code, f.Message, f.Hint = message.CodeBadContent, "this is a query, which cannot write", "Publish to write."
	case 1142, 1143, 1227, 1370:
		f.Code, f.Message, f.Hint = message.CodeForbidden, "the account of the database may not do this", "Give it the right."
	case 1317, 1969, 3024:
		f.Code, f.Message = message.CodeLimitExceeded, "the query was interrupted"
	case 1021, 1114, 1041:
		f.Code, f.Message, f.Hint = message.CodeStorageFull, "the database has no room to write to", "Make room on its disk."
	case 1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1226, 1698, 1927:
		f.Code, f.Message, f.Hint = message.CodeSourceDown, "the database takes no connection", "Is the server running, and are url and account right?"
	case 1264, 1265, 1292, 1366, 1406, 1411, 1690:
		f.Code, f.Message = message.CodeInvalidInput, e.Message
	case 1644:
		f.Code, f.Message = message.CodeConflict, e.Message
	case 1064, 1054, 1146, 1052, 1055, 1109, 1111, 1136, 1140, 1305, 1327, 1582, 1630, 1210, 1235, 1295, 1093, 1222, 1241, 1242, 1248, 1060, 1050, 1051, 1072:
		f.Code, f.Message, f.Hint = message.CodeBadContent, e.Message, "Correct the SQL."
		if n, err := strconv.Atoi(first(lineName, e.Message)); err == nil {
			f.Pos, f.HasPos = lineStart(text, n), true
			f.Message = lineName.ReplaceAllString(f.Message, "")
		}
	default:
		f.Code, f.Message, f.Hint = message.CodeBadContent, "the database refuses the statement (error "+strconv.Itoa(int(e.Number))+")",
			"The log of the server says more."
	}
	return f
}

// lineStart is where the n-th line of a text begins, from 1.
func lineStart(text string, n int) int {
	at := 0
	for range n - 1 {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
	}
	return at
}
