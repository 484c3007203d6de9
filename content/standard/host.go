package standard

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// host is what scripts reach, if they were granted it.
type host struct {
	node  Node
	query *query.Provider
	web   *web.Web
	log   *slog.Logger
}

func (h *host) forScripts() script.Host {
	var out script.Host
	if h.query != nil {
		out.Database = h.database
	}
	if h.web != nil {
		// It follows no redirect: the client of a script does, by the script's rights.
		out.Fetch = &http.Client{Transport: h.web}
	}
	if h.node != nil {
		out.Call, out.Publish, out.Get, out.Watch = h.call, h.publish, h.get, h.watch
	}
	return out
}

// about says in each message which script it comes from.
func about(o script.Origin) []call.Option {
	return []call.Option{call.WithHeader(content.ScriptHeader, o.Path), call.WithHeader(content.LevelHeader, strconv.Itoa(o.Level))}
}

func bodyOf(c content.Content) (body any, opts []call.Option) {
	switch {
	case c.Body == nil:
		return nil, nil
	case c.ContentType == "":
		return json.RawMessage(c.Body), nil
	}
	return c.Body, []call.Option{call.WithContentType(c.ContentType)}
}

func (h *host) call(ctx context.Context, o script.Origin, address string, body json.RawMessage) (content.Content, error) {
	in, opts := bodyOf(content.Content{Body: body})
	return answerOf(h.node.Call(ctx, address, in, append(opts, about(o)...)...))
}

func (h *host) publish(ctx context.Context, o script.Origin, address string, c content.Content) (content.Content, error) {
	if err := noCode(address); err != nil {
		return content.Content{}, err
	}
	in, opts := bodyOf(c)
	return answerOf(h.node.Publish(ctx, address, in, append(opts, about(o)...)...))
}

// noCode refuses files that are run: see [content.Request].Script, by which those
// are refused that are not named in the address.
func noCode(address string) error {
	a, err := message.ParseAddress(address)
	if err != nil {
		return err
	}
	if (a.Name == schemeFile || a.Name == schemeJSON) && content.IsCode(a.Path) {
		return message.NewError(message.CodeForbidden, "scripts write no code, such as "+address, "Have somebody publish it who has the right code.")
	}
	return nil
}

func answerOf(a *call.Answer, err error) (content.Content, error) {
	if err != nil {
		return content.Content{}, err
	}
	return content.Content{Body: a.Body, ContentType: a.ContentType}, nil
}

func (h *host) get(ctx context.Context, o script.Origin, address string, params json.RawMessage) (content.Content, script.Dependency, error) {
	d := &topicRead{h: h, address: address, params: params}
	opts := about(o)
	if params != nil {
		opts = append(opts, call.WithParams(params))
	}
	u, err := h.node.Get(ctx, address, opts...)
	if err != nil {
		// What is not there may come, so it is a dependency all the same.
		d.code = message.CodeOf(err)
		return content.Content{}, d, err
	}
	d.body, d.contentType = u.Body, u.ContentType
	return content.Content{Body: u.Body, ContentType: u.ContentType}, d, nil
}

// watch implements the function of script.Host. What waits for a slow script is
// bounded by the watch, which also comes back after a lost owner.
func (h *host) watch(ctx context.Context, _ script.Origin, address string, event func(script.Event)) error {
	w := h.node.Watch(ctx, address)
	defer func() { _ = w.Close() }()
	if err := w.Ready(ctx); err != nil {
		return err
	}
	if !w.Events() {
		return message.NewError(message.CodeUnimplemented, "the topic has a content, and no events",
			"Declare it with events, or have a script get the content.")
	}
	event(script.Event{Address: address, Gap: true}) // nobody knows what came before
	for u, err := range w.Updates() {
		switch {
		case err != nil:
			return err
		case u.Fault != nil:
			h.log.Warn("a topic whose events a script handles has a fault", "topic", address, "err", u.Fault)
			continue
		}
		event(script.Event{
			Address: u.Address, Content: content.Content{Body: u.Body, ContentType: u.ContentType}, Publisher: u.Publisher,
			Epoch: u.Epoch, Offset: u.Offset, Gap: u.Gap,
		})
	}
	return nil
}

// topicRead is a topic that a script has read.
type topicRead struct {
	h           *host
	address     string
	params      json.RawMessage
	body        []byte
	contentType string
	code        message.Code
}

// Key implements script.Dependency.
func (d *topicRead) Key() string { return "topic\n" + d.address + "\n" + string(d.params) }

// rewatch is how long after its end a watch is tried again: it has ended for a
// reason that does not pass by itself, such as that nobody serves the address.
const rewatch = 5 * time.Second

// Watch implements script.Dependency.
func (d *topicRead) Watch(changed func()) (stop func()) {
	l := lane.New(context.Background(), d.h.log)
	l.Go("script reads "+d.address, func(ctx context.Context) { d.follow(ctx, changed) })
	return l.Close
}

func (d *topicRead) follow(ctx context.Context, changed func()) {
	var opts []call.WatchOption
	if d.params != nil {
		opts = append(opts, call.WithParams(d.params))
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		w := d.h.node.Watch(ctx, d.address, opts...)
		for u, err := range w.Updates() {
			if err != nil {
				break
			}
			if !d.same(&u) {
				changed()
			}
			d.body, d.code = nil, "" // from here on each is a change
		}
		_ = w.Close()
		timer.Reset(rewatch)
	}
}

// same tells whether an update is what was read.
func (d *topicRead) same(u *call.Update) bool {
	if u.Fault != nil {
		return u.Fault.Code == d.code
	}
	return d.body != nil && u.ContentType == d.contentType && bytes.Equal(u.Body, d.body)
}

func (h *host) database(name string) (script.Database, error) {
	db, err := h.query.DB(name)
	if err != nil {
		return nil, message.NewError(message.CodeNotFound, message.AsError(err).Message, message.AsError(err).Hint)
	}
	return database{db}, nil
}

// database is a database of queries, for scripts.
type database struct{ *query.DB }

// Query implements script.Database.
func (d database) Query(ctx context.Context, sql string, params json.RawMessage, s *session.Session, follow bool) (json.RawMessage, script.Dependency, error) {
	rows, reads, err := d.DB.Query(ctx, sql, params, s, follow)
	if err != nil && follow { // a table that is not there tells of nothing, and may come
		reads.Blind = true
	}
	if len(reads.Tables) == 0 && !reads.Blind {
		return rows, nil, err
	}
	return rows, tablesRead{d.DB, reads}, err
}

// Exec implements script.Database.
func (d database) Exec(ctx context.Context, sql string, params json.RawMessage, s *session.Session) (json.RawMessage, error) {
	return encoded(d.DB.Exec(ctx, sql, params, s))
}

// Transaction implements script.Database.
func (d database) Transaction(ctx context.Context, s *session.Session, f func(script.Tx) error) error {
	return d.DB.Transaction(ctx, s, func(tx *query.Tx) error { return f(transaction{tx}) })
}

type transaction struct{ tx *query.Tx }

// Run implements script.Tx.
func (t transaction) Run(ctx context.Context, sql string, params json.RawMessage) (json.RawMessage, error) {
	return encoded(t.tx.Run(ctx, sql, params))
}

func encoded(r *query.Result, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// tablesRead are tables that a script has read.
type tablesRead struct {
	db    *query.DB
	reads query.Reads
}

// Key implements script.Dependency.
func (d tablesRead) Key() string {
	tables := slices.Clone(d.reads.Tables)
	slices.Sort(tables)
	return "tables\n" + d.db.Name() + "\n" + strings.Join(tables, "\n")
}

// blindPoll is how often a script runs again that has read what does not tell of
// changes.
const blindPoll = 2 * time.Second

// Watch implements script.Dependency.
func (d tablesRead) Watch(changed func()) (stop func()) {
	w := d.db.Watch(changed)
	w.Set(d.reads)
	if !d.reads.Blind {
		return w.Stop
	}
	var (
		mu      sync.Mutex
		stopped bool
		timer   *time.Timer
	)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(blindPoll, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			timer.Reset(blindPoll)
			changed()
		}
	})
	return func() {
		mu.Lock()
		stopped = true
		timer.Stop()
		mu.Unlock()
		w.Stop()
	}
}

var (
	_ script.Database   = database{}
	_ script.Dependency = (*topicRead)(nil)
	_ script.Dependency = tablesRead{}
	_ http.RoundTripper = (*web.Web)(nil)
)
