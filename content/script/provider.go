// Package script is the content of JavaScript and TypeScript files: the schemes
// script: and javascript:. A script is a topic, whose content is what it
// returns, computed again when one of its files or what it has read changes. It
// may answer calls, take what is published, and run on a schedule; see
// docs/reference/content.md.
//
//	provider, err := script.New(script.Settings{Root: "scripts"}, script.Host{}, nil)
//	err = node.Serve(content.NewService("script", provider, content.Options{}))
//
// Scripts have no way out but what [Settings].Grants gives them of a [Host], and
// end when they reach one of the [Limits].
package script

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Provider is a content.Provider, Caller, Publisher and Closer. Make one with
// [New]. Its methods may be called from any goroutine.
type Provider struct {
	settings Settings
	host     Host
	log      *slog.Logger
	tree     *tree
	engine   engine.Engine
	grants   []*grant
	programs *programs
	watcher  *watcher
	lane     *lane.Lane
	location *time.Location

	mu    sync.Mutex
	armed map[string]map[*resource]bool // watched, by path
}

// New returns a provider of the scripts that settings name. A nil logger means
// slog.Default(). Its error names the field of the settings that is wrong.
func New(s Settings, h Host, log *slog.Logger) (*Provider, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	s = s.withDefaults()
	if log == nil {
		log = slog.Default()
	}
	location, err := time.LoadLocation(s.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	p := &Provider{settings: s, host: h, log: log, location: location, armed: map[string]map[*resource]bool{}}
	for i := range s.Grants {
		g, err := s.Grants[i].compile()
		if err != nil {
			return nil, fmt.Errorf("grants[%d].%w", i, err)
		}
		p.grants = append(p.grants, g)
	}
	if p.tree, err = openTree(&s); err != nil {
		return nil, err
	}
	if p.engine, err = newEngine(&s, log); err != nil {
		return nil, err
	}
	p.programs = newPrograms(p.tree, s.MaxFile)
	p.lane = lane.New(context.Background(), log)
	p.watcher = newWatcher(p.tree, s.MaxFile, time.Duration(s.Poll), p.lane, log)
	return p, nil
}

// newEngine starts what runs scripts.
func newEngine(s *Settings, log *slog.Logger) (engine.Engine, error) {
	o := engine.Options{Places: s.Workers, Queue: s.Queue, Logger: log}
	if s.Mode != ModeProcess {
		return engine.NewPool(o), nil
	}
	command, env := s.Command, s.Env
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("mode: %w", err)
		}
		command, env = []string{self}, []string{EnvWorker + "=1"}
	}
	return engine.NewWorkers(command, env, o), nil
}

// Close ends all scripts. It implements content.Closer.
func (p *Provider) Close() error {
	p.lane.Cancel()
	p.engine.Close()
	p.watcher.close()
	p.lane.Close()
	return nil
}

// check refuses what cannot be a script.
func check(r *content.Request) error {
	switch {
	case r.Dir || !isScript(r.Path):
		e := message.NewError(message.CodeNotFound, fmt.Sprintf("there is no script %.300s", r.Path),
			"The paths of scripts end with .js or .ts; list them with file:.")
		e.Path = r.Path
		return e
	case r.Level > engine.MaxLevel:
		e := message.NewError(message.CodeLimitExceeded, fmt.Sprintf("more than %d scripts wait for each other", engine.MaxLevel),
			"A script that calls or gets itself, be it by way of others, comes to no end.")
		e.Path = r.Path
		return e
	case len(r.Path) > message.MaxAddress:
		return message.NewError(message.CodeBadAddress, "the path is too long", "")
	}
	return nil
}

// Open implements content.Provider.
func (p *Provider) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	if _, _, ok := p.tree.place(r.Path); !ok {
		return nil, notFound(r.Path)
	}
	res := &resource{p: p, path: r.Path, params: r.Params, session: session.Anonymous(), level: r.Level}
	if len(res.params) == 0 {
		res.params = json.RawMessage("{}")
	}
	may := grantsOf(p.grants, r.Path)
	res.personal = p.personal(p.programs.get(r.Path), may)
	res.key = r.Path + "\x00" + string(res.params)
	if res.personal {
		res.session = r.Session
		res.key += "\x00" + string(about(r.Session, may.session))
	}
	return res, nil
}

// personal reports whether what a script gives may depend on who asks: that is so
// if it was granted to know and makes mention of it.
func (p *Provider) personal(prog *program, may *grant) bool {
	return may.session != "" && prog.who
}

// about returns what a script gets to know of who asks.
func about(s *session.Session, how string) json.RawMessage {
	out := struct {
		Subject       string         `json:"subject"`
		Issuer        string         `json:"issuer,omitempty"`
		Authenticated bool           `json:"authenticated"`
		Claims        session.Claims `json:"claims"`
	}{s.Subject, s.Issuer, s.Authenticated(), session.Claims{}}
	maps.Copy(out.Claims, s.Public)
	if how == SessionSecret {
		maps.Copy(out.Claims, s.Secret)
	}
	b, err := json.Marshal(out) // maps are sorted, so it is the same for the same claims
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

// known returns a session with no more than [about] tells: the content is shared by
// all for whom that is the same, and a database is asked by it.
func known(s *session.Session, how string) *session.Session {
	if how == SessionSecret || len(s.Secret) == 0 {
		return s
	}
	return &session.Session{ID: s.ID, Subject: s.Subject, Issuer: s.Issuer, Public: s.Public, Since: s.Since, Expires: s.Expires, Limit: s.Limit}
}

// order is what is to be run of a script.
type order struct {
	path    string
	export  string
	input   json.RawMessage
	deleted bool
	follow  bool // somebody watches it
	session *session.Session
	level   int // how many scripts wait for it
	sink    func(level, text string)
}

// done is what came out.
type done struct {
	result json.RawMessage
	reads  []Dependency // also with an error
}

// run runs a script.
func (p *Provider) run(ctx context.Context, prog *program, o *order) (done, error) {
	if prog.err != nil {
		return done{}, prog.err
	}
	may := grantsOf(p.grants, o.path)
	v := &invocation{
		host: &p.host, may: may, origin: Origin{o.path, session.Anonymous(), o.level + 1}, follow: o.follow, limit: p.settings.Limits.HostBytes,
		budget: newBudget(p.settings.Limits.Memory), log: p.log, sink: o.sink, lane: lane.New(context.WithoutCancel(ctx), p.log),
	}
	defer v.lane.Close()
	job := &engine.Job{
		Code: prog.ready, Export: o.export, Input: o.input, Grants: v.grants(),
		Context: contextOf(o), Limits: p.settings.Limits.engine(),
		// Those of contents are bounded by who serves these. Of one it is not known who waits
		// for it: it may be watched, too.
		Level: o.level, Free: o.export == engine.ExportTopic,
	}
	if p.personal(prog, may) {
		v.origin.Session = known(o.session, may.session)
		job.Session = about(o.session, may.session)
	}
	result, err := p.engine.Run(ctx, job, v)
	v.mu.Lock()
	reads := v.reads
	v.mu.Unlock()
	if err != nil {
		return done{reads: reads}, prog.fail(o.path, err)
	}
	return done{result, reads}, nil
}

// contextOf returns the second argument of a script's functions.
func contextOf(o *order) json.RawMessage {
	b, err := json.Marshal(struct {
		Path    string `json:"path"`
		Deleted bool   `json:"deleted,omitempty"`
	}{o.path, o.deleted})
	if err != nil {
		return nil
	}
	return b
}

// body returns a content as a script gets it.
func body(c content.Content) (json.RawMessage, error) {
	switch {
	case c.Body == nil:
		return nil, nil //nolint:nilnil // undefined is what it is
	case c.ContentType != "":
		return json.Marshal(map[string]string{"contentType": c.ContentType, "base64": base64.StdEncoding.EncodeToString(c.Body)})
	case !message.ValidJSON(c.Body):
		return nil, message.NewError(message.CodeInvalidInput, "the body is no JSON", "")
	}
	return c.Body, nil
}

// handle runs a handler of a script.
func (p *Provider) handle(ctx context.Context, r *content.Request, c content.Content, export string) (content.Content, error) {
	if err := check(r); err != nil {
		return content.Content{}, err
	}
	input, err := body(c)
	if err != nil {
		return content.Content{}, err
	}
	prog := p.programs.get(r.Path)
	d, err := p.run(ctx, prog, &order{
		path: r.Path, export: export, input: input, session: r.Session, level: r.Level, deleted: export == engine.ExportPublish && c.Body == nil,
	})
	if err != nil {
		return content.Content{}, err
	}
	if prog.classic {
		if err := p.classic(r.Path, d.result); err != nil {
			return content.Content{}, err
		}
	}
	return content.Content{Body: d.result}, nil
}

// classic does what the older system did with two members of an answer.
func (p *Provider) classic(at string, result json.RawMessage) error {
	var special struct {
		Republish string `json:"republishTopic"`
		Error     *struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
		} `json:"error"`
	}
	if json.Unmarshal(result, &special) != nil {
		return nil //nolint:nilerr // then it has other members of these names
	}
	if _, to, ok := strings.Cut(special.Republish, ":/"); ok {
		p.changed(path.Clean("/" + to))
	}
	if special.Error == nil {
		return nil
	}
	e := message.NewError(message.CodeScriptFailed, clip(strings.Trim(special.Error.Title+": "+special.Error.Detail, ": ")), "")
	e.Path = at
	return e
}

// Call has a script answer a call, by its export "call"; it implements
// content.Caller.
func (p *Provider) Call(ctx context.Context, r *content.Request, c content.Content) (content.Content, error) {
	return p.handle(ctx, r, c, engine.ExportCall)
}

// Publish gives what is published to the export "publish" of a script; it
// implements content.Publisher. Whoever watches the script is served anew.
func (p *Provider) Publish(ctx context.Context, r *content.Request, c content.Content) (content.Content, error) {
	out, err := p.handle(ctx, r, c, engine.ExportPublish)
	if err == nil {
		p.changed(r.Path)
	}
	return out, err
}

// changed tells whoever watches a script that its content may have changed.
func (p *Provider) changed(at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.armed[at] {
		r.tell()
	}
}

var (
	_ content.Provider  = (*Provider)(nil)
	_ content.Caller    = (*Provider)(nil)
	_ content.Publisher = (*Provider)(nil)
	_ content.Closer    = (*Provider)(nil)
)
