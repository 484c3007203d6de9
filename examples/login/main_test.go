package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the example on a free port until the test is over.
func start(t *testing.T) (port string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	url, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, settings{
			listen: "127.0.0.1:0", users: filepath.Join(t.TempDir(), "users.db"), sdk: "../../sdk/ts/dist",
		}, func(u string) { url <- u })
	}()
	select {
	case u := <-url:
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return u[len("http://localhost:"):]
	case err := <-ended:
		stop()
		t.Fatal(err)
		return ""
	}
}

func dial(t *testing.T, port string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), "ws://127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestLogin is refused, then granted on the same connection, and logged out by
// another.
func TestLogin(t *testing.T) {
	t.Parallel()
	port := start(t)
	ctx := t.Context()
	read := func(c *client.Client) message.Code {
		_, err := call.Do[[]string](ctx, c, "notes:/read", nil)
		if err == nil {
			return ""
		}
		return message.CodeOf(err)
	}
	logIn := func(c *client.Client, user, password string) error {
		_, err := call.Do[login.Me](ctx, c, "login:/password", map[string]string{"user": user, "password": password})
		return err
	}
	ben, phone := dial(t, port), dial(t, port)
	if code := read(ben); code == "" {
		t.Error("nobody reads the notes")
	}
	if err := logIn(ben, "ben", "wrong horse battery"); message.CodeOf(err) != message.CodeUnauthenticated {
		t.Error(err)
	}
	for _, c := range []*client.Client{ben, phone} {
		if err := logIn(c, "ben", password); err != nil {
			t.Fatal(err)
		}
	}
	if code := read(ben); code != message.CodeForbidden {
		t.Errorf("ben is no editor: %q", code)
	}
	if _, err := call.Do[string](ctx, ben, "notes:/promote", nil); err != nil {
		t.Fatal(err)
	}
	if code := read(ben); code != "" {
		t.Errorf("ben is an editor: %q", code)
	}
	if _, err := call.Do[any](ctx, phone, "login:/logout", map[string]bool{"everywhere": true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{ben, phone} {
		for deadline := time.Now().Add(10 * time.Second); ; {
			me, err := call.Do[login.Me](ctx, c, "login:/me", nil)
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("still there: %+v, %v", me, err)
			}
			if !me.Authenticated {
				break
			}
		}
	}
	if code := read(ben); code == "" {
		t.Error("ben is logged out and reads the notes")
	}
}

// TestBrowser does the same, and a passkey, in Chromium.
func TestBrowser(t *testing.T) {
	t.Parallel()
	const driver = "../../console/node_modules/playwright-core"
	chromium, err := exec.LookPath("chromium")
	if p := os.Getenv("CHROMIUM"); p != "" {
		chromium, err = p, nil
	}
	if _, missing := os.Stat(driver); missing != nil || err != nil || testing.Short() {
		t.Skip("it needs Chromium, and playwright-core in console/node_modules: make test-e2e brings both")
	}
	cmd := exec.CommandContext(t.Context(), "node", "browser.test.mjs", "http://localhost:"+start(t), chromium, password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
