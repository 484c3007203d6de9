// Package standard makes the services of all contents that Ropewalk brings
// along, from the section "content" of a configuration file. It links the
// databases, the script engine and Git; a program that needs one of the
// providers only uses package content with that.
//
//	contents, err := standard.New(cfg.Content, standard.Env{Node: node})
//	defer contents.Close()
//	for _, s := range contents.Services() {
//		err = node.ServeOwn(s)
//	}
package standard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/query"
	_ "github.com/ropewalk/ropewalk/content/query/drivers" // all databases
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// Node is what scripts call, publish to and watch, if they may: a node, or a
// client. A client runs all schedules of its scripts, and handles all events.
type Node interface {
	call.Caller
	call.Watcher
}

// owner is a Node that knows whether it is the one of many that owns a topic.
type owner interface {
	Owns(address string) bool
}

// Env is what contents need of the program.
type Env struct {
	// Logger gets what an operator has to know. Default: slog.Default.
	Logger *slog.Logger
	// Registry takes the metrics. Default: nobody.
	Registry prometheus.Registerer
	// Node is for scripts. Default: they have none.
	Node Node
	// Config is the file that the settings are from. It is not served, wherever it
	// is. Default: there is none.
	Config string
}

// Contents are the services of one configuration. Make them with [New]; close
// them after the node that serves them.
type Contents struct {
	log      *slog.Logger
	metrics  *content.Metrics
	settings Settings
	services []*content.Service
	shared   []io.Closer // providers of several services
	scripts  *script.Provider
	mine     func() bool // whether this node runs schedules and handles events; nil: it does
}

// New opens what the settings name. Its error is one of those of
// [Settings.Check], or has the field in the same way.
func New(s Settings, env Env) (*Contents, error) {
	if errs := s.Check(); len(errs) > 0 {
		return nil, errs[0]
	}
	if err := s.checkDirs(); err != nil {
		return nil, err
	}
	if env.Logger == nil {
		env.Logger = slog.Default()
	}
	metrics, err := content.NewMetrics(env.Registry)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	c := &Contents{log: env.Logger, metrics: metrics, settings: s.full()}
	c.settings.hide(env.Config)
	if err := c.open(&s, env.Node); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Services are what a node has to serve, by the names of their schemes.
func (c *Contents) Services() []*service.Service {
	list := make([]*service.Service, len(c.services))
	for i, s := range c.services {
		list[i] = s.Service
	}
	return list
}

// Start begins to run scripts by their schedules, and for events. It is called when the node
// runs, and once.
func (c *Contents) Start() {
	if c.scripts == nil || c.settings.Script.Schedules == SchedulesNone {
		return
	}
	s := script.NewScheduler(c.scripts, script.SchedulerOptions{
		Mine: c.mine,
		Ran:  func(_, export string, _ time.Duration, err error) { c.metrics.ScriptRan(export, err) },
	})
	c.shared = append(c.shared, closer(func() error { s.Close(); return nil }))
}

// schedules is the path by which nodes choose the one that runs scripts by their
// schedules and for events. No script has it: hidden names are not served.
const schedules = "/.schedules"

// elect has the nodes that serve the path of a service choose one of them.
func (c *Contents) elect(s *content.Service, node Node) {
	o, ok := node.(owner)
	if w := c.settings.Script.Schedules; !ok || w == SchedulesEverywhere || w == SchedulesNone {
		return
	}
	s.Handle(schedules, route.HandlerFunc(func(_ context.Context, _ *route.Request, res route.Responder) {
		_ = res.Fail(message.NewError(message.CodeUnimplemented, "there is nothing to see", "Nodes choose by it who runs scripts by their schedules."))
	}), service.WithTopic(route.Topic{}), service.WithInline(message.VerbSubscribe),
		service.WithDescription("Nodes choose by it who runs scripts by their schedules."))
	at := s.Name() + ":" + schedules
	c.mine = func() bool { return o.Owns(at) }
}

// Close ends the services, then what they share.
func (c *Contents) Close() error {
	var err error
	for _, s := range slices.Backward(c.services) { // a script may use a database
		err = errors.Join(err, s.Close())
	}
	for _, p := range slices.Backward(c.shared) {
		err = errors.Join(err, p.Close())
	}
	c.services, c.shared = nil, nil
	return err
}

// open makes the services in the order of schemes.
func (c *Contents) open(s *Settings, node Node) error {
	if s.serves(schemeGit) || s.fromGit() && (s.serves(schemeJSON) || s.serves(schemeFile)) {
		if err := c.git(s, node); err != nil {
			return err
		}
	} else if s.serves(schemeJSON) || s.serves(schemeFile) {
		if err := c.files(s, node); err != nil {
			return err
		}
	}
	h := host{node: node, log: c.log}
	if s.serves(schemeQuery) {
		p, err := c.query()
		if err != nil {
			return err
		}
		h.query = p
	}
	if s.serves(schemeHTTP) || s.serves(schemeHTTPS) {
		w, err := c.web(s)
		if err != nil {
			return err
		}
		h.web = w
	}
	if s.serves(schemeScript) || s.serves(schemeJavaScript) {
		return c.script(s, &h)
	}
	return nil
}

// add makes a service of a provider.
func (c *Contents) add(scheme string, p content.Provider, o content.Options) {
	o.Logger, o.Metrics, o.Watches, o.Version = c.log, c.metrics, c.settings.Watches, ""
	o.Presence = c.settings.presence(scheme)
	c.services = append(c.services, content.NewService(scheme, p, o))
}

// How long computing may take where the provider has its own limits: a little
// longer, so that it tells what it was.
const grace = 2 * time.Second

func (c *Contents) files(s *Settings, node Node) error {
	set := c.settings.Files
	set.Logger, set.Rights = c.log, readersOf(node)
	tree, err := file.New(set)
	if err != nil {
		return in("files", err)
	}
	c.shared = append(c.shared, tree)
	o := content.Options{Borrowed: true, Topic: route.Topic{Code: content.Code()}}
	if s.serves(schemeJSON) {
		o.Description = "JSON files, and listings of directories."
		c.add(schemeJSON, tree.JSON(), o)
	}
	if s.serves(schemeFile) {
		o.Description = "Files of all kinds, and listings of directories."
		c.add(schemeFile, tree.Files(true), o)
	}
	return nil
}

func (c *Contents) git(s *Settings, node Node) error {
	rights := readersOf(node)
	store, err := git.New(c.settings.Git, git.Options{Logger: c.log, Allow: mayPublish(node), Rights: rights})
	if err != nil {
		return in("git", err)
	}
	c.shared = append(c.shared, store)
	o := content.Options{Borrowed: true, Topic: route.Topic{Code: content.Code(), Personal: store.Personal()}, Timeout: time.Minute}
	if s.serves(schemeJSON) {
		o.Description = "JSON files of a Git branch, and listings of directories."
		c.add(schemeJSON, store.JSON(), o)
	}
	if s.serves(schemeFile) {
		o.Description = "Files of a Git branch, and listings of directories."
		c.add(schemeFile, store.Files(true), o)
	}
	if s.serves(schemeGit) {
		o.Description = "The history of the contents: log, diff, show, restore, merge, pull, push."
		o.Topic.Code = nil
		o.Topic.Personal = o.Topic.Personal || rights != nil // the store asks them about the files
		c.add(schemeGit, store.Git(), o)
	}
	return nil
}

// queryInterval lets statements through while many change what is watched: the
// first change is seen at once, and those that follow it a moment later.
const queryInterval = 25 * time.Millisecond

func (c *Contents) query() (*query.Provider, error) {
	set := c.settings.Query.Settings
	for name, db := range set.Databases {
		if filepath.Base(filepath.Dir(db.File)) != dataDir {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(db.File), 0o700); err != nil {
			return nil, in("query.databases."+name+".file", err)
		}
	}
	p, err := query.New(set, c.log)
	if err != nil {
		return nil, in("query", err)
	}
	c.shared = append(c.shared, closer(p.Close))
	shared := c.settings.Query.Sharing
	c.add(schemeQuery, p, content.Options{
		Borrowed: true, Topic: route.Topic{Personal: true}, Shared: shared.Shared, Interval: shared.Interval.Or(queryInterval),
		Description: "Queries of databases, by .sql files.", Timeout: set.MaxTimeout.Or(time.Minute) + grace, Workers: 4 * runtime.GOMAXPROCS(0),
	})
	return p, nil
}

// webWorkers wait for others nearly all of the time.
const webWorkers = 64

func (c *Contents) web(s *Settings) (*web.Web, error) {
	set := c.settings.Web
	set.Logger = c.log
	w, err := web.New(set)
	if err != nil {
		return nil, in("web", err)
	}
	c.shared = append(c.shared, w)
	o := content.Options{
		Borrowed: true, Description: "What is fetched from the web.", Timeout: set.Timeout.Or(web.DefaultTimeout) + grace, Workers: webWorkers,
	}
	for _, scheme := range []string{schemeHTTP, schemeHTTPS} {
		if s.serves(scheme) {
			c.add(scheme, w.Scheme(scheme), o)
		}
	}
	return w, nil
}

// scriptQueue is how long a script may wait for its turn, on top of the time that
// it has.
const scriptQueue = 10 * time.Second

// scriptWorkers is how many contents of scripts are computed at a time, at least:
// most may wait for what they have asked for.
const scriptWorkers = 16

func (c *Contents) script(s *Settings, h *host) error {
	set := c.settings.Script.Settings
	p, err := script.New(set, h.forScripts(), c.log)
	if err != nil {
		return in("script", err)
	}
	c.scripts = p
	c.shared = append(c.shared, closer(p.Close))
	personal := slices.ContainsFunc(set.Grants, func(g script.Grant) bool { return g.Session != "" })
	shared := c.settings.Script.Sharing
	o := content.Options{
		Borrowed: true, Topic: route.Topic{Personal: personal}, Interval: time.Duration(shared.Interval),
		Description: "What scripts compute, and the calls that they handle.",
		Timeout:     set.Limits.Wall.Or(script.DefaultWall) + scriptQueue, Workers: max(scriptWorkers, 4*runtime.GOMAXPROCS(0)),
	}
	if personal {
		o.Shared = shared.Shared
	}
	first := len(c.services)
	for _, scheme := range []string{schemeScript, schemeJavaScript} {
		if s.serves(scheme) {
			c.add(scheme, p, o)
		}
	}
	c.elect(c.services[first], h.node)
	return nil
}

// in says in which section an error of a provider is.
func in(section string, err error) error {
	path, text := fieldOf(err)
	e := &message.Error{
		Code: message.CodeInvalidInput, Path: strings.TrimSuffix(section+"."+path, "."), Message: text, Cause: err,
	}
	if inner, ok := errors.AsType[*message.Error](err); ok {
		e.Hint, e.Cause = inner.Hint, inner.Cause
	}
	return e
}

// closer is a function that closes.
type closer func() error

// Close calls it.
func (c closer) Close() error { return c() }
