//go:build unix

// Package dbtest starts database servers for tests: real ones, from the
// packages of the system, in a directory of their own, reached by a socket in
// there. It is for tests only.
package dbtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ErrMissing is the error if a server is not installed.
var ErrMissing = errors.New("the database server is not installed")

// Server is a database server. Its methods are for one goroutine.
type Server struct {
	// Dir holds its data and its socket.
	Dir string

	name  string
	args  []string
	ready string
	attr  *syscall.SysProcAttr
	cmd   *exec.Cmd
	log   *os.File
}

// Skip skips the test if err is ErrMissing, but on CI; it fails with any other
// error.
func Skip(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv("CI") == "" {
		tb.Skipf("%v (apt-get install postgresql mariadb-server); this test is skipped", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// find returns where a program is, which Debian may keep out of the PATH.
func find(name string, places ...string) (string, error) {
	for _, place := range places {
		if found, _ := filepath.Glob(filepath.Join(place, name)); len(found) > 0 {
			return slices.Max(found), nil
		}
	}
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

// prepare makes the directory of a server, that belongs to an account which is
// not root.
func prepare(account string) (*Server, error) {
	dir, err := os.MkdirTemp("", "db")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, attr: &syscall.SysProcAttr{}}
	if os.Getuid() != 0 {
		return s, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", account, ErrMissing)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	s.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	return s, os.Chmod(dir, 0o755) //nolint:gosec // the server is another account than the test
}

// setup runs a program that makes the data.
func (s *Server) setup(name string, args ...string) error {
	c := exec.Command(name, args...) //nolint:noctx,gosec // it ends by itself; the names are of this package
	c.SysProcAttr, c.Dir = s.attr, s.Dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return nil
}

// Start starts the server and waits until it takes connections.
func (s *Server) Start() error {
	for tries := 100; ; tries-- {
		ready, said, err := s.begin()
		if ready || err != nil {
			return err
		}
		s.end(syscall.SIGKILL)
		if tries == 0 || !strings.Contains(said, lingers) {
			return fmt.Errorf("%s did not start:\n%s", filepath.Base(s.name), said)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// lingers is what PostgreSQL says after it was killed, until the last of its
// processes has noticed and ended.
const lingers = "pre-existing shared memory block"

// begin starts the server and waits until it is ready, or has ended and said why.
func (s *Server) begin() (ready bool, said string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return false, "", err
	}
	s.cmd = exec.Command(s.name, s.args...) //nolint:noctx,gosec // Stop ends it; likewise
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stderr = s.attr, s.Dir, w
	err = s.cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		s.cmd = nil
		return false, "", err
	}
	s.log = r
	var all strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), s.ready) {
			go func() { // what it writes from now on
				for lines.Scan() {
				}
			}()
			return true, "", nil
		}
	}
	return false, all.String(), nil
}

// Kill ends the server without giving it time for anything, and waits for it.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	_ = s.cmd.Wait()
	s.cmd = nil
	_ = s.log.Close()
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	s.end(syscall.SIGTERM)
	_ = os.RemoveAll(s.Dir)
}

// Postgres starts a PostgreSQL server with the user postgres, who needs no
// password.
func Postgres() (*Server, error) {
	const place = "/usr/lib/postgresql/*/bin"
	initdb, err := find("initdb", place)
	if err != nil {
		return nil, err
	}
	server, err := find("postgres", place)
	if err != nil {
		return nil, err
	}
	s, err := prepare("postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.Dir, "data")
	s.name, s.ready = server, "ready to accept connections"
	s.args = []string{"-D", data, "-k", s.Dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"}
	if err := s.setup(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// PostgresURL is where a database of the server is.
func (s *Server) PostgresURL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + s.Dir
}

// MariaDB starts a MariaDB server with the user root, who needs no password.
func MariaDB() (*Server, error) {
	server, err := find("mariadbd", "/usr/sbin")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "/usr/bin")
	if err != nil {
		return nil, err
	}
	s, err := prepare("mysql")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.Dir, "data")
	s.name, s.ready = server, "ready for connections"
	s.args = []string{
		"--no-defaults", "--datadir=" + data, "--socket=" + s.Socket(), "--pid-file=" + filepath.Join(s.Dir, "pid"),
		"--skip-networking", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--max-connections=200",
	}
	if err := s.setup(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// Socket is the socket of a MariaDB server.
func (s *Server) Socket() string { return filepath.Join(s.Dir, "socket") }

// MySQLURL is where a database of the server is.
func (s *Server) MySQLURL(database string) string {
	return "mysql://root@localhost/" + database + "?socket=" + s.Socket()
}

// Shared is a server for all tests of a package, started by the first that
// wants it.
type Shared struct {
	start func() (*Server, error)
	once  sync.Once
	s     *Server
	err   error
}

// Share returns a Shared of what starts a server.
func Share(start func() (*Server, error)) *Shared { return &Shared{start: start} }

// Get returns the server; it skips the test if it is not installed.
func (s *Shared) Get(tb testing.TB) *Server {
	tb.Helper()
	s.once.Do(func() { s.s, s.err = s.start() })
	Skip(tb, s.err)
	return s.s
}

// Stop ends the server, if it was started. It is for TestMain.
func (s *Shared) Stop() {
	if s.s != nil {
		s.s.Stop()
	}
}
