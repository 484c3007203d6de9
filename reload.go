package ropewalk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
)

// Changes tells what came of a new configuration; see [Node.Reload].
type Changes = nodeapi.Changes

// reloading is what a Node has of reloads.
type reloading struct {
	mu  sync.Mutex
	now atomic.Pointer[Config] // as of the last reload; its fields are not changed
}

// change is one part of a configuration that can be replaced while a node runs.
type change struct {
	// field is its path; what is below belongs to it. * is any name.
	field string
	// prepare checks the new value. What it returns applies it and does not fail;
	// nil means that a restart is needed after all.
	prepare func(n *Node, old, next *Config) (apply func(), err error)
}

// fieldPermissions is the field of the rules, and begins those below it.
const fieldPermissions = "permissions"

// changes lists what can be replaced. What decides who may do what comes first.
func changes() []change {
	return []change{
		{fieldPermissions, preparePermissions},
		{"listeners.*.origins", prepareOrigins},
		{"middleware", prepareMiddleware},
		{"calls.strategy", prepareStrategies},
		{"calls.routes", prepareStrategies},
		{"calls.versions", prepareVersions},
		{"limits.connections", prepareConnections},
		{"limits.connectionsPerIP", prepareConnections},
		{"log.level", prepareLevel},
	}
}

// Reload has the node work with another configuration, as far as it can without
// a restart: log.level, middleware, permissions, sessions.tokens, calls.strategy,
// calls.routes, calls.versions, limits.connections, and the origins of listeners;
// the files of certificates and keys are read again in any case. The Changes say
// which fields hold now and which need a restart. Only differences from the
// configuration before are applied: what was changed on the running node, such as
// a middleware that was inserted, stays unless the configuration has changed
// there too.
//
// The whole configuration is looked at before anything changes; after an error,
// which names the field, all is as it was. Fields that no file has (those
// with the tag json:"-") are passed over. Messages under way finish under what
// held when they came.
func (n *Node) Reload(cfg Config) (Changes, error) { return n.reload(cfg, audit.Who{}) }

func (n *Node) reload(cfg Config, who audit.Who) (Changes, error) {
	c, err := n.takeOver(&cfg)
	e := audit.Event{Kind: audit.KindConfig, Outcome: audit.Done, Who: who, Detail: c.String()}
	if err != nil {
		e.Outcome, e.Code, e.Detail = audit.Failed, message.CodeOf(err), err.Error()
		n.log.Warn("the configuration was not changed: correct it and reload again", "err", err)
	} else {
		n.log.Info("the configuration was read again", "applied", c.Applied, "restart", c.Restart)
		if slices.ContainsFunc(c.Applied, func(field string) bool { return strings.HasPrefix(field, fieldPermissions) }) {
			n.notePermissions(who, "set by a reload")
		}
	}
	n.audit.Record(e)
	return c, err
}

// reloadFromSource answers node:/reload.
func (n *Node) reloadFromSource(ctx context.Context) (Changes, error) {
	cfg, err := n.cfg.Source(ctx)
	if err == nil {
		var c Changes
		if c, err = n.reload(cfg, nodeapi.Caller(ctx)); err == nil {
			return c, nil
		}
	}
	if _, ok := errors.AsType[*message.Error](err); !ok {
		// It was made here, and says what to correct.
		err = message.NewError(message.CodeInvalidInput, err.Error(), "Correct the configuration and reload again; nothing has changed.")
	}
	return Changes{}, err
}

func (n *Node) takeOver(next *Config) (Changes, error) {
	r := &n.reloading
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.now.Load()
	if next.Name == "" {
		next.Name = old.Name
	}
	c := Changes{Applied: []string{}, Restart: []string{}}
	changed, err := differences(old, next)
	if err != nil {
		return c, err
	}
	held := *old // what holds afterwards
	var apply []func()
	for _, ch := range changes() {
		var mine []string
		mine, changed = split(changed, ch.field)
		if len(mine) == 0 {
			continue
		}
		f, err := ch.prepare(n, old, next)
		if err != nil {
			return c, err
		}
		if f == nil {
			c.Restart = append(c.Restart, mine...)
			continue
		}
		apply = append(apply, f)
		c.Applied = append(c.Applied, mine...)
	}
	keys, changed := split(changed, "sessions.tokens")
	if n.tokens != nil {
		c.Applied = append(c.Applied, keys...)
	} else {
		c.Restart = append(c.Restart, keys...)
	}
	c.Restart = append(c.Restart, changed...)
	use, err := n.readFiles(next)
	if err != nil {
		return Changes{}, err
	}
	use()
	for _, f := range apply {
		f()
	}
	slices.Sort(c.Applied)
	slices.Sort(c.Restart)
	held.hold(next, c.Applied)
	r.now.Store(&held)
	return c, nil
}

// readFiles reads the keys of tokens and the certificates. The keys hold from
// then on; that is the last thing that can fail.
func (n *Node) readFiles(next *Config) (use func(), err error) {
	use = func() {}
	if srv := n.server(); srv != nil {
		if use, err = srv.ReadCertificates(); err != nil {
			return nil, err
		}
	}
	if n.tokens == nil {
		return use, nil
	}
	withSecret := *next
	withSecret.Mesh = n.cfg.Mesh // another secret needs a restart
	if err := n.tokens.Configure(withSecret.tokens()); err != nil {
		return nil, fmt.Errorf("sessions.tokens.%w", err)
	}
	return use, nil
}

// server is what listens; nil before [Node.Start] and without listeners.
func (n *Node) server() *edge.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.edge
}

// hold takes over the fields that were applied.
func (c *Config) hold(next *Config, applied []string) {
	origins := false
	for _, f := range applied {
		switch head, rest, _ := strings.Cut(f, "."); {
		case head == fieldPermissions:
			c.Permissions = next.Permissions
		case head == "middleware":
			c.Middleware = next.Middleware
		case head == "calls" && !strings.HasPrefix(rest, "versions"):
			c.Calls.Strategy, c.Calls.Routes = next.Calls.Strategy, next.Calls.Routes
		case head == "calls":
			c.Calls.Versions = next.Calls.Versions
		case head == "limits":
			c.Limits.Connections, c.Limits.ConnectionsPerIP = next.Limits.Connections, next.Limits.ConnectionsPerIP
		case head == "log":
			c.Log.Level = next.Log.Level
		case head == "sessions":
			c.Sessions.Tokens = next.Sessions.Tokens
		case head == "listeners":
			origins = true
		}
	}
	if origins {
		c.Listeners = withOrigins(c.Listeners, next.Listeners)
	}
}

// differences returns the paths of the fields in which two configurations
// differ. A list is one field.
func differences(a, b *Config) ([]string, error) {
	before, err := leaves(a)
	if err != nil {
		return nil, err
	}
	after, err := leaves(b)
	if err != nil {
		return nil, err
	}
	changed := make(map[string]struct{})
	for path, v := range before {
		if w, ok := after[path]; !ok || !reflect.DeepEqual(v, w) {
			changed[path] = struct{}{}
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			changed[path] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(changed)), nil
}

// leaves are the values of a configuration by their paths.
func leaves(c *Config) (map[string]any, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be written down: %w", err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	if len(c.More) > 0 {
		if text, err = json.Marshal(c.More); err != nil {
			return nil, fmt.Errorf("the configuration cannot be written down: %w", err)
		}
		if err := json.Unmarshal(text, &v); err != nil { // beside the others
			return nil, err
		}
	}
	out := make(map[string]any)
	var walk func(path string, v map[string]any)
	walk = func(path string, v map[string]any) {
		for name, inner := range v {
			if m, ok := inner.(map[string]any); ok && len(m) > 0 {
				walk(path+name+".", m)
			} else {
				out[path+name] = inner
			}
		}
	}
	walk("", v)
	return out, nil
}

// split takes from paths those at or below field.
func split(paths []string, field string) (in, out []string) {
	want := strings.Split(field, ".")
	fits := func(word, field string) bool { return field == "*" || field == word }
	for _, p := range paths {
		if words := strings.Split(p, "."); len(words) >= len(want) && slices.EqualFunc(words[:len(want)], want, fits) {
			in = append(in, p)
		} else {
			out = append(out, p)
		}
	}
	return in, out
}

func preparePermissions(n *Node, _, next *Config) (func(), error) {
	if n.guard == nil {
		return nil, nil //nolint:nilnil // Config.Allow decides
	}
	p, err := policy.Compile(next.Permissions)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	return func() { n.holdPermissions(p) }, nil
}

func prepareOrigins(n *Node, old, next *Config) (func(), error) {
	for name := range next.Listeners {
		if _, ok := old.Listeners[name]; !ok {
			continue
		}
		for _, o := range next.Listeners[name].Origins {
			if u, err := url.Parse(o); o != "*" && (err != nil || u.Scheme == "" || u.Host == "") {
				return nil, fmt.Errorf("listeners.%s.origins: %q is no origin such as https://app.example.com", name, o)
			}
		}
	}
	return func() {
		srv := n.server()
		for name := range old.Listeners {
			if l, ok := next.Listeners[name]; ok && srv != nil {
				srv.SetOrigins(name, l.Origins)
			}
		}
	}, nil
}

// withOrigins returns listeners with the origins of others of the same names.
func withOrigins(list, from map[string]Listener) map[string]Listener {
	list = maps.Clone(list)
	for name, l := range list {
		if f, ok := from[name]; ok {
			l.Origins = f.Origins
			list[name] = l
		}
	}
	return list
}

func prepareMiddleware(n *Node, old, next *Config) (func(), error) {
	p, err := n.kit.plan(n.x.Stack(), old.Middleware, next.Middleware)
	if err != nil {
		return nil, err
	}
	return func() {
		if err := p.apply(n.x.Stack()); err != nil { // somebody else has changed it just now
			n.log.Error("the middleware is not as configured: reload once more", "err", err)
		}
		for _, w := range n.x.Stack().Warnings() {
			n.log.Warn("middleware order", "warning", w)
		}
	}, nil
}

func prepareStrategies(n *Node, old, next *Config) (func(), error) {
	for field, name := range namesOfStrategies(&next.Calls) {
		if _, ok := n.strategies.Get(name); !ok && name != "" {
			return nil, fmt.Errorf("%s: there is no strategy %q; there is %s", field, name, strings.Join(n.strategies.Names(), ", "))
		}
	}
	return func() {
		err := n.strategies.SetDefault(next.Calls.Strategy)
		for pattern := range old.Calls.Routes {
			if _, ok := next.Calls.Routes[pattern]; !ok {
				err = errors.Join(err, n.strategies.SetRoute(pattern, ""))
			}
		}
		for pattern, name := range next.Calls.Routes {
			if old.Calls.Routes[pattern] != name {
				err = errors.Join(err, n.strategies.SetRoute(pattern, name))
			}
		}
		n.unexpected(err)
	}, nil
}

// namesOfStrategies are the strategies that are named, by field.
func namesOfStrategies(c *Calls) map[string]string {
	names := map[string]string{"calls.strategy": c.Strategy}
	for pattern, name := range c.Routes {
		names[fmt.Sprintf("calls.routes[%q]", pattern)] = name
	}
	return names
}

func prepareVersions(n *Node, old, next *Config) (func(), error) {
	try := route.NewStrategies()
	for service, shares := range next.Calls.Versions {
		if err := try.SetWeights(service, shares); err != nil {
			return nil, fmt.Errorf("calls.versions[%q]: %w", service, err)
		}
	}
	return func() {
		var err error
		for service := range old.Calls.Versions {
			if _, ok := next.Calls.Versions[service]; !ok {
				err = errors.Join(err, n.strategies.SetWeights(service, nil))
			}
		}
		for service, shares := range next.Calls.Versions {
			if !maps.Equal(old.Calls.Versions[service], shares) {
				err = errors.Join(err, n.strategies.SetWeights(service, shares))
			}
		}
		n.unexpected(err)
	}, nil
}

func prepareConnections(n *Node, old, next *Config) (func(), error) {
	if (old.Limits.ConnectionsPerIP > 0) != (next.Limits.ConnectionsPerIP > 0) {
		return nil, nil //nolint:nilnil // who is there was not counted
	}
	return func() {
		if srv := n.server(); srv != nil {
			srv.SetConnections(positive(next.Limits.Connections, DefaultConnections), next.Limits.ConnectionsPerIP)
		}
	}, nil
}

func prepareLevel(n *Node, _, next *Config) (func(), error) {
	level := slog.LevelInfo
	if next.Log.Level != "" {
		if err := level.UnmarshalText([]byte(next.Log.Level)); err != nil {
			return nil, fmt.Errorf("log.level: %q is none of debug, info, warn, error", next.Log.Level)
		}
	}
	if n.cfg.LogLevel == nil {
		return nil, nil //nolint:nilnil // the level is the logger's own
	}
	return func() { n.cfg.LogLevel.Set(level) }, nil
}

// unexpected logs an error that was ruled out before.
func (n *Node) unexpected(err error) {
	if err != nil {
		n.log.Error("a part of the new configuration was not applied: reload once more", "err", err)
	}
}
