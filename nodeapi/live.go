package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

const (
	// lookEvery is how often what somebody watches is looked at, at most.
	lookEvery = 200 * time.Millisecond
	// lookShare is how many times as long as a look took the next one waits: lists
	// that are long are looked at less often.
	lookShare = 20
)

// live answers calls of a list as any handler, and has the list watched. What
// rights a watch needs says the exchange.
type live struct {
	call, watch route.Handler
}

// newLive returns the handler of a list that call returns, and that is told
// again to who watches it when differ says so; nil is any difference. list is
// call without the question whether the caller may call it.
func newLive[In, Out any](
	call, list func(context.Context, In) (Out, error), differ func(old, now Out) bool,
) route.Handler {
	return &live{
		call: service.Handle(call),
		watch: service.Watch(func(ctx context.Context, in In, set func(Out) error) error {
			return look(ctx, func() (Out, error) { return list(ctx, in) }, set, differ)
		}),
	}
}

// look sets what list returns, and again each time that it differs, until ctx
// ends.
func look[Out any](ctx context.Context, list func() (Out, error), set func(Out) error, differ func(old, now Out) bool) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var told Out
	for first := true; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		began := time.Now()
		now, err := list()
		if err != nil {
			return err
		}
		if first || differ == nil || differ(told, now) {
			if err := set(now); err != nil {
				return err
			}
			told, first = now, false
		}
		timer.Reset(max(lookEvery, lookShare*time.Since(began)))
	}
}

// Handle implements route.Handler.
func (l *live) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	switch req.Message.EffectiveVerb() { //nolint:exhaustive // others are not for handlers
	case message.VerbSubscribe, message.VerbGet:
		l.watch.Handle(ctx, req, res)
	case message.VerbPublish:
		_ = res.Fail(message.NewError(message.CodeUnimplemented, "nothing can be published to "+req.Address.String(),
			"The node itself says what is there."))
	default:
		l.call.Handle(ctx, req, res)
	}
}

// Schemas returns the JSON Schemas of input and output.
func (l *live) Schemas() (in, out json.RawMessage) {
	return l.call.(interface { //nolint:forcetypeassert // service.Handle has made it
		Schemas() (in, out json.RawMessage)
	}).Schemas()
}

// watched are the options of a route with a live handler.
func watched() service.HandleOption { return service.WithTopic(route.Topic{}) }

// inline has a live handler start watches, and gets, without a goroutine more.
func inline() service.HandleOption { return service.WithInline(message.VerbSubscribe, message.VerbGet) }

// differAsJSON tells whether two values differ when they are written.
func differAsJSON[T any](old, now T) bool {
	a, err := json.Marshal(old)
	if err != nil {
		return true
	}
	b, err := json.Marshal(now)
	return err != nil || !bytes.Equal(a, b)
}
