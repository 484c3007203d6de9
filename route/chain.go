package route

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/message"
)

// Chain is the middleware of one stage around a final handler. It is a
// [Handler]; it follows every change of the stage from the next message on.
// Made by [Stack.Chain], and used from any number of goroutines.
type Chain struct {
	final Handler
	now   atomic.Pointer[built]
}

// built is a chain at one time.
type built struct {
	handler Handler
	empty   bool
}

// Chain returns the chain of a stage with final as its innermost handler. It
// lives as long as the stack: make few. It panics if there is no such stage.
func (s *Stack) Chain(of Stage, final Handler) *Chain {
	st := s.stage(of)
	if st == nil {
		panic(fmt.Sprintf("route: there is no stage %q", of)) //nolint:forbidigo // a bug of the program, at its start
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := build(*st.entries.Load(), final)
	if err != nil {
		panic(err) //nolint:forbidigo // a middleware that returned a handler before
	}
	c := &Chain{final: final}
	c.now.Store(b)
	st.chains = append(st.chains, c)
	return c
}

// Handle passes a message through the stage.
func (c *Chain) Handle(ctx context.Context, req *Request, res Responder) {
	c.now.Load().handler.Handle(ctx, req, res)
}

// Empty reports whether there is no middleware, so that the caller may leave
// the stage out.
func (c *Chain) Empty() bool { return c.now.Load().empty }

// build wraps final in the middleware of a list, the first outermost.
func build(list []Entry, final Handler) (*built, error) {
	h := final
	for _, e := range slices.Backward(list) {
		if h = e.Middleware(h); h == nil {
			return nil, message.NewError(message.CodeInvalidInput, "the middleware "+e.Name+" returned no handler",
				"Return next where there is nothing to do.")
		}
	}
	return &built{handler: h, empty: len(list) == 0}, nil
}
