package query

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
)

// resource is a query with its parameters.
type resource struct {
	p      *Provider
	path   string
	key    string
	shape  string
	db     string // "" if there was no file yet
	params params // of which all are used, with the claims

	mu    sync.Mutex
	watch *watch // while somebody watches
}

// watch is what tells of changes.
type watch struct {
	notifier

	unlisten func()
	db       *DB
	tables   *Watch
	known    []string // which these are
	timer    *time.Timer
}

// Source implements content.Sourced: it is the database.
func (q *resource) Source() string { return q.db }

// Key implements content.Resource.
func (q *resource) Key() string { return q.key }

// Get implements content.Resource.
func (q *resource) Get(ctx context.Context) (content.Content, error) {
	f, err := q.p.files.load(q.path)
	if err != nil {
		return content.Content{}, err
	}
	if shape(f) != q.shape {
		return content.Content{}, content.ErrReopen
	}
	b, err := q.p.DB(f.Options.Database)
	if err != nil {
		return content.Content{}, err
	}
	g, err := readPage(q.params)
	if err != nil {
		return content.Content{}, err
	}
	follow := q.follow(b)
	body, reads, err := b.read(ctx, f, q.params, g, q.path, follow)
	poll := f.Options.Poll
	if poll == 0 && reads.Blind {
		poll = time.Duration(q.p.set.Poll)
	}
	q.arm(reads, poll, err == nil)
	if err != nil {
		return content.Content{}, err
	}
	return content.Content{Body: body}, nil
}

// follow has the tracker of a database know of the watch, before anything is
// read. It reports false if nobody watches.
func (q *resource) follow(b *DB) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.watch
	if w == nil {
		return false
	}
	if w.db != b {
		if w.tables != nil {
			w.tables.Stop()
		}
		w.db, w.tables, w.known = b, b.Watch(w.tell), nil
	}
	return true
}

// arm has the watch follow what was read.
func (q *resource) arm(reads Reads, poll time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.watch
	if w == nil || w.tables == nil {
		return
	}
	if !ok { // perhaps it has not come to all that it reads
		reads.Tables = slices.Concat(reads.Tables, w.known)
		slices.Sort(reads.Tables)
		reads.Tables = slices.Compact(reads.Tables)
	}
	w.known = reads.Tables
	w.tables.Set(reads)
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if poll > 0 {
		w.timer = time.AfterFunc(poll, w.tell)
	}
}

var errWatched = errors.New("the resource is watched already")

// Watch implements content.Resource.
func (q *resource) Watch(changed func()) (func(), error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.watch != nil {
		return nil, errWatched
	}
	w := &watch{}
	w.changed = changed
	w.unlisten = q.p.files.add(q.path, &w.notifier)
	q.watch = w
	return func() { q.stop(w) }, nil
}

func (q *resource) stop(w *watch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.watch != w {
		return
	}
	q.watch = nil
	w.unlisten()
	if w.tables != nil {
		w.tables.Stop()
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.notifier.stop()
}

var _ content.Resource = (*resource)(nil)

// MarshalJSON of params keeps the values as they are.
func (p params) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]json.RawMessage(p)) }
