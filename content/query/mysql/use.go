package mysql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"slices"
	"strings"
)

// use is one use of a connection.
type use struct{ spoiled bool }

// clean are the words of statements that leave nothing behind in a session, if
// they use nothing of [remnants].
var clean = []string{
	"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "DO", "INSERT", "UPDATE", "DELETE", "REPLACE", "TRUNCATE",
	"CREATE", "ALTER", "DROP", "RENAME",
}

// remnants outlive a transaction: variables, locks with a name, temporary tables.
var remnants = []string{"@", "GET_LOCK", "TEMPORARY"}

// note looks at a statement before it is run. It says too often rather than too
// seldom that something stays behind. What functions of the database set is not
// seen.
func (u *use) note(text string) {
	text = strings.ToUpper(text)
	word := strings.TrimLeft(text, "( \t\r\n")
	if n := strings.IndexFunc(word, func(r rune) bool { return r < 'A' || r > 'Z' }); n >= 0 {
		word = word[:n]
	}
	u.spoiled = u.spoiled || !slices.Contains(clean, word) ||
		slices.ContainsFunc(remnants, func(r string) bool { return strings.Contains(text, r) })
}

// release gives the connection to the next who needs one. The driver has no way
// to begin its session anew, so one in which something may have stayed is closed.
func (u *use) release(c *sql.Conn) {
	if u.spoiled {
		_ = c.Raw(func(any) error { return sqldriver.ErrBadConn }) // which closes it
	}
	_ = c.Close()
}
