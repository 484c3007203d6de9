package contenttest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Memory is a provider of JSON contents that live in a map. A request with
// parameters gets {"content":…,"params":…}, so that other parameters have
// another content. Make one with [NewMemory]; all methods may be called from
// any goroutine.
type Memory struct {
	mu        sync.Mutex
	closed    bool
	contents  map[string]string
	failures  map[string]error
	gates     map[string]chan struct{}
	watchers  map[string]map[*memoryResource]func()
	gets      map[string]int
	reopened  map[string]int
	unwatched bool
}

// NewMemory returns a Memory that holds nothing.
func NewMemory() *Memory {
	return &Memory{
		contents: make(map[string]string), failures: make(map[string]error), gates: make(map[string]chan struct{}),
		watchers: make(map[string]map[*memoryResource]func()), gets: make(map[string]int), reopened: make(map[string]int),
	}
}

// Request returns a request of an anonymous session for a path.
func Request(path string) *content.Request {
	return &content.Request{Path: path, Session: session.Anonymous()}
}

// Set makes body, which has to be JSON, the content of a path, and tells who
// watches it.
func (m *Memory) Set(path, body string) { m.change(path, func() { m.contents[path] = body }) }

// Remove takes the content of a path away, and tells who watches it.
func (m *Memory) Remove(path string) { m.change(path, func() { delete(m.contents, path) }) }

// Fail has each Get of a path fail with err, or no more if it is nil, and tells
// who watches it.
func (m *Memory) Fail(path string, err error) {
	m.change(path, func() {
		if err == nil {
			delete(m.failures, path)
		} else {
			m.failures[path] = err
		}
	})
}

// Touch tells who watches a path that it changed, although it did not.
func (m *Memory) Touch(path string) { m.change(path, func() {}) }

// Regroup gives the resources of a path another key: those that are open return
// [content.ErrReopen].
func (m *Memory) Regroup(path string) { m.change(path, func() { m.reopened[path]++ }) }

// Hold has each Get of a path wait, with what it has read, until release was
// called or its context ends. Only one at a time can hold a path.
func (m *Memory) Hold(path string) (release func()) {
	gate := make(chan struct{})
	m.mu.Lock()
	m.gates[path] = gate
	m.mu.Unlock()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		delete(m.gates, path)
		m.mu.Unlock()
		close(gate)
	})
}

// Unwatchable has Watch fail from now on.
func (m *Memory) Unwatchable() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unwatched = true
}

// Gets is how often Get was called for a path.
func (m *Memory) Gets(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets[path]
}

// Watched is how many resources are watched.
func (m *Memory) Watched() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, of := range m.watchers {
		n += len(of)
	}
	return n
}

// change tells watchers outside the lock, as providers have to: changed may be
// called at any time.
func (m *Memory) change(path string, f func()) {
	m.mu.Lock()
	f()
	tell := make([]func(), 0, len(m.watchers[path]))
	for _, changed := range m.watchers[path] {
		tell = append(tell, changed)
	}
	m.mu.Unlock()
	for _, changed := range tell {
		changed()
	}
}

// Open implements [content.Provider].
func (m *Memory) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, message.NewError(message.CodeSourceDown, "the memory is closed", "")
	}
	return &memoryResource{m: m, r: r, generation: m.reopened[r.Path]}, nil
}

// Publish implements [content.Publisher].
func (m *Memory) Publish(_ context.Context, r *content.Request, c content.Content) (content.Content, error) {
	if c.ContentType != "" {
		return content.Content{}, message.NewError(message.CodeInvalidInput, "only JSON can be published here", "Leave the content type out.")
	}
	if c.Body == nil {
		m.mu.Lock()
		_, there := m.contents[r.Path]
		m.mu.Unlock()
		if !there {
			return content.Content{}, content.NotFound(r.Path, "")
		}
		m.Remove(r.Path)
		return content.Content{}, nil
	}
	m.Set(r.Path, string(c.Body))
	return content.Content{}, nil
}

// Close implements [content.Closer].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

type memoryResource struct {
	m          *Memory
	r          *content.Request
	generation int
}

// Key implements [content.Resource].
func (r *memoryResource) Key() string {
	return fmt.Sprintf("%d\n%s\n%t\n%s\n%s", r.generation, r.r.Path, r.r.Dir, r.r.Query, r.r.Params)
}

// Get implements [content.Resource].
func (r *memoryResource) Get(ctx context.Context) (content.Content, error) {
	m, path := r.m, r.r.Path
	m.mu.Lock()
	m.gets[path]++
	gate := m.gates[path]
	c, err := r.read()
	m.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return content.Content{}, ctx.Err()
		}
	}
	return c, err
}

// read returns the content as it is now. m.mu is held.
func (r *memoryResource) read() (content.Content, error) {
	m, path := r.m, r.r.Path
	switch body, ok := m.contents[path]; {
	case m.reopened[path] != r.generation:
		return content.Content{}, content.ErrReopen
	case m.failures[path] != nil:
		return content.Content{}, m.failures[path]
	case !ok:
		return content.Content{}, content.NotFound(path, "Publish something there.")
	case r.r.Params != nil:
		b, err := json.Marshal(map[string]json.RawMessage{"content": json.RawMessage(body), "params": r.r.Params})
		return content.Content{Body: b}, err
	default:
		return content.Content{Body: []byte(body)}, nil
	}
}

// Watch implements [content.Resource].
func (r *memoryResource) Watch(changed func()) (stop func(), err error) {
	m, path := r.m, r.r.Path
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unwatched {
		return nil, message.NewError(message.CodeUnimplemented, "changes cannot be noticed", "")
	}
	if m.watchers[path] == nil {
		m.watchers[path] = make(map[*memoryResource]func())
	}
	m.watchers[path][r] = changed
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers[path], r)
		if len(m.watchers[path]) == 0 {
			delete(m.watchers, path)
		}
	}, nil
}

var (
	_ content.Provider  = (*Memory)(nil)
	_ content.Publisher = (*Memory)(nil)
	_ content.Closer    = (*Memory)(nil)
	_ content.Resource  = (*memoryResource)(nil)
)
