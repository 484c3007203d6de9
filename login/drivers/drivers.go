// Package drivers brings the databases that package login can use: SQLite and
// PostgreSQL. A program imports it for its effect; whoever has no user table
// does not link them.
package drivers

import (
	_ "github.com/jackc/pgx/v5/stdlib" // under the name pgx
	_ "modernc.org/sqlite"             // under the name sqlite
)
