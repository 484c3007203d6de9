package script

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/session"
)

// resource is what a script gives for certain parameters. It is a
// content.Resource.
type resource struct {
	p        *Provider
	path     string
	params   json.RawMessage
	session  *session.Session // anonymous unless personal
	personal bool
	level    int // of who has opened it
	key      string

	mu    sync.Mutex            // of Watch, its stop and what is read
	armed atomic.Pointer[armed] // nil: it is not watched
}

// armed is what a watched resource listens to.
type armed struct {
	changed func()
	files   *subscription
	reads   map[string]func() // their stop functions, by key
	loose   []func()          // those of reads without a key
}

// Source implements content.Sourced: it is the script, which may wait for anything.
func (r *resource) Source() string { return r.path }

// Key implements content.Resource.
func (r *resource) Key() string { return r.key }

// Get implements content.Resource.
func (r *resource) Get(ctx context.Context) (content.Content, error) {
	prog := r.p.programs.get(r.path)
	r.mu.Lock()
	if a := r.armed.Load(); a != nil {
		a.files.set(prog.sources)
	}
	r.mu.Unlock()
	if r.p.personal(prog, grantsOf(r.p.grants, r.path)) != r.personal {
		return content.Content{}, content.ErrReopen
	}
	d, err := r.p.run(ctx, prog, &order{
		path: r.path, export: engine.ExportTopic, input: r.params, session: r.session, level: r.level, follow: r.armed.Load() != nil,
	})
	r.depend(d.reads, err == nil)
	if err != nil {
		return content.Content{}, err
	}
	return content.Content{Body: d.result}, nil
}

// depend listens to what the script has read. What it has not read any more is
// let go, unless it failed: then it may have been kept from reading it.
func (r *resource) depend(reads []Dependency, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.armed.Load()
	if a == nil {
		return
	}
	keep := make(map[string]func(), len(reads))
	var loose []func()
	for _, d := range reads {
		key := d.Key()
		if stop := a.reads[key]; stop != nil {
			keep[key] = stop // all reads of it were watched
			continue
		}
		stop := d.Watch(r.tell)
		if key == "" || keep[key] != nil { // of two reads at once, one may not have seen what the other has
			loose = append(loose, stop)
		} else {
			keep[key] = stop
		}
	}
	old := a.loose
	for key, stop := range a.reads {
		switch {
		case keep[key] != nil:
		case whole:
			old = append(old, stop)
		default:
			keep[key] = stop
		}
	}
	for _, stop := range old {
		stop()
	}
	a.reads, a.loose = keep, loose
}

// tell says that the content may have changed. It takes no lock, since it is
// called with some held.
func (r *resource) tell() {
	if a := r.armed.Load(); a != nil {
		a.changed()
	}
}

var errWatched = errors.New("it is watched already")

// Watch implements content.Resource.
func (r *resource) Watch(changed func()) (func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.armed.Load() != nil {
		return nil, errWatched
	}
	a := &armed{changed: changed, files: r.p.watcher.subscribe(changed)}
	r.armed.Store(a)
	r.p.arm(r, true)
	a.files.set(r.p.programs.get(r.path).sources)
	return func() { r.stop(a) }, nil
}

func (r *resource) stop(a *armed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.armed.CompareAndSwap(a, nil) {
		return
	}
	r.p.arm(r, false)
	a.files.close()
	for _, stop := range a.reads {
		stop()
	}
	for _, stop := range a.loose {
		stop()
	}
}

// arm keeps which resources are watched.
func (p *Provider) arm(r *resource, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !on {
		if delete(p.armed[r.path], r); len(p.armed[r.path]) == 0 {
			delete(p.armed, r.path)
		}
		return
	}
	if p.armed[r.path] == nil {
		p.armed[r.path] = map[*resource]bool{}
	}
	p.armed[r.path][r] = true
}
