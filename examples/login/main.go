// Command login is a small application that people log in to, with a password
// or a passkey: a node, its page, and a service whose notes not everybody may
// read. Start it in the root of the repository, and open the page:
//
//	go run ./examples/login
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/examples/internal/page"
	"github.com/ropewalk/ropewalk/login"
	_ "github.com/ropewalk/ropewalk/login/drivers"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

//go:embed page
var pages embed.FS

// settings are what the command line says.
type settings struct {
	listen string
	users  string // a file
	sdk    string // the directory of the client for browsers
}

func main() {
	var s settings
	flag.StringVar(&s.listen, "listen", "127.0.0.1:7420", "where browsers connect")
	flag.StringVar(&s.users, "users", "login-example.db", "the file of the user table")
	flag.StringVar(&s.sdk, "sdk", "sdk/ts/dist", "the directory with ropewalk.min.js")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, func(url string) { fmt.Printf("open %s\nusers: anna (editor) and ben; password: %s\n", url, password) }); err != nil {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1) //nolint:gocritic // stop only gives the signals back
	}
}

// run serves until ctx ends. ready is told where the page is.
func run(ctx context.Context, s settings, ready func(url string)) error {
	if _, err := os.Stat(s.sdk + "/ropewalk.min.js"); err != nil {
		return fmt.Errorf("%w; start it in the root of the repository", err)
	}
	listener, err := freePort(s.listen)
	if err != nil {
		return err
	}
	url := "http://localhost:" + listener.port
	node, err := ropewalk.New(ropewalk.Config{
		Name:        "login",
		Listeners:   map[string]ropewalk.Listener{"main": {Address: listener.address, Origins: []string{url}}},
		Permissions: rules(),
		HTTP:        page.Handler(pages, s.sdk),
		Log:         ropewalk.Log{Level: "warn"},
	})
	if err != nil {
		return err
	}
	defer func() { _ = node.Shutdown(context.Background()) }()
	users, err := logIn(ctx, node, s.users, url)
	if err != nil {
		return err
	}
	defer func() { _ = users.Close() }()
	if err := node.Serve(notes()); err != nil {
		return err
	}
	if err := node.Start(ctx); err != nil {
		return err
	}
	ready(url)
	<-ctx.Done()
	return nil
}

type place struct{ address, port string }

// freePort finds out which port 0 is before the node listens: passkeys need
// the address of the page.
func freePort(address string) (place, error) {
	l, err := net.Listen("tcp", address) //nolint:noctx // it is over at once
	if err != nil {
		return place{}, err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return place{l.Addr().String(), port}, err
}

// logIn has the node serve login:/ with a user table in a file.
func logIn(ctx context.Context, node *ropewalk.Node, file, url string) (*login.Login, error) {
	l, err := login.New(login.Config{
		Users:    login.Users{Driver: login.DriverSQLite, DSN: file, Create: true},
		Passkeys: login.Passkeys{ID: "localhost", Name: "Ropewalk example", Origins: []string{url}},
	}, login.Env{
		Logger: node.Logger(), Registry: node.Registry(),
		Revoke: func(ctx context.Context, subject string) error {
			return node.RevokeSessions(ctx, keeper.Revocation{Subject: subject})
		},
	})
	if err != nil {
		return nil, err
	}
	if err := l.Start(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	node.AskBeforeRefresh(l.Active)
	for name, claims := range map[string]session.Claims{"anna": {"role": "editor"}, "ben": nil} {
		_, err := l.AddUser(ctx, name, password, claims, nil)
		if err != nil && message.CodeOf(err) != message.CodeConflict { // there since the last time
			return nil, errors.Join(err, l.Close())
		}
	}
	if err := node.ServeOwn(l.Service()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// password is that of both users. It is an example.
const password = "correct horse battery" //nolint:gosec // likewise

// rules say who may call what: everybody may log in, who has may ask for a
// role, and editors read what is secret.
func rules() policy.Config {
	return policy.Config{
		Preset: "closed",
		Rules: []policy.Rule{
			{Name: "everybody may log in", Verbs: []string{"call"}, Addresses: []string{"login:/**", "node:/session/**"}},
			{Name: "users may be promoted", Verbs: []string{"call"}, Addresses: []string{"notes:/promote"}, When: "session.authenticated"},
			{Name: "editors read", Verbs: []string{"call"}, Addresses: []string{"notes:/read"}, When: "claims.role == 'editor'"},
		},
	}
}
