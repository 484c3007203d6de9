package login_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/internal/dbtest"
	"github.com/ropewalk/ropewalk/session"
)

// pg is one PostgreSQL for all tests of the package.
var pg = dbtest.Share(dbtest.Postgres)

// postgres returns the data source of an empty schema.
func postgres(t *testing.T) string {
	t.Helper()
	dsn := "host=" + pg.Get(t).Dir + " user=postgres dbname=postgres"
	name := "t" + session.NewID()
	sqlExec(t, "pgx", dsn, "CREATE SCHEMA "+name)
	return dsn + " search_path=" + name
}
