package exchange

import (
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// passage is the Responder of a message that only passes: one of a broadcast,
// or an answer at the outbound stage. Nobody gets its answer, but middleware is
// told when it is finished.
type passage struct {
	x   *Exchange
	req *route.Request

	mu        sync.Mutex
	over      bool
	err       *message.Error
	finishers []route.Finisher
}

// Part implements route.Responder.
func (p *passage) Part(route.Body) error { return nil }

// Reply implements route.Responder: the message was handed over.
func (p *passage) Reply(route.Body) error { return p.end(nil) }

// Fail implements route.Responder.
func (p *passage) Fail(err error) error { return p.end(message.AsError(err)) }

// OnFinish implements route.Responder.
func (p *passage) OnFinish(f route.Finisher) {
	p.mu.Lock()
	over := p.over
	if !over {
		p.finishers = append(p.finishers, f)
	}
	p.mu.Unlock()
	if over {
		p.x.tell(f, p.outcome())
	}
}

func (p *passage) end(err *message.Error) error {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return errAnswered
	}
	p.over, p.err = true, err
	p.mu.Unlock()
	for _, f := range p.finishers {
		p.x.tell(f, p.outcome())
	}
	return nil
}

// outcome is called after the end.
func (p *passage) outcome() route.Outcome {
	return route.Outcome{Route: p.req.Route, Err: p.err, Took: time.Since(p.req.Received)}
}

// failed returns the error if there was one by now. A middleware that holds the
// message back has taken it over.
func (p *passage) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	return nil
}

var _ route.Responder = (*passage)(nil)
