// Package query is the content provider for the scheme query: a .sql file is a
// topic whose content are the rows of its query, and is computed anew when a
// table that it reads changes. To publish to a .sql file runs its statements in
// a transaction.
//
// Databases are reached by drivers in packages of their own, sqlite, postgres
// and mysql below this one; package drivers has all of them. What may stand in
// a .sql file is told in docs/reference/content.md.
package query

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

// Scheme is what addresses of queries begin with.
const Scheme = "query"

// Code are the ends of names of what this package runs: publishing such files,
// under other schemes, needs the right "code".
var Code = []string{"sql"}

// Provider answers for the scheme query. Make one with [New]. All methods may be
// called from any goroutine.
type Provider struct {
	set   Settings
	log   *slog.Logger
	dbs   map[string]*DB
	files *files

	closing sync.Once
	err     error
}

// New opens the databases of the settings, which need not be reachable yet. The
// error says which of the settings is wrong. A nil logger means
// [slog.Default].
func New(s Settings, log *slog.Logger) (*Provider, error) {
	if log == nil {
		log = slog.Default()
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	p := &Provider{set: s.withDefaults(), log: log, dbs: map[string]*DB{}}
	for _, name := range slices.Sorted(maps.Keys(p.set.Databases)) {
		cfg := p.set.Databases[name]
		d, err := sqldb.Lookup(cfg.Driver).Open(cfg.config(name, log.With("database", name)))
		if err != nil {
			_ = p.Close()
			field, text, _ := strings.Cut(err.Error(), ": ")
			field = "databases." + name + "." + field
			return nil, &message.Error{Code: message.CodeInvalidInput, Path: field, Message: field + ": " + text}
		}
		p.dbs[name] = &DB{name: name, d: d, set: &p.set}
	}
	p.files = newFiles(p.set, log, p.dialect)
	return p, nil
}

// Close closes the databases when all that runs has ended.
func (p *Provider) Close() error {
	p.closing.Do(func() {
		if p.files != nil {
			p.files.close()
		}
		for _, b := range p.dbs {
			p.err = errors.Join(p.err, b.d.Close())
		}
	})
	return p.err
}

// DB returns a database by its name, "" for the default one.
func (p *Provider) DB(name string) (*DB, error) {
	if name == "" {
		name = p.set.Default
	}
	if b := p.dbs[name]; b != nil {
		return b, nil
	}
	hint := "Name one in the settings."
	if len(p.dbs) > 0 {
		hint = "There are " + strings.Join(slices.Sorted(maps.Keys(p.dbs)), ", ") + "."
	}
	return nil, message.NewError(message.CodeBadContent, fmt.Sprintf("there is no database %.100q", name), hint)
}

func (p *Provider) dialect(name string) (*sqlfile.Dialect, error) {
	b, err := p.DB(name)
	if err != nil {
		return nil, err
	}
	return b.d.Dialect(), nil
}

// Open implements content.Provider.
func (p *Provider) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	if r.Dir {
		dir := strings.TrimSuffix(r.Path, "/") + "/"
		return nil, content.NotFound("query:"+dir, "Directories are listed by file:"+dir+".")
	}
	if _, _, err := p.files.place(r.Path); err != nil {
		return nil, err
	}
	given, err := readParams(r.Params)
	if err != nil {
		return nil, err
	}
	q := &resource{p: p, path: r.Path, params: params{}}
	f, err := p.files.load(r.Path)
	if err == nil {
		q.shape, q.db = shape(f), cmp.Or(f.Options.Database, p.set.Default)
		given = given.withClaims(f, r.Session)
	}
	for name, v := range given {
		if strings.HasPrefix(name, "$") || err == nil && (slices.Contains(f.Values, name) || slices.Contains(f.Names, name)) {
			q.params[name] = v
		}
	}
	k, err := json.Marshal(q.params)
	if err != nil {
		return nil, invalid("", "the params cannot be read", "")
	}
	sum := sha256.Sum256(k) // claims may be secret
	q.key = q.path + "\n" + q.shape + "\n" + hex.EncodeToString(sum[:])
	return q, nil
}

// shape is the same for two states of a file that use the same parameters.
func shape(f *sqlfile.File) string {
	return strings.Join(slices.Sorted(slices.Values(slices.Concat(f.Values, f.Names))), " ")
}

// Publish implements content.Publisher: it runs the statements of a file in one
// transaction, with the body, a JSON object, as params; with an array of objects
// once for each.
func (p *Provider) Publish(ctx context.Context, r *content.Request, c content.Content) (content.Content, error) {
	if r.Dir {
		return content.Content{}, content.NotFound("query:"+r.Path+"/", "Publish to a .sql file.")
	}
	if c.Body == nil {
		return content.Content{}, invalid("", "the rows of a query cannot be deleted by publishing nothing",
			"Publish {} to run the statements; publish to file:"+r.Path+" to change the file.")
	}
	if c.ContentType != "" {
		return content.Content{}, invalid("", "the params have to be JSON", `Publish an object such as {"id":7}.`)
	}
	f, err := p.files.load(r.Path)
	if err != nil {
		return content.Content{}, err
	}
	b, err := p.DB(f.Options.Database)
	if err != nil {
		return content.Content{}, err
	}
	sets, err := p.sets(c.Body, f, r)
	if err != nil {
		return content.Content{}, err
	}
	out, err := b.write(ctx, f, sets, r.Path)
	if err != nil {
		return content.Content{}, err
	}
	body, err := json.Marshal(out)
	return content.Content{Body: body}, err
}

// sets returns the parameter sets of what was published.
func (p *Provider) sets(body []byte, f *sqlfile.File, r *content.Request) ([]params, error) {
	list := []json.RawMessage{body}
	if body = bytes.TrimSpace(body); len(body) > 0 && body[0] == '[' {
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, invalid("", "the body is not JSON", "")
		}
	}
	if len(list) > p.set.Elements {
		e := message.NewError(message.CodeLimitExceeded, fmt.Sprintf("there are more than %d elements", p.set.Elements), "Publish less at a time.")
		return nil, e
	}
	sets := make([]params, len(list))
	for i, raw := range list {
		one, err := readParams(raw)
		if err != nil {
			return nil, err
		}
		sets[i] = one.withClaims(f, r.Session)
	}
	return sets, nil
}

var (
	_ content.Provider  = (*Provider)(nil)
	_ content.Publisher = (*Provider)(nil)
	_ content.Closer    = (*Provider)(nil)
)
