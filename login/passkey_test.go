package login_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const origin = "https://app.example.com"

var site = login.Passkeys{ID: "example.com", Origins: []string{origin}}

// register adds a passkey for whoever is logged in at c.
func (c *client) register(t *testing.T, d *desk, a *authenticator) (login.PasskeyInfo, *message.Error) {
	t.Helper()
	var o options
	var info login.PasskeyInfo
	if err := c.call(t, d, "/passkey/register/begin", nil, &o); err != nil {
		return info, err
	}
	err := c.call(t, d, "/passkey/register/finish", map[string]any{"credential": a.create(t, &o), "label": "my phone"}, &info)
	return info, err
}

// begin asks for a challenge.
func (c *client) begin(t *testing.T, d *desk, user string) *options {
	t.Helper()
	var o options
	if err := c.call(t, d, "/passkey/begin", map[string]string{"user": user}, &o); err != nil {
		t.Fatal(err)
	}
	return &o
}

func (c *client) finish(t *testing.T, d *desk, credential json.RawMessage) *message.Error {
	t.Helper()
	return c.call(t, d, "/passkey/finish", map[string]any{"credential": credential}, nil)
}

func TestPasskey(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, users login.Users) {
		users.Create = true
		d := open(t, login.Config{Users: users, Passkeys: site})
		u := d.add(t, "anna", right, session.Claims{"role": "editor"}, nil)
		phone := newAuthenticator(t, "example.com", origin)
		c := newClient("192.0.2.1:1")
		if _, err := c.register(t, d, phone); codeOf(err) != message.CodeUnauthenticated {
			t.Errorf("nobody makes a passkey: %v", err)
		}
		if err := c.logIn(t, d, "anna", right); err != nil {
			t.Fatal(err)
		}
		info, err := c.register(t, d, phone)
		if err != nil || info.Label != "my phone" || info.ID != b64.EncodeToString(phone.id) {
			t.Fatalf("the passkey is %+v, %v", info, err)
		}
		if _, err := c.register(t, d, phone); codeOf(err) != message.CodeConflict {
			t.Errorf("the same once more: %v", err)
		}
		var o options
		if err := c.call(t, d, "/passkey/register/begin", nil, &o); err != nil || len(o.PublicKey.Exclude) != 1 {
			t.Errorf("those that are there are %v, %v", o.PublicKey.Exclude, err)
		}

		for _, name := range []string{"", "anna"} {
			c := newClient("192.0.2.2:1")
			o := c.begin(t, d, name)
			if (name != "") != (len(o.PublicKey.Allow) == 1) || o.PublicKey.RPID != "example.com" {
				t.Errorf("the options for %q are %+v", name, o)
			}
			if err := c.finish(t, d, phone.get(t, o, name == "")); err != nil {
				t.Fatalf("log in as %q: %v, %+v", name, err, d.last())
			}
			if s := c.session; s.Subject != u.ID || s.Public["role"] != "editor" || s.Public["login"] != "passkey" {
				t.Errorf("the session is %v %v", s, s.Public)
			}
			if e := d.last(); e.Kind != login.EventPasskey || e.Outcome != login.OutcomeOK || e.Subject != u.ID {
				t.Errorf("the event is %+v", e)
			}
		}

		var list []login.PasskeyInfo
		if err := c.call(t, d, "/passkey/list", nil, &list); err != nil || len(list) != 1 || list[0].ID != info.ID {
			t.Errorf("the list is %v, %v", list, err)
		}
		other := newClient("192.0.2.3:1")
		d.add(t, "ben", right, nil, nil)
		if err := other.logIn(t, d, "ben", right); err != nil {
			t.Fatal(err)
		}
		if err := other.call(t, d, "/passkey/delete", map[string]string{"id": info.ID}, nil); codeOf(err) != message.CodeNotFound {
			t.Errorf("ben deletes anna's: %v", err)
		}
		for _, id := range []string{"", "!", "' OR 1=1 --"} {
			if err := c.call(t, d, "/passkey/delete", map[string]string{"id": id}, nil); codeOf(err) != message.CodeNotFound {
				t.Errorf("delete %q: %v", id, err)
			}
		}
		if err := c.call(t, d, "/passkey/delete", map[string]string{"id": info.ID}, nil); err != nil {
			t.Error(err)
		}
		c = newClient("192.0.2.4:1")
		if err := c.finish(t, d, phone.get(t, c.begin(t, d, ""), true)); codeOf(err) != message.CodeUnauthenticated {
			t.Errorf("with a deleted passkey: %v", err)
		}
	})
}

// TestPasskeyRefused has attempts that all get the same answer.
func TestPasskeyRefused(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{Passkeys: site})
	d.add(t, "anna", right, nil, nil)
	d.add(t, "ben", right, nil, nil)
	keys := map[string]*authenticator{}
	for _, name := range []string{"anna", "ben"} {
		c := newClient("192.0.2.1:1")
		if err := c.logIn(t, d, name, right); err != nil {
			t.Fatal(err)
		}
		keys[name] = newAuthenticator(t, "example.com", origin)
		if _, err := c.register(t, d, keys[name]); err != nil {
			t.Fatal(err)
		}
	}
	anna := keys["anna"]
	for i, c := range []struct {
		name, reason string
		answer       func(t *testing.T, c *client, a *authenticator) json.RawMessage
	}{
		{"no challenge", "no challenge", func(t *testing.T, _ *client, a *authenticator) json.RawMessage { return a.get(t, &options{}, true) }},
		{"challenge of another", "no challenge", func(t *testing.T, _ *client, a *authenticator) json.RawMessage {
			return a.get(t, newClient("x").begin(t, d, ""), true)
		}},
		{"another challenge", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			o := *c.begin(t, d, "")
			c.begin(t, d, "")
			return a.get(t, &o, true)
		}},
		{"origin", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.origin = "https://app.example.com.evil.test"
			return a.get(t, c.begin(t, d, ""), true)
		}},
		{"site", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.rp = "evil.test"
			return a.get(t, c.begin(t, d, ""), true)
		}},
		{"not verified", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.flags = userPresent
			return a.get(t, c.begin(t, d, ""), true)
		}},
		{"key of another", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.key = keys["ben"].key
			return a.get(t, c.begin(t, d, ""), true)
		}},
		{"user of another", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.handle = keys["ben"].handle
			return a.get(t, c.begin(t, d, ""), true)
		}},
		{"passkey of another than asked for", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			return a.get(t, c.begin(t, d, "ben"), true)
		}},
		{"no user told", "wrong passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			return a.get(t, c.begin(t, d, ""), false)
		}},
		{"unknown", "unknown passkey", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.id = make([]byte, 32)
			return a.get(t, c.begin(t, d, ""), true)
		}},
		{"unreadable", "unreadable", func(t *testing.T, c *client, _ *authenticator) json.RawMessage {
			c.begin(t, d, "")
			return json.RawMessage(`{"id":[]}`)
		}},
		{"nothing", "unreadable", func(t *testing.T, c *client, _ *authenticator) json.RawMessage {
			c.begin(t, d, "")
			return json.RawMessage(`null`)
		}},
		{"counter went back", "the counter went back: the passkey may have been copied", func(t *testing.T, c *client, a *authenticator) json.RawMessage {
			a.counter += 10
			if err := c.finish(t, d, a.get(t, c.begin(t, d, ""), true)); err != nil {
				t.Error(err)
			}
			c.session = session.Anonymous()
			a.counter -= 5
			return a.get(t, c.begin(t, d, ""), true)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, a := newClient(fmt.Sprintf("198.51.100.%d:1", i)), *anna
			a.counter += uint32(100 * i)
			err := who.finish(t, d, c.answer(t, who, &a))
			if codeOf(err) != message.CodeUnauthenticated || err.Message != "the passkey was not accepted" || who.session.Authenticated() {
				t.Errorf("the answer is %v", err)
			}
			if e := d.last(); e.Reason != c.reason || e.Outcome != login.OutcomeRefused {
				t.Errorf("the event is %+v", e)
			}
		})
	}
	if _, err := d.SetDisabled(t.Context(), "ben", true); err != nil {
		t.Fatal(err)
	}
	c := newClient("192.0.2.9:1")
	if err := c.finish(t, d, keys["ben"].get(t, c.begin(t, d, ""), true)); codeOf(err) != message.CodeUnauthenticated || d.last().Reason != "disabled" {
		t.Errorf("ben is disabled: %v, %+v", err, d.last())
	}
}

// TestPasskeyOnce answers one challenge, and one counter, at the same time from
// many places: one of them is let in.
func TestPasskeyOnce(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, users login.Users) {
		users.Create = true
		d := open(t, login.Config{Users: users, Passkeys: site})
		d.add(t, "anna", right, nil, nil)
		key := newAuthenticator(t, "example.com", origin)
		c := newClient("192.0.2.1:1")
		if err := c.logIn(t, d, "anna", right); err != nil {
			t.Fatal(err)
		}
		if _, err := c.register(t, d, key); err != nil {
			t.Fatal(err)
		}
		try := func(clients []*client, answers []json.RawMessage) (in int) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i, c := range clients {
				wg.Go(func() {
					if c.finish(t, d, answers[i]) == nil {
						mu.Lock()
						in++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			return in
		}
		var clients []*client
		var answers []json.RawMessage
		at := key.counter
		for i := range 8 {
			c := newClient(fmt.Sprintf("192.0.2.%d:1", i))
			key.counter = at // copies of one authenticator
			clients, answers = append(clients, c), append(answers, key.get(t, c.begin(t, d, ""), true))
		}
		if in := try(clients, answers); in != 1 {
			t.Errorf("%d copies of a passkey are let in with one counter", in)
		}
		c = newClient("192.0.2.1:1")
		answer := key.get(t, c.begin(t, d, ""), true)
		same := make([]*client, 8)
		for i := range same {
			same[i] = &client{id: c.id, addr: c.addr, session: c.session}
			answers[i] = answer
		}
		if in := try(same, answers); in != 1 {
			t.Errorf("one challenge was answered %d times", in)
		}
	})
}

// TestPasskeyUnknownName cannot tell a user who is not there by the options.
func TestPasskeyUnknownName(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{Passkeys: site})
	d.add(t, "keyless", right, nil, nil)
	seen := map[string]bool{}
	for _, name := range []string{"nobody", "keyless", "somebody", "' OR 1=1 --"} {
		a, b := newClient("x").begin(t, d, name), newClient("x").begin(t, d, name)
		if len(a.PublicKey.Allow) != 1 || a.PublicKey.Allow[0].ID != b.PublicKey.Allow[0].ID || len(a.PublicKey.Allow[0].ID) != 43 {
			t.Errorf("%q has %v, then %v", name, a.PublicKey.Allow, b.PublicKey.Allow)
		}
		seen[a.PublicKey.Allow[0].ID] = true
	}
	if len(seen) != 4 {
		t.Errorf("the passkeys of 4 names are %v", seen)
	}
}

// TestPasskeyTime lets the time pass.
func TestPasskeyTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := open(t, login.Config{Users: login.Users{Driver: "sqlite", DSN: ":memory:", Create: true}, Passkeys: site})
		d.add(t, "anna", right, nil, nil)
		key := newAuthenticator(t, "example.com", origin)
		c := newClient("192.0.2.1:1")
		if err := c.logIn(t, d, "anna", right); err != nil {
			t.Fatal(err)
		}
		time.Sleep(14 * time.Minute)
		if _, err := c.register(t, d, key); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := c.register(t, d, newAuthenticator(t, "example.com", origin)); codeOf(err) != message.CodeUnauthenticated {
			t.Errorf("a passkey for an open page: %v", err)
		}
		o := c.begin(t, d, "")
		time.Sleep(6 * time.Minute)
		if err := c.finish(t, d, key.get(t, o, true)); codeOf(err) != message.CodeUnauthenticated {
			t.Errorf("too late: %v", err)
		}
		d.Close()
		d.run.Close()
	})
}

// TestPasskeyMany has more begin than are remembered.
func TestPasskeyMany(t *testing.T) {
	t.Parallel()
	few := site
	few.Pending = 3
	few.PerUser = 1
	d := open(t, login.Config{Passkeys: few})
	d.add(t, "anna", right, nil, nil)
	key := newAuthenticator(t, "example.com", origin)
	c := newClient("192.0.2.1:1")
	if err := c.logIn(t, d, "anna", right); err != nil {
		t.Fatal(err)
	}
	if _, err := c.register(t, d, key); err != nil {
		t.Fatal(err)
	}
	if _, err := c.register(t, d, newAuthenticator(t, "example.com", origin)); codeOf(err) != message.CodeConflict {
		t.Errorf("a second where there may be one: %v", err)
	}
	first, second := newClient("192.0.2.2:1"), newClient("192.0.2.3:1")
	o1, o2 := first.begin(t, d, ""), second.begin(t, d, "")
	for range 2 {
		newClient("192.0.2.4:1").begin(t, d, "")
	}
	if err := first.finish(t, d, key.get(t, o1, true)); err == nil {
		t.Error("the oldest is remembered")
	}
	if err := second.finish(t, d, key.get(t, o2, true)); err != nil {
		t.Error(err)
	}
	nobody := newClient("192.0.2.2:1")
	nobody.id = ""
	if err := nobody.call(t, d, "/passkey/begin", nil, nil); codeOf(err) != message.CodeConflict {
		t.Errorf("without connection and session: %v", err)
	}
	d.run.Close()
	if strings.Contains(d.log.String(), o1.PublicKey.Challenge) {
		t.Error("a challenge is in the log")
	}
}
