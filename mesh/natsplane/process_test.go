package natsplane_test

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	binDir  string
	binOnce sync.Once
	errBin  error
)

// program builds nats-server from the module that the node embeds.
func program(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(binDir, "nats-server")
	binOnce.Do(func() {
		var out []byte
		if out, errBin = exec.Command("go", "build", "-o", bin, "github.com/nats-io/nats-server/v2").CombinedOutput(); errBin != nil {
			t.Logf("%s", out)
		}
	})
	if errBin != nil {
		t.Fatal(errBin)
	}
	return bin
}
