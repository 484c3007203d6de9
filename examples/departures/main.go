// Command departures is a live flight board: 20,000 flights in an SQLite
// database, and pages that follow what becomes of them. What the pages show are
// the .sql files in the directory content; there is no code of the server behind
// them. Start it in the root of the repository, and open the pages:
//
//	go run ./examples/departures
//
// The flights are fetched when it is started for the first time; README.md says
// where from.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/examples/internal/page"
	"github.com/ropewalk/ropewalk/policy"
)

//go:embed page
var pages embed.FS

// settings are what the command line says.
type settings struct {
	listen  string
	data    string // the directory of the database
	source  string // the directory of the data, if they are not to be fetched
	content string // the directory of the .sql files
	sdk     string // the directory of the client for browsers
	out     io.Writer
}

func main() {
	s := settings{out: os.Stderr}
	flag.StringVar(&s.listen, "listen", "127.0.0.1:7430", "where browsers connect")
	flag.StringVar(&s.data, "data", "examples/departures/.data", "the directory of the database")
	flag.StringVar(&s.source, "source", "", "a directory with "+flightsFile+" and "+airportsFile+"; they are fetched by npm if it is empty")
	flag.StringVar(&s.content, "content", "examples/departures/content", "the directory of the .sql files")
	flag.StringVar(&s.sdk, "sdk", "sdk/ts/dist", "the directory with ropewalk.min.js")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, s, func(url string) { fmt.Printf("the board   %s\nthe editor  %s/editor.html\n", url, url) })
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "departures:", err)
		os.Exit(1) //nolint:gocritic // stop only gives the signals back
	}
}

// run serves until ctx ends. ready is told where the pages are.
func run(ctx context.Context, s settings, ready func(url string)) error {
	for _, file := range []string{filepath.Join(s.sdk, "ropewalk.min.js"), filepath.Join(s.content, "board.sql")} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w; start it in the root of the repository", err)
		}
	}
	database, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	return serve(ctx, s, database, ready)
}

func serve(ctx context.Context, s settings, database string, ready func(url string)) (err error) {
	node, err := ropewalk.New(ropewalk.Config{
		Name:        "departures",
		Listeners:   map[string]ropewalk.Listener{"main": {Address: s.listen}},
		Permissions: rules(),
		HTTP:        page.Handler(pages, s.sdk),
		Log:         ropewalk.Log{Level: "warn"},
	})
	if err != nil {
		return err
	}
	contents, err := standard.New(standard.Settings{
		Schemes: []string{"query"},
		Query: standard.Query{
			Settings: query.Settings{
				Applications: map[string]string{"departures": s.content},
				Databases:    map[string]query.Database{"main": {File: database}},
			},
			// Who looks makes no difference: each query runs once for all.
			Sharing: standard.Sharing{Shared: []string{"/departures/**"}},
		},
	}, standard.Env{Logger: node.Logger(), Registry: node.Registry(), Node: node})
	if err != nil {
		return err
	}
	// The contents go after the node that serves them.
	defer func() { err = errors.Join(err, contents.Close()) }()
	defer func() { err = errors.Join(err, node.Shutdown(context.Background())) }()
	for _, service := range contents.Services() {
		if err := node.ServeOwn(service); err != nil {
			return err
		}
	}
	if err := node.Start(ctx); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(node.Addrs()["main"].String())
	if err != nil {
		return err
	}
	ready("http://localhost:" + port)
	<-ctx.Done()
	return nil
}

// rules let everybody look, and change the delay of a flight; nothing else. In
// earnest, the second one would have a condition.
func rules() policy.Config {
	return policy.Config{
		Preset: "closed",
		Rules: []policy.Rule{
			{Name: "everybody looks", Verbs: []string{"watch"}, Addresses: []string{"query:/departures/**"}},
			{Name: "everybody delays", Verbs: []string{"publish"}, Addresses: []string{"query:/departures/delay.sql"}},
		},
	}
}
