package engine_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/content/script/engine"
)

const workerEnv = "ROPEWALK_ENGINE_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if engine.RunWorker(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
