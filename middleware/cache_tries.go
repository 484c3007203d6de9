package middleware

import (
	"context"
	"slices"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// flightTries is the Responder of a flight whose request may be handed over more
// than once, as that of a call is; see the drawing at route.Repeater.
type flightTries struct {
	*flight

	again route.Repeater // the call that began it; knows who else could answer

	// Of the try that is under way; guarded by flight.mu.
	retrier route.Retrier   // nil: failures are final
	ctx     context.Context //nolint:containedctx // of the try
	before  int             // finishers that are not of the try
	handing bool            // between Try and Handed
	failed  *message.Error
}

// Try implements route.Repeater.
func (t *flightTries) Try(ctx context.Context, req *route.Request, r route.Retrier) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over != nil {
		return false
	}
	t.on, t.by = req, nil
	t.retrier, t.ctx, t.before, t.handing, t.failed = r, ctx, len(t.finishers), true, nil
	return true
}

// Handed implements route.Repeater. The request was kept when the flight began.
func (t *flightTries) Handed(bool) {
	t.mu.Lock()
	failed := t.handing && t.failed != nil
	t.handing = false
	t.mu.Unlock()
	if failed {
		t.decide()
	}
}

// Rematch implements route.Repeater.
func (t *flightTries) Rematch(req *route.Request, failed route.Endpoint) error {
	return t.again.Rematch(req, failed)
}

// Fail implements route.Responder.
func (t *flightTries) Fail(err error) error {
	e := message.AsError(err)
	t.mu.Lock()
	if t.over != nil || t.retrier == nil || t.sent > 0 || !route.Repeatable(e) {
		t.mu.Unlock()
		return t.flight.Fail(e)
	}
	already := t.failed != nil
	if !already {
		t.failed = e
	}
	// Whatever this try holds the next one may need.
	told := slices.Clone(t.finishers[t.before:])
	t.finishers = slices.Delete(t.finishers, t.before, len(t.finishers))
	decide := !t.handing && !already
	t.mu.Unlock()
	for _, fin := range told {
		t.tell(fin, e)
	}
	if decide {
		t.decide()
	}
	return nil
}

// decide asks what is to be done about the failure of a try.
func (t *flightTries) decide() {
	t.mu.Lock()
	r, ctx, req, failed := t.retrier, t.ctx, t.on, t.failed
	over := t.over != nil
	t.retrier, t.failed = nil, nil
	t.mu.Unlock()
	if over || r == nil {
		return
	}
	if !r.Failed(ctx, req, t, failed) {
		_ = t.flight.Fail(failed)
	}
}

var (
	_ route.Repeater  = (*flightTries)(nil)
	_ route.Patient   = (*flightTries)(nil)
	_ route.Responder = (*flightTries)(nil)
)
