package login_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const users = `"users":{"driver":"sqlite","dsn":"users.db"}`
	for _, c := range []struct{ name, text, path string }{
		{"ok", `{` + users + `}`, ""},
		{"all", `{"users":{"driver":"postgres","dsn":"postgres://h/d","create":true,"table":"a.b","public":{"role":"r"},"secret":{"pay":"p"},
			"queries":{"byName":"SELECT 1","byID":"SELECT 1"},"timeout":"1s"},"passwords":{"min":12,"memory":65536},
			"throttle":{"failures":3,"failuresPerAddress":-1,"delay":"2s"},"passkeys":{"id":"example.com","origins":["https://a.example.com"]},"keep":["lang"]}`, ""},
		{"localhost", `{` + users + `,"passkeys":{"id":"localhost","origins":["http://localhost:7420"]}}`, ""},
		{"nothing", `{}`, "users.driver"},
		{"driver", `{"users":{"driver":"mysql","dsn":"x"}}`, "users.driver"},
		{"no dsn", `{"users":{"driver":"sqlite"}}`, "users.dsn"},
		{"one query", `{"users":{"driver":"sqlite","dsn":"x","queries":{"byID":"SELECT 1"}}}`, "users.queries"},
		{"claim in both", `{"users":{"driver":"sqlite","dsn":"x","public":{"a":"a"},"secret":{"a":"a"}}}`, "users.secret"},
		{"claim without column", `{"users":{"driver":"sqlite","dsn":"x","public":{"a":""}}}`, "users.public"},
		{"memory", `{` + users + `,"passwords":{"memory":100000000}}`, "passwords.memory"},
		{"min", `{` + users + `,"passwords":{"min":-1}}`, "passwords.min"},
		{"no way in", `{` + users + `,"passwords":{"off":true}}`, "passwords.off"},
		{"delay", `{` + users + `,"throttle":{"delay":"1h"}}`, "throttle.delay"},
		{"no id", `{` + users + `,"passkeys":{"origins":["https://a.example"]}}`, "passkeys.id"},
		{"URL as id", `{` + users + `,"passkeys":{"id":"https://a.example"}}`, "passkeys.id"},
		{"IP as id", `{` + users + `,"passkeys":{"id":"127.0.0.1"}}`, "passkeys.id"},
		{"origin elsewhere", `{` + users + `,"passkeys":{"id":"example.com","origins":["https://badexample.com"]}}`, "passkeys.origins"},
		{"origin without TLS", `{` + users + `,"passkeys":{"id":"example.com","origins":["http://example.com"]}}`, "passkeys.origins"},
		{"no origin", `{` + users + `,"passkeys":{"id":"example.com","origins":["example.com"]}}`, "passkeys.origins"},
		{"verification", `{` + users + `,"passkeys":{"id":"example.com","verification":"never"}}`, "passkeys.verification"},
		{"lanes", `{` + users + `,"passwords":{"memory":24,"lanes":4}}`, "passwords.memory"},
		{"keep", `{` + users + `,"keep":[""]}`, "keep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cfg login.Config
			if err := json.Unmarshal([]byte(c.text), &cfg); err != nil {
				t.Fatal(err)
			}
			faults := cfg.Check()
			if c.path == "" {
				if len(faults) > 0 {
					t.Errorf("faults: %v", faults)
				}
				return
			}
			var e *message.Error
			if len(faults) == 0 || !errors.As(faults[0], &e) || e.Path != c.path || e.Code != message.CodeInvalidInput {
				t.Errorf("faults: %v, not %s", faults, c.path)
			}
			if _, err := login.New(cfg, login.Env{}); err == nil {
				t.Error("New takes it")
			}
		})
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	for _, users := range []login.Users{
		{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "no", "such", "directory.db")},
		{Driver: "postgres", DSN: "postgres://user:planted@127.0.0.1:1/db"},
		{Driver: "postgres", DSN: "postgres://user:pla nted@127.0.0.1:x/db"},
	} {
		l, err := login.New(login.Config{Users: users}, login.Env{})
		if err == nil {
			err = l.Start(t.Context())
			_ = l.Close()
		}
		var e *message.Error
		if !errors.As(err, &e) || e.Path != "users.dsn" {
			t.Errorf("%s: %v", users.Driver, err)
		}
		if err != nil && (strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "nted")) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
