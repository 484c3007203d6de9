package login_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

func sqlExec(t *testing.T, driver, dsn string, queries ...string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// databases runs a test with each database.
func databases(t *testing.T, f func(t *testing.T, users login.Users)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, login.Users{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "users.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, login.Users{Driver: "postgres", DSN: postgres(t)})
	})
}

const right = "correct horse"

func TestPassword(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, users login.Users) {
		users.Create = true
		d := open(t, login.Config{Users: users, Keep: []string{"lang"}})
		u := d.add(t, "Ånna", right, session.Claims{"role": "editor", "level": 3.0}, session.Claims{"shard": 7.0})
		d.add(t, "off", right, nil, nil)
		d.add(t, "keyless", "", nil, nil)
		if _, err := d.SetDisabled(t.Context(), "off", true); err != nil {
			t.Fatal(err)
		}

		t.Run("ok", func(t *testing.T) {
			c := newClient("192.0.2.1:1")
			c.apply(t, session.Patch{Set: session.Claims{"lang": "de", "role": "admin"}, Secret: session.Claims{"cart": 1.0}})
			before := c.session.ID
			var me login.Me
			// The same name, written with a combining ring.
			if err := c.call(t, d, "/password", map[string]string{"user": "A\u030anna", "password": right}, &me); err != nil {
				t.Fatal(err)
			}
			s := c.session
			if s.Subject != u.ID || s.ID == before || s.Public["role"] != "editor" || s.Public["level"] != 3.0 || s.Secret["shard"] != 7.0 {
				t.Errorf("the session is %+v %v %v", s, s.Public, s.Secret)
			}
			if s.Public["lang"] != "de" || s.Secret["cart"] != nil || s.Public["login"] != "password" || s.Public["name"] != "Ånna" {
				t.Errorf("the claims are %v and %v", s.Public, s.Secret)
			}
			if me.Subject != u.ID || me.Claims["shard"] != nil {
				t.Errorf("the answer is %+v", me)
			}
			if e := d.last(); e.Kind != login.EventPassword || e.Outcome != login.OutcomeOK || e.Subject != u.ID || e.Session != before || e.Addr != "192.0.2.1:1" {
				t.Errorf("the event is %+v", e)
			}
			if err := c.call(t, d, "/me", nil, &me); err != nil || me.Subject != u.ID || !me.Authenticated {
				t.Errorf("me is %+v, %v", me, err)
			}
			if err := c.call(t, d, "/logout", nil, nil); err != nil || !c.session.Anonymous() {
				t.Errorf("after the log-out: %v, %v", c.session, err)
			}
		})
		t.Run("nothing of who was there before", func(t *testing.T) {
			c := newClient("192.0.2.2:1")
			d.add(t, "ben", right, nil, nil)
			if err := c.logIn(t, d, "Ånna", right); err != nil {
				t.Fatal(err)
			}
			if err := c.logIn(t, d, "ben", right); err != nil {
				t.Fatal(err)
			}
			if c.session.Public["role"] != nil || len(c.session.Secret) != 0 {
				t.Errorf("ben has %v and %v", c.session.Public, c.session.Secret)
			}
		})
		for i, c := range []struct{ name, user, password, reason string }{
			{"wrong password", "Ånna", "wrong horse", "wrong password"},
			{"empty password", "Ånna", "", "wrong password"},
			{"long password", "Ånna", strings.Repeat("x", 5000), "too long"},
			{"unknown", "nobody", right, "unknown user"},
			{"disabled", "off", right, "disabled"},
			{"no password", "keyless", "", "no password"},
			{"empty name", "", right, "unknown user"},
			{"NUL", "Ånna\x00", right, "unknown user"},
			{"injection", "' OR '1'='1", right, "unknown user"},
			{"injection", `" OR 1=1 --`, right, "unknown user"},
			{"injection", "Ånna'; DROP TABLE users; --", right, "unknown user"},
			{"injection", "x' UNION SELECT 'a','b','c' --", right, "unknown user"},
			{"wildcard", "Ånn%", right, "unknown user"},
			{"case", "ånna", right, "unknown user"},
		} {
			t.Run(c.name, func(t *testing.T) {
				before := d.hashes(t)
				err := newClient(fmt.Sprintf("198.51.100.%d:1", i)).logIn(t, d, c.user, c.password)
				if codeOf(err) != message.CodeUnauthenticated || err.Message != "the name or the password is wrong" {
					t.Errorf("the answer is %v", err)
				}
				if n := d.hashes(t) - before; n != 1 {
					t.Errorf("%v hashes were computed, not 1: the time tells what is wrong", n)
				}
				if e := d.last(); e.Outcome != login.OutcomeRefused || e.Reason != c.reason {
					t.Errorf("the event is %+v", e)
				}
			})
		}
		if list, err := d.Users(t.Context(), 10); err != nil || len(list) != 4 {
			t.Errorf("the users are %v, %v", list, err)
		}
	})
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, users login.Users) {
		users.Create = true
		d := open(t, login.Config{Users: users})
		u := d.add(t, "anna", right, nil, nil)
		c := newClient("192.0.2.1:1")
		change := func(old, next string) message.Code {
			return codeOf(c.call(t, d, "/password/change", map[string]string{"password": old, "newPassword": next}, nil))
		}
		if code := change(right, "new password"); code != message.CodeUnauthenticated {
			t.Errorf("nobody changes a password: %q", code)
		}
		if err := c.logIn(t, d, "anna", right); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"", "short", "ANNA", strings.Repeat("x", 300), "aaaaaaaaaaaaaa"} {
			if code := change(right, bad); code != message.CodeInvalidInput {
				t.Errorf("the password %q is taken: %q", bad, code)
			}
		}
		if code := change("wrong horse", "new password"); code != message.CodeUnauthenticated {
			t.Errorf("with a wrong password: %q", code)
		}
		if code := change(right, "new password"); code != "" {
			t.Errorf("with the right one: %q", code)
		}
		if len(d.revoked) != 1 || d.revoked[0] != u.ID {
			t.Errorf("ended were the sessions of %q, not %q", d.revoked, u.ID)
		}
		if err := newClient("192.0.2.2:1").logIn(t, d, "anna", right); err == nil {
			t.Error("the old password works")
		}
		if err := newClient("192.0.2.2:1").logIn(t, d, "anna", "new password"); err != nil {
			t.Error(err)
		}
		if _, err := d.SetPassword(t.Context(), "anna", "third password"); err != nil {
			t.Error(err)
		}
		if err := newClient("192.0.2.3:1").logIn(t, d, "anna", "third password"); err != nil {
			t.Error(err)
		}
		foreign := newClient("192.0.2.3:1")
		foreign.session = session.New(u.ID, nil, nil)
		foreign.session.Issuer = "https://other.example"
		if err := foreign.call(t, d, "/password/change", map[string]string{"password": "third password", "newPassword": "fourth password"}, nil); codeOf(err) != message.CodeForbidden {
			t.Errorf("somebody whom another issuer knows by this name: %v", err)
		}
	})
}

// TestOwnTable has a table that an application had before, with other names,
// types and hashes.
func TestOwnTable(t *testing.T) {
	t.Parallel()
	old, err := bcrypt.GenerateFromPassword([]byte(right), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	weak := login.HashPassword(right, login.Params{Memory: 16, Passes: 1}).Text()
	databases(t, func(t *testing.T, users login.Users) {
		driver, serial, when := "sqlite", "INTEGER PRIMARY KEY", "TEXT"
		if users.Driver == "postgres" {
			driver, serial, when = "pgx", "BIGINT PRIMARY KEY", "TIMESTAMPTZ"
		}
		sqlExec(t, driver, users.DSN,
			`CREATE TABLE "Staff" (no `+serial+`, "e-mail" TEXT, pw TEXT, left_at `+when+`, groups JSON, salary INTEGER, boss BOOLEAN)`,
			`INSERT INTO "Staff" VALUES (7, 'anna@example.com', '`+string(old)+`', NULL, '["a","b"]', 100, TRUE)`,
			`INSERT INTO "Staff" VALUES (8, 'ben@example.com', '`+weak+`', '2020-01-01 00:00:00Z', NULL, NULL, FALSE)`,
			`INSERT INTO "Staff" VALUES (9, 'cleo@example.com', '`+weak+`', NULL, NULL, NULL, FALSE)`,
			`INSERT INTO "Staff" VALUES (10, 'dora@example.com', '$argon2id$v=19$m=999999,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA', NULL, NULL, NULL, FALSE)`,
			`INSERT INTO "Staff" VALUES (11, 'emil@example.com', 'plain text', NULL, NULL, NULL, FALSE)`,
			`INSERT INTO "Staff" VALUES (12, 'twin@example.com', NULL, NULL, NULL, NULL, FALSE)`,
			`INSERT INTO "Staff" VALUES (13, 'twin@example.com', NULL, NULL, NULL, NULL, FALSE)`)
		users.Table = "Staff"
		users.Columns = login.Columns{ID: "no", Name: "e-mail", Hash: "pw", Disabled: "left_at"}
		users.Public = map[string]string{"groups": "groups", "boss": "boss"}
		users.Secret = map[string]string{"salary": "salary"}
		d := open(t, login.Config{Users: users})
		c := newClient("192.0.2.1:1")
		for range 2 { // the second time with a hash of today
			before := d.hashes(t)
			if err := c.logIn(t, d, "anna@example.com", right); err != nil {
				t.Fatal(err)
			}
			t.Logf("%v hashes", d.hashes(t)-before)
		}
		s := c.session
		if s.Subject != "7" || fmt.Sprint(s.Public["groups"]) != "[a b]" || s.Public["boss"] != true || s.Secret["salary"] != 100.0 || s.Public["name"] != nil {
			t.Errorf("the session is %v %v %v", s, s.Public, s.Secret)
		}
		if got := column(t, driver, users.DSN, `SELECT pw FROM "Staff" WHERE no = 7`); !strings.HasPrefix(got, "$argon2id$v=19$m=64,t=1,p=1$") {
			t.Errorf("the hash is still %.12q", got)
		}
		if err := c.logIn(t, d, "cleo@example.com", right); err != nil {
			t.Error(err)
		}
		if got := column(t, driver, users.DSN, `SELECT pw FROM "Staff" WHERE no = 9`); got == weak {
			t.Error("a weak hash is not replaced")
		}
		for _, name := range []string{"ben@example.com", "dora@example.com", "emil@example.com"} {
			if err := newClient("192.0.2.2:1").logIn(t, d, name, right); codeOf(err) != message.CodeUnauthenticated {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := newClient("192.0.2.3:1").logIn(t, d, "twin@example.com", right); codeOf(err) != message.CodeInternal {
			t.Errorf("one of two of a name: %v", err)
		}
		if ok, err := d.Active(t.Context(), s); !ok || err != nil {
			t.Errorf("anna is active: %v, %v", ok, err)
		}
		for id, want := range map[string]bool{"8": false, "99": false, "7": true} {
			if ok, err := d.Active(t.Context(), session.New(id, session.Claims{login.ClaimHow: "password"}, nil)); ok != want || err != nil {
				t.Errorf("%q is active: %v, %v", id, ok, err)
			}
		}
		// Who did not log in here need not be in the table.
		if ok, err := d.Active(t.Context(), session.New("99", nil, nil)); !ok || err != nil {
			t.Errorf("a session from elsewhere is active: %v, %v", ok, err)
		}
	})
}

func column(t *testing.T, driver, dsn, query string) (out string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestManyAtOnce has more people than hashes that may be computed.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{
		Passwords: login.Passwords{Memory: 64, Passes: 1, Concurrent: 2, Waiting: 4},
		Throttle:  login.Throttle{FailuresPerAddress: -1},
	})
	d.add(t, "anna", right, nil, nil)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		outcome = map[message.Code]int{}
	)
	for i := range 200 {
		wg.Go(func() {
			err := newClient(fmt.Sprintf("192.0.2.%d:1", i)).logIn(t, d, "anna", right)
			mu.Lock()
			outcome[codeOf(err)]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if outcome[""] < 1 || outcome[""]+outcome[message.CodeOverloaded] != 200 {
		t.Errorf("the outcome is %v", outcome)
	}
}

// TestNoSecretsTold has everything go wrong and looks at what was written.
func TestNoSecretsTold(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{})
	d.add(t, "anna", "planted-password", nil, nil)
	c := newClient("192.0.2.1:1")
	_ = c.logIn(t, d, "anna", "planted-wrong")
	_ = c.logIn(t, d, "x\r\nlevel=ERROR msg=forged\u202e", "planted-wrong")
	if e := d.last(); strings.ContainsAny(e.User, "\r\n\u202e") {
		t.Errorf("an event shows %q", e.User)
	}
	if err := c.logIn(t, d, "anna", "planted-password"); err != nil {
		t.Fatal(err)
	}
	_ = c.call(t, d, "/password/change", map[string]string{"password": "planted-password", "newPassword": "planted-new"}, nil)
	_ = d.Close()
	err := c.logIn(t, d, "anna", "planted-new")
	if codeOf(err) != message.CodeInternal {
		t.Errorf("without a database: %v", err)
	}
	d.run.Close() // what went wrong is logged after the answer
	if all := fmt.Sprint(d.log, d.events, err); strings.Contains(all, "planted") || strings.Contains(all, "$argon2") {
		t.Error("a secret is told:", all)
	}
}

func TestLogoutEverywhere(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{})
	u := d.add(t, "anna", right, nil, nil)
	c := newClient("192.0.2.1:1")
	everywhere := map[string]bool{"everywhere": true}
	if err := c.call(t, d, "/logout", everywhere, nil); err != nil || len(d.revoked) != 0 {
		t.Errorf("nobody logs out: %v, %v", err, d.revoked)
	}
	if err := c.logIn(t, d, "anna", right); err != nil {
		t.Fatal(err)
	}
	if err := c.call(t, d, "/logout", everywhere, nil); err != nil || !c.session.Anonymous() || len(d.revoked) != 1 || d.revoked[0] != u.ID {
		t.Errorf("%v, %v, %v", err, c.session, d.revoked)
	}
}
