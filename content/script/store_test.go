package script_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/message"
)

// store is a host of named values, each of which can be watched.
type store struct {
	mu       sync.Mutex
	values   map[string]string
	watchers map[string]map[int]func()
	next     int
	calls    []string
	who      []string
}

func (s *store) set(address, value string) {
	s.mu.Lock()
	s.values[address] = value
	var tell []func()
	for _, f := range s.watchers[address] {
		tell = append(tell, f)
	}
	s.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

func (s *store) watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.watchers {
		n += len(w)
	}
	return n
}

// dependency is on a value of a store.
type dependency struct {
	s             *store
	address, read string
}

func (d dependency) Key() string { return d.address }

func (d dependency) Watch(changed func()) func() {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.s.next++
	n := d.s.next
	if d.s.watchers[d.address] == nil {
		d.s.watchers[d.address] = map[int]func(){}
	}
	d.s.watchers[d.address][n] = changed
	if d.s.values[d.address] != d.read {
		changed()
	}
	return func() {
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		delete(d.s.watchers[d.address], n)
	}
}

func newStore() *store {
	return &store{values: map[string]string{}, watchers: map[string]map[int]func(){}}
}

func (s *store) host() script.Host {
	return script.Host{
		Get: func(_ context.Context, _ script.Origin, address string, _ json.RawMessage) (content.Content, script.Dependency, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			v, ok := s.values[address]
			d := dependency{s, address, v}
			if !ok {
				return content.Content{}, d, content.NotFound(address, "")
			}
			return content.Content{Body: []byte(v)}, d, nil
		},
		Publish: func(_ context.Context, _ script.Origin, address string, c content.Content) (content.Content, error) {
			s.set(address, string(c.Body))
			return content.Content{}, nil
		},
		Call: func(_ context.Context, o script.Origin, address string, body json.RawMessage) (content.Content, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls = append(s.calls, address+" "+string(body))
			s.who = append(s.who, o.Session.Subject)
			if strings.HasSuffix(address, "/down") {
				return content.Content{}, message.NewError(message.CodeSourceDown, "it is away", "")
			}
			return content.Content{Body: []byte(`{"sum":3}`)}, nil
		},
	}
}
