package content_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// stock is a provider: how many there are of each thing.
type stock struct {
	mu      sync.Mutex
	counts  map[string]int
	watched map[*shelf]func()
}

// Open implements content.Provider.
func (s *stock) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	return &shelf{s: s, path: r.Path}, nil
}

// Publish implements content.Publisher.
func (s *stock) Publish(_ context.Context, r *content.Request, c content.Content) (content.Content, error) {
	n, err := strconv.Atoi(string(c.Body))
	if err != nil {
		return content.Content{}, message.NewError(message.CodeInvalidInput, "this is no number", "Publish how many there are.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[r.Path] = n
	for shelf, changed := range s.watched {
		if shelf.path == r.Path {
			changed() // does not block
		}
	}
	return content.Content{}, nil
}

// shelf is a resource.
type shelf struct {
	s    *stock
	path string
}

// Key implements content.Resource.
func (h *shelf) Key() string { return h.path }

// Get implements content.Resource.
func (h *shelf) Get(context.Context) (content.Content, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	n, ok := h.s.counts[h.path]
	if !ok {
		return content.Content{}, content.NotFound("stock:"+h.path, "Publish how many there are.")
	}
	return content.Content{Body: strconv.AppendInt(nil, int64(n), 10)}, nil
}

// Watch implements content.Resource.
func (h *shelf) Watch(changed func()) (stop func(), err error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.watched[h] = changed
	return func() {
		h.s.mu.Lock()
		defer h.s.mu.Unlock()
		delete(h.s.watched, h)
	}, nil
}

// A scheme of one's own: contents that live in the program.
func ExampleNewService() {
	ctx := context.Background()
	node, err := ropewalk.New(ropewalk.Config{Name: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	provider := &stock{counts: map[string]int{"/rope": 3}, watched: map[*shelf]func(){}}
	svc := content.NewService("stock", provider, content.Options{Description: "How many there are."})
	defer svc.Close()
	defer func() { _ = node.Shutdown(ctx) }()
	if err := node.Serve(svc.Service); err != nil {
		fmt.Println(err)
		return
	}
	watch := node.Watch(ctx, "stock:/rope")
	defer watch.Close()
	for n := 2; n >= 0; n-- {
		u, err := watch.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s pieces\n", u.Body)
		if _, err := node.Publish(ctx, "stock:/rope", n); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// 3 pieces
	// 2 pieces
	// 1 pieces
}
