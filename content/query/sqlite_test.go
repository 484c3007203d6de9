package query_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/content/contenttest"
)

func TestConformanceSQLite(t *testing.T) {
	t.Parallel()
	contenttest.Run(t, contenttest.Features{Missing: true, Params: true, Publish: true}, func(t *testing.T) contenttest.Env {
		t.Helper()
		return openSQLite(t, nil).env(t)
	})
}
