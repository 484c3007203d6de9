package script_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/content/script"
)

func TestMain(m *testing.M) {
	script.WorkerMain()
	goleak.VerifyTestMain(m)
}
