package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/internal/gcpace"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// defaultListen is where a node listens if nobody says otherwise.
	defaultListen = "127.0.0.1:7420"
	// mainListener is the listener that --listen sets.
	mainListener = "main"
)

// nodeFlags are what the verbs that run a node have in common.
type nodeFlags struct {
	Listen   string `placeholder:"HOST:PORT" help:"Accept connections here; port 0 takes a free one. Default: what the configuration says, else 127.0.0.1:7420."`
	Name     string `placeholder:"NAME" help:"What people call this node. Default: the host's name."`
	LogLevel string `placeholder:"LEVEL" help:"Log debug, info, warn or error. Default: info."`
	Preset   string `placeholder:"NAME" help:"What clients may do if no rule says: dev (everything), standard (call, send, watch), read-only, editor, admin, closed (nothing). Default: dev for ropewalk dev, else standard."`
	Content  string `placeholder:"DIR" help:"Serve the contents of this directory: its files as json: and file:, .sql files as query:, scripts as script:. Default: what the configuration says."`
	meshFlags
}

// load reads the configuration, and the flags.
func (f *nodeFlags) load(w *world, from config.Source) (standard.Config, *config.Report, error) {
	var cfg standard.Config
	report, err := from.Read(&cfg)
	if err != nil {
		return cfg, report, err
	}
	for _, name := range report.Unused {
		w.warnf("the variable %s sets no field of the configuration", name)
	}
	for _, set := range []struct {
		field             *string
		value, path, flag string
	}{
		{&cfg.Name, f.Name, "name", "--name"},
		{&cfg.Log.Level, f.LogLevel, "log.level", "--log-level"},
		{&cfg.Permissions.Preset, f.Preset, "permissions.preset", "--preset"},
		{&cfg.Content.Root, f.Content, "content.root", "--content"},
	} {
		if set.value != "" {
			*set.field = set.value
			report.Set(set.path, set.flag)
		}
	}
	f.listeners(&cfg, report)
	if err := f.apply(&cfg, report); err != nil {
		return cfg, report, err
	}
	if err := checkName(cfg.Name); err != nil {
		return cfg, report, err
	}
	return cfg, report, check(&cfg, report)
}

func (f *nodeFlags) listeners(cfg *standard.Config, report *config.Report) {
	address := f.Listen
	if address == "" && len(cfg.Listeners) == 0 {
		address = defaultListen
	}
	if address == "" {
		return
	}
	if cfg.Listeners == nil {
		cfg.Listeners = make(map[string]ropewalk.Listener)
	}
	l := cfg.Listeners[mainListener]
	l.Address = address
	cfg.Listeners[mainListener] = l
	if f.Listen != "" {
		report.Set("listeners.main.address", "--listen")
	}
}

// checkName keeps the ready line of a node in three words.
func checkName(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return usage(fmt.Sprintf("the name %q has a space or a control character", name), "Name the node with one word, such as shop-1.")
	}
	return nil
}

// presetDev allows everything to everybody.
const presetDev = "dev"

// guard checks where to listen. Who lets everybody do everything does not do so
// where others can connect, unless the flag says it.
func (f *nodeFlags) guard(ctx context.Context, cfg *standard.Config) error {
	for _, name := range slices.Sorted(maps.Keys(cfg.Listeners)) {
		address := cfg.Listeners[name].Address
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return usage(fmt.Sprintf("listener %s: %q is not HOST:PORT", name, address), "Write it like 127.0.0.1:7420; port 0 takes a free one.")
		}
		if cfg.Permissions.Preset != presetDev || f.Preset == presetDev || isLoopback(ctx, host) {
			continue
		}
		return fail(exitUsage, message.NewError(message.CodeForbidden,
			fmt.Sprintf("the listener %s at %s can be reached from other machines, and everybody may do everything", name, address),
			"Listen on 127.0.0.1, or add --preset standard and say in the configuration who may do more; --preset dev is for networks of which everybody is trusted."))
	}
	return nil
}

// isLoopback reports whether nobody but this machine reaches host.
func isLoopback(ctx context.Context, host string) bool {
	if host == "" {
		return false
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil || len(ips) == 0 {
		return false
	}
	return !slices.ContainsFunc(ips, func(a net.IPAddr) bool { return !a.IP.IsLoopback() })
}

// newNode makes a node.
func newNode(ctx context.Context, w *world, cfg standard.Config, report *config.Report) (*runningNode, error) {
	if cfg.Logger == nil {
		cfg.Logger = nodeLogger(w, &cfg)
	}
	if err := connectNodes(&cfg, cfg.Logger); err != nil {
		return nil, placed(fmt.Errorf("mesh.%w", err), report)
	}
	var err error
	if cfg.HTTP, err = standard.Pages(cfg.Content.Pages, cfg.HTTP, cfg.Content.Lives(report.File)...); err != nil {
		return nil, placed(err, report)
	}
	stop, err := trace(ctx, &cfg)
	if err != nil {
		return nil, placed(fmt.Errorf("trace.endpoint: %w", err), report)
	}
	n, err := ropewalk.New(cfg.Node())
	if err != nil {
		return nil, placed(errors.Join(err, stop(ctx)), report)
	}
	running := &runningNode{Node: n, stopTraces: stop}
	if err := running.logIn(ctx, &cfg.Login); err != nil {
		return nil, placed(errors.Join(err, running.Shutdown(ctx)), report)
	}
	if err := running.serveContents(&cfg, report.File); err != nil {
		return nil, placed(errors.Join(err, running.Shutdown(ctx)), report)
	}
	return running, nil
}

// placed adds to an error of the node where the value at fault was given.
func placed(err error, report *config.Report) error {
	all, hint := err.Error(), ""
	e := new(message.Error)
	if errors.As(err, &e) {
		all, hint = strings.Replace(all, e.Error(), e.Message, 1), e.Hint
	} else {
		e = new(message.Error)
	}
	path, text, ok := strings.Cut(all, ": ")
	if e.Path != "" {
		path, text, ok = e.Path, e.Message, true
	}
	origin := ""
	if ok {
		origin = report.Origin(path)
	}
	if origin == "" {
		path, text = "", all
	}
	return &config.Error{Problems: []config.Problem{{File: origin, Path: path, Message: text, Hint: hint}}}
}

// untilDone waits for a signal and then lets the node finish what it does.
func untilDone(ctx context.Context, n *runningNode, cfg *standard.Config, w *world) error {
	gcpace.Run(ctx) // returns when ctx ends, or at once if the environment sets the pace
	<-ctx.Done()
	within := cfg.Shutdown.Or(ropewalk.DefaultShutdown)
	fmt.Fprintf(w.err, "stopping: calls in flight have %v to finish; once more stops at once\n", within)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := n.Shutdown(end); err != nil {
		return fail(exitFailed, message.NewError(message.CodeShuttingDown, "not everything was finished: "+err.Error(),
			"Give it more time with shutdown in the configuration."))
	}
	return nil
}
