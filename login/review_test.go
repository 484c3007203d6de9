package login_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
)

// Who logs in again has another session: who shared the one of before, with its
// word in the hand, has not logged in a short time ago.
func TestLogInAgain(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{})
	d.add(t, "anna", right, nil, nil)
	c := newClient("192.0.2.1:1")
	if err := c.logIn(t, d, "anna", right); err != nil {
		t.Fatal(err)
	}
	before := c.session
	if err := c.logIn(t, d, "anna", right); err != nil || c.session.ID == before.ID || c.session.Subject != before.Subject {
		t.Errorf("%v became %v, %v", before, c.session, err)
	}
}

// Sessions that begin at the same time to make a passkey make no more than there
// may be.
func TestPasskeysAreCountedAtTheEnd(t *testing.T) {
	t.Parallel()
	one := site
	one.PerUser = 1
	d := open(t, login.Config{Passkeys: one})
	d.add(t, "anna", right, nil, nil)
	var codes []message.Code
	var begun []*client
	var asked []*options
	for _, addr := range []string{"192.0.2.1:1", "192.0.2.2:1"} {
		c := newClient(addr)
		if err := c.logIn(t, d, "anna", right); err != nil {
			t.Fatal(err)
		}
		var o options
		if err := c.call(t, d, "/passkey/register/begin", nil, &o); err != nil {
			t.Fatal(err)
		}
		begun, asked = append(begun, c), append(asked, &o)
	}
	for i, c := range begun {
		key := newAuthenticator(t, "example.com", origin)
		codes = append(codes, codeOf(c.call(t, d, "/passkey/register/finish", map[string]any{"credential": key.create(t, asked[i])}, nil)))
	}
	if codes[0] != "" || codes[1] != message.CodeConflict {
		t.Errorf("finished with %q", codes)
	}
}

// A query of the application may find another user by the name of the caller: the
// password of that one is not enough.
func TestChangeWithThePasswordOfAnother(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.db")
	first := open(t, login.Config{Users: login.Users{Driver: "sqlite", DSN: file, Create: true}})
	first.add(t, "anna", right, nil, nil)
	first.add(t, "mallory", "password of mallory", nil, nil)
	c := newClient("192.0.2.1:1")
	if err := c.logIn(t, first, "anna", right); err != nil {
		t.Fatal(err)
	}
	d := open(t, login.Config{Users: login.Users{Driver: "sqlite", DSN: file, Queries: login.Queries{
		ByName: "SELECT * FROM users WHERE name = 'mallory' AND $1 <> ''", ByID: "SELECT * FROM users WHERE id = $1",
	}}})
	err := c.call(t, d, "/password/change", map[string]string{"password": "password of mallory", "newPassword": "taken over now"}, nil)
	if codeOf(err) != message.CodeUnauthenticated {
		t.Errorf("anna has another password: %v", err)
	}
}

// The hashes of passwords are for the node alone.
func TestTableIsPrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("files have no such rights there")
	}
	dir := t.TempDir()
	for i, dsn := range []string{"plain.db", "options.db?_pragma=journal_mode(wal)", "file:url.db?_pragma=busy_timeout(5000)"} {
		name := []string{"plain.db", "options.db", "url.db"}[i]
		dsn = strings.Replace(dsn, name, filepath.Join(dir, name), 1)
		d := open(t, login.Config{Users: login.Users{Driver: "sqlite", DSN: dsn, Create: true}})
		d.add(t, "anna", right, nil, nil)
		if err := d.Start(t.Context()); err != nil { // it is there already
			t.Error(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v", filepath.Base(f), info.Mode())
		}
	}
}
