package natsplane_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// server is a nats-server process.
type server struct {
	t    *testing.T
	bin  string
	addr string
	file string // of its configuration
	cmd  *exec.Cmd
}

func (s *server) url() string { return "nats://" + s.addr }

// runServer runs a server with some lines of configuration.
func runServer(t *testing.T, config string) *server {
	t.Helper()
	s := &server{t: t, bin: program(t), addr: freePort(t), file: filepath.Join(t.TempDir(), "nats.conf")}
	config = fmt.Sprintf("listen: %q\nserver_name: n%d\n%s\n", s.addr, serial(), config)
	if err := os.WriteFile(s.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run()
	return s
}

// run starts the process and waits until it listens.
func (s *server) run() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "-c", s.file)
	out := &logs{}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.kill)
	eventually(s.t, "the NATS server at "+s.addr, func() bool {
		var d net.Dialer
		conn, err := d.DialContext(s.t.Context(), "tcp", s.addr)
		if err != nil {
			return false
		}
		conn.Close()
		return out.count("Server is ready") > 0
	}, nil)
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// runCluster runs three servers that know each other.
func runCluster(t *testing.T) [3]*server {
	t.Helper()
	var ports [3]string
	for i := range ports {
		ports[i] = freePort(t)
	}
	var out [3]*server
	for i := range out {
		out[i] = runServer(t, fmt.Sprintf("cluster { name: outside, listen: %q, routes: [ nats-route://%s ] }",
			ports[i], strings.Join(ports[:], ", nats-route://")))
	}
	return out
}
