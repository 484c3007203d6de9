package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
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
prints what is served and where the page is. If a port is taken the next free one is used. If no DIR is named
and this directory has other files, nothing is written, and the node runs with the defaults. When ropewalk.jsonc changes the node takes over what it
can without a restart.

The files in the directory content of the project, or in that of --content, are live topics: json:/NAME and file:/NAME,
the .sql files in its directories query:/DIR/NAME.sql, its scripts script:/NAME.

Other nodes on this machine can join it, at 127.0.0.1:7421 if nothing else is said:

  ropewalk serve --join 127.0.0.1:7421

--cluster none, or "none" as mesh.cluster in the configuration, keeps it alone.`
}

// Run serves until ctx ends.
func (d *devCmd) Run(ctx context.Context, w *world) error {
	p, err := openProject(d.Dir)
	if err != nil {
		return err
	}
	cfg, report, err := d.read(ctx, w, p)
	if err != nil {
		return err
	}
	again := newReloader(w, &cfg, func(ctx context.Context) (standard.Config, *config.Report, error) { return d.read(ctx, w, p) })
	again.file = p.config
	from := starter{cfg: &cfg, report: report, prepare: d.serve, listen: true, cluster: d.Cluster == ""}
	n, err := from.start(ctx, w)
	if err != nil {
		return err
	}
	if err = fillDemo(ctx, n, p); err == nil {
		err = d.introduce(ctx, w, n, &cfg, p)
	}
	if err != nil && ctx.Err() == nil {
		_ = n.Shutdown(ctx)
		return err
	}
	defer again.start(ctx, n)()
	return untilDone(ctx, n, &cfg, w)
}

// read reads the configuration.
func (d *devCmd) read(ctx context.Context, w *world, p project) (standard.Config, *config.Report, error) {
	cfg, report, err := d.load(w, w.source(p.config))
	if err != nil {
		return cfg, report, err
	}
	d.defaults(&cfg, report)
	d.contents(&cfg, report, p)
	return cfg, report, d.guard(ctx, &cfg)
}

// defaults are those of dev: a person reads the log, and there is a page.
func (d *devCmd) defaults(cfg *standard.Config, report *config.Report) {
	if cfg.Name == "" {
		cfg.Name = "dev"
	}
	if report.Origin("log.level") == "" {
		cfg.Log.Level = "warn"
	}
	if cfg.Mesh.Alone() && report.Origin("mesh.cluster") == "" {
		cfg.Mesh.Cluster = defaultCluster
	}
	if cfg.Permissions.Preset == "" {
		cfg.Permissions.Preset = presetDev
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
	}, ropewalk.Middleware{Stage: call, Kind: route.KindRetry})
}

func (d *devCmd) serve(n *runningNode) error {
	for _, s := range hello.WithPace(d.Pace) {
		if err := n.Serve(s); err != nil {
			return err
		}
	}
	return nil
}

// readyInfo is what dev prints for programs.
type readyInfo struct {
	Name    string   `json:"ready"`
	URL     string   `json:"url"`
	Cluster string   `json:"cluster,omitempty"`
	Project string   `json:"project,omitempty"`
	Written []string `json:"written,omitempty"`
}

// introduce prints what there is, and what to do with it.
func (d *devCmd) introduce(ctx context.Context, w *world, n *runningNode, cfg *standard.Config, p project) error {
	url := address(n, cfg)
	if w.json {
		return unwritable(w.line(readyInfo{n.Name(), url, clusterAddress(n), p.config, p.written}))
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
	b.WriteString(addressTree(w, brought(list)))
	fmt.Fprintf(&b, "\n%-24s%s\n", "Open the page:", w.paint(cyan, url))
	ws := "ws" + strings.TrimPrefix(url, "http")
	flag := ""
	if ws != "ws://"+defaultListen {
		flag = " --url " + ws
	}
	tries := [][2]string{
		{"Call:", self() + " call" + flag + ` math:/decimal/mul '{"a":2,"b":5}'`},
		{"Serve the same again:", another() + " --url " + ws},
		{"Then ask all servers:", self() + " gather" + flag + ` 'math:/decimal/*' '{"a":8,"b":2}'`},
		{"See messages pass:", self() + " tap" + flag},
		{"All that is served:", self() + " services" + flag},
	}
	if slices.ContainsFunc(list, func(s route.ServiceInfo) bool { return s.Name == "json" }) {
		tries = append(tries, [2]string{"List what is live:", self() + " ls" + flag + " json:/ --depth 0"})
	}
	if at := clusterAddress(n); at != "" {
		tries = append(tries, [2]string{"Other nodes:", self() + " serve --join " + at})
	}
	for _, try := range tries {
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
	if err != nil || !builtToRun(filepath.ToSlash(exe)) {
		return false
	}
	_, err = os.Stat(filepath.Join("examples", "hello", "main.go"))
	return err == nil
}

// builtToRun tells whether "go run" has built the program at a path: in a
// directory that it removes, or, from the second time on, in its cache.
func builtToRun(exe string) bool {
	dirs := strings.Split(exe, "/")
	if slices.Contains(dirs, "exe") && strings.Contains(exe, "go-build") {
		return true
	}
	const hash = 64 // hex digits
	dir, cached := strings.CutSuffix(dirs[max(len(dirs)-2, 0)], "-d")
	return cached && len(dir) == hash
}

// brought leaves out what somebody who has just begun need not see: what the
// node tells of itself, and a path beside which all below it stand.
func brought(list []route.ServiceInfo) []route.ServiceInfo {
	var out []route.ServiceInfo
	for i, s := range list {
		below := i+1 < len(list) && list[i+1].Name == s.Name && list[i+1].Path == strings.TrimSuffix(s.Path, "/")+"/**"
		if s.Name != "node" && !below {
			out = append(out, s)
		}
	}
	return out
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
