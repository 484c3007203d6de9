package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
	"github.com/ropewalk/ropewalk/route"
)

// devCmd starts a node to play with.
type devCmd struct {
	Dir string `arg:"" optional:"" help:"The project: a directory with ropewalk.jsonc, or one that is empty or new, in which a project is made. Default: this directory."`
	nodeFlags
	Pace time.Duration `default:"150ms" placeholder:"TIME" help:"How long each step of report:/long takes. Default: ${default}."`
}

// Help is printed below the flags.
func (*devCmd) Help() string {
	return `Makes a small project if the directory is empty, starts its node with the services of examples/hello compiled in, and
prints what is served and where the page is. If the port is taken the next free one is used. In a directory with other
files nothing is written; the node then runs with the defaults.`
}

// portTries is how many ports are tried after the first.
const portTries = 50

// Run serves until ctx ends.
func (d *devCmd) Run(ctx context.Context, w *world) error {
	p, err := openProject(d.Dir)
	if err != nil {
		return err
	}
	cfg, report, err := d.load(w, p.config)
	if err != nil {
		return err
	}
	d.defaults(&cfg, report)
	if err := d.guard(ctx, &cfg); err != nil {
		return err
	}
	n, err := d.start(ctx, w, &cfg, report)
	if err != nil {
		return err
	}
	if err := d.introduce(ctx, w, n, &cfg, p); err != nil && ctx.Err() == nil {
		_ = n.Shutdown(ctx)
		return err
	}
	return untilDone(ctx, n, &cfg, w)
}

// defaults are those of dev: a person reads the log, and there is a page.
func (d *devCmd) defaults(cfg *ropewalk.Config, report *config.Report) {
	if cfg.Name == "" {
		cfg.Name = "dev"
	}
	if report.Origin("log.level") == "" {
		cfg.Log.Level = "warn"
	}
	cfg.HTTP = page(cfg.Name)
	if cfg.Middleware == nil {
		cfg.Middleware = devMiddleware(cfg.Trace.Endpoint != "")
	}
}

// devMiddleware is the middleware of a node that is told of none, but for one
// thing: report:/long is slow on purpose, and no warning.
func devMiddleware(trace bool) []ropewalk.Middleware {
	call := string(route.StageCall)
	list := []ropewalk.Middleware{
		{Stage: string(route.StageInbound), Kind: route.KindRecover},
		{Stage: call, Kind: route.KindMetrics},
	}
	if trace {
		list = append(list, ropewalk.Middleware{Stage: call, Kind: route.KindTrace})
	}
	return append(list, ropewalk.Middleware{
		Stage: call, Kind: route.KindLog, Settings: map[string]any{"except": []string{"node:/tap", "report:/long"}},
	})
}

// start makes and starts the node; if its port is taken, on the next free one.
func (d *devCmd) start(ctx context.Context, w *world, cfg *ropewalk.Config, report *config.Report) (*runningNode, error) {
	first := cfg.Listeners[mainListener].Address
	for try := 0; ; try++ {
		n, err := newNode(ctx, *cfg, report)
		if err != nil {
			return nil, err
		}
		if err := d.serve(n); err != nil {
			_ = n.Shutdown(ctx)
			return nil, err
		}
		err = start(ctx, n)
		if err == nil {
			if try > 0 {
				w.warnf("%s is taken; using %s", first, cfg.Listeners[mainListener].Address)
			}
			return n, nil
		}
		_ = n.Shutdown(ctx)
		if !errors.Is(err, syscall.EADDRINUSE) || try == portTries || !nextPort(cfg) {
			return nil, err
		}
	}
}

func (d *devCmd) serve(n *runningNode) error {
	for _, s := range hello.WithPace(d.Pace) {
		if err := n.Serve(s); err != nil {
			return err
		}
	}
	return nil
}

// nextPort moves the listener main to the next port, if it has one.
func nextPort(cfg *ropewalk.Config) bool {
	l, ok := cfg.Listeners[mainListener]
	host, port, err := net.SplitHostPort(l.Address)
	n, numErr := strconv.Atoi(port)
	if !ok || err != nil || numErr != nil || n <= 0 || n >= 65535 {
		return false
	}
	l.Address = net.JoinHostPort(host, strconv.Itoa(n+1))
	cfg.Listeners[mainListener] = l
	return true
}

// readyInfo is what dev prints for programs.
type readyInfo struct {
	Name    string   `json:"ready"`
	URL     string   `json:"url"`
	Project string   `json:"project,omitempty"`
	Written []string `json:"written,omitempty"`
}

// introduce prints what there is, and what to do with it.
func (d *devCmd) introduce(ctx context.Context, w *world, n *runningNode, cfg *ropewalk.Config, p project) error {
	url := address(n, cfg)
	if w.json {
		return unwritable(w.line(readyInfo{n.Name(), url, p.config, p.written}))
	}
	list, err := call.Do[[]route.ServiceInfo](ctx, n, "node:/services", nil)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, path := range p.written {
		fmt.Fprintf(&b, "made %s\n", path)
	}
	if p.config == "" {
		fmt.Fprintf(&b, "This directory has other files, so no project is made in it. To have one: %s dev my-project\n", self())
	}
	fmt.Fprintf(&b, "\n%s %s %s\n\n", w.paint(bold, "ready"), n.Name(), w.paint(cyan, url))
	b.WriteString(addressTree(w, list))
	fmt.Fprintf(&b, "\n%-24s%s\n", "Open the page:", w.paint(cyan, url))
	ws := "ws" + strings.TrimPrefix(url, "http")
	flag := ""
	if ws != "ws://"+defaultListen {
		flag = " --url " + ws
	}
	for _, try := range [][2]string{
		{"Call:", self() + " call" + flag + ` math:/decimal/mul '{"a":2,"b":5}'`},
		{"Serve the same again:", another() + " --url " + ws},
		{"Then ask all servers:", self() + " gather" + flag + ` 'math:/decimal/*' '{"a":8,"b":2}'`},
		{"Watch:", self() + " tap" + flag},
	} {
		fmt.Fprintf(&b, "%-24s%s\n", try[0], try[1])
	}
	b.WriteString("\nStop with Ctrl-C.\n")
	return unwritable(w.printf("%s", b.String()))
}

// self is how this program was started: by its source, or by its name.
func self() string {
	if fromSource() {
		return "go run ./cmd/ropewalk"
	}
	name := os.Args[0]
	if filepath.IsAbs(name) {
		name = filepath.Base(name)
	}
	return name
}

// another is the command that serves the example services from a process of
// its own.
func another() string {
	if fromSource() {
		return "go run ./examples/hello"
	}
	return self() + " hello"
}

// fromSource reports whether "go run" started this in the source directory.
func fromSource() bool {
	exe, err := os.Executable()
	if err != nil || !slices.Contains(strings.Split(filepath.ToSlash(exe), "/"), "exe") || !strings.Contains(exe, "go-build") {
		return false
	}
	_, err = os.Stat(filepath.Join("examples", "hello", "main.go"))
	return err == nil
}

// addressTree draws the services, with their paths and descriptions.
func addressTree(w *world, list []route.ServiceInfo) string {
	width := 0
	for _, s := range list {
		width = max(width, len(s.Path))
	}
	var b strings.Builder
	last := ""
	for i, s := range list {
		if s.Name != last {
			fmt.Fprintf(&b, "%s\n", w.paint(bold, oneLine(s.Name)+":"))
			last = s.Name
		}
		branch := "├─"
		if i+1 == len(list) || list[i+1].Name != s.Name {
			branch = "└─"
		}
		about := ""
		if len(s.Servers) > 0 {
			about = oneLine(s.Servers[0].Description)
		}
		line := fmt.Sprintf("%s %-*s  %s", branch, width, oneLine(s.Path), w.paint(dim, about))
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(line, " "))
	}
	return b.String()
}
