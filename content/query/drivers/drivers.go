// Package drivers brings the databases that package query can use: SQLite, PostgreSQL, MariaDB
// and MySQL. A
// program imports it for its effect; who uses one of them only imports the
// package of that.
package drivers

import (
	_ "github.com/ropewalk/ropewalk/content/query/mysql"    // under the name mysql
	_ "github.com/ropewalk/ropewalk/content/query/postgres" // under the name postgres
	_ "github.com/ropewalk/ropewalk/content/query/sqlite"   // under the name sqlite
)
