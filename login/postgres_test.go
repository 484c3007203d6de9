package login_test

import (
	"bufio"
	"errors"
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

	"github.com/ropewalk/ropewalk/session"
)

// pg is one PostgreSQL for all tests of the package, reached by a socket in a
// directory of its own.
var pg struct {
	once sync.Once
	dir  string
	cmd  *exec.Cmd
	err  error
}

var errNoPostgres = errors.New("PostgreSQL is not installed (apt-get install postgresql); these tests are skipped")

// postgres returns the data source of an empty schema.
func postgres(t *testing.T) string {
	t.Helper()
	pg.once.Do(func() { pg.err = startPostgres() })
	if errors.Is(pg.err, errNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(pg.err)
	}
	if pg.err != nil {
		t.Fatal(pg.err)
	}
	name := "t" + session.NewID()
	sqlExec(t, "pgx", "host="+pg.dir+" user=postgres dbname=postgres", "CREATE SCHEMA "+name)
	return "host=" + pg.dir + " user=postgres dbname=postgres search_path=" + name
}

// pgTool finds a program of PostgreSQL, which Debian keeps out of the PATH.
func pgTool(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", errNoPostgres
	}
	return slices.Max(found), nil
}

func startPostgres() (err error) {
	initdb, err := pgTool("initdb")
	if err != nil {
		return err
	}
	server, err := pgTool("postgres")
	if err != nil {
		return err
	}
	if pg.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return err
	}
	if err := os.Chmod(pg.dir, 0o755); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // as which PostgreSQL does not run
		u, err := user.Lookup("postgres")
		if err != nil {
			return errNoPostgres
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(pg.dir, uid, gid); err != nil {
			return err
		}
	}
	data := filepath.Join(pg.dir, "data")
	setup := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	setup.SysProcAttr, setup.Dir = attr, pg.dir
	if out, err := setup.CombinedOutput(); err != nil {
		return errors.New("initdb: " + string(out))
	}
	pg.cmd = exec.Command(server, "-D", data, "-k", pg.dir, "-c", "listen_addresses=", "-c", "fsync=off")
	pg.cmd.SysProcAttr, pg.cmd.Dir = attr, pg.dir
	log, err := pg.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := pg.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			go func() { // what it writes from now on
				for lines.Scan() {
				}
			}()
			return nil
		}
	}
	return errors.New("postgres did not start")
}

// stopPostgres runs after all tests.
func stopPostgres() {
	if pg.cmd != nil {
		_ = pg.cmd.Process.Signal(syscall.SIGINT)
		_ = pg.cmd.Wait()
	}
	if pg.dir != "" {
		_ = os.RemoveAll(pg.dir)
	}
}
