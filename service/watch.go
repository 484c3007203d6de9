package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/schema"
)

// Watch makes a handler of a path that can be watched: of a state topic, of whose
// content only the latest matters.
//
//	s.Handle("/ticker/{symbol}", service.Watch(func(ctx context.Context, in struct {
//		Symbol string `path:"symbol"`
//	}, set func(Quote) error) error {
//		for q := range quotes(ctx, in.Symbol) {
//			if err := set(q); err != nil {
//				return err
//			}
//		}
//		return ctx.Err()
//	}))
//
// f is run when somebody watches, once for all who watch the same address with
// the same parameters, on a goroutine of its own. It says what the content is by
// set, as often as that changes; who comes later gets the last content at once,
// and a content that is the same again is sent to nobody. When nobody watches any
// more ctx ends, and f has to return: until it has, it is not run for these
// parameters again. An f that returns nil has set the last content that there
// will be. When it returns an error, watchers are told that there is no content
// now, and why, as callers are ([Handle]); f is run again after a while, as it is
// after a panic.
//
// A get, or a call, of the path is answered with the last content if somebody
// watches, else with the first one of a run that is made for it.
//
// In is read from the parameters of the watch, or the body of a call, as [Handle]
// reads it from a body, with path and query tags. set encodes as JSON, or sends
// as it is if Out is [route.Body]; it does not block, and may be called by several
// goroutines until f has returned. Its error means that ctx is over.
//
// [FromContext] and [SessionOf] tell f nothing of who watches, since it is run
// for all, but if the path's [WithTopic] says that it is Personal: then it is run
// once for each session. Other fields of the topic are set by WithTopic, too.
// [OnPublish] takes what is published there.
func Watch[In, Out any](f func(ctx context.Context, in In, set func(Out) error) error) route.Handler {
	return newWatchHandler(f, false)
}

// Events makes a handler of a path that can be watched: of an event topic, of
// which each event matters. It is like [Watch], but for these: emit sends an event
// to all who watch, also when it is the same as the one before; who comes later
// gets the events from then on, and the node's history of those before, see
// [WithTopic]; there is no content to get.
func Events[In, Out any](f func(ctx context.Context, in In, emit func(Out) error) error) route.Handler {
	return newWatchHandler(f, true)
}

// At is an event of [Events] of one address. A path such as /{symbol} or /** can be
// watched by a pattern, too: *, or ** for any rest, stands in the place of
// segments then, for f as well. Those who watch a pattern are told of which address
// an event is if f emits an At, so Out is At of something:
//
//	s.Handle("/{symbol}", service.Events(func(ctx context.Context, in struct {
//		Symbol string `path:"symbol"` // * for all
//	}, emit func(service.At[Trade]) error) error {
//		for t := range trades(ctx, in.Symbol) {
//			if err := emit(service.At[Trade]{Path: "/" + t.Symbol, Event: t}); err != nil {
//				return err
//			}
//		}
//		return ctx.Err()
//	}))
//
// An event of an address that is not watched is given to nobody: an f that does
// not look which are may emit all.
type At[T any] struct {
	// Path is as in the address, "/ACME" of ticker:/ACME.
	Path  string
	Event T
}

// event implements placed.
func (a At[T]) event() (path string, event any) { return a.Path, a.Event }

// placed is an At of something.
type placed interface {
	event() (path string, event any)
}

// giveAt gives an event of one address of a service.
func giveAt(name string, v placed, give func(route.Body) error) error {
	path, event := v.event()
	a := message.Address{Name: name, Path: path}
	if _, err := message.ParseStrict(a.String()); err != nil || path == "" || path[0] != '/' || a.HasWildcard() {
		return message.NewError(message.CodeInvalidInput, fmt.Sprintf("%.64q is no path of an event", path), "Write it like /ACME.")
	}
	return encode(event, func(b route.Body) error {
		b.Stamp = &route.Stamp{To: a.String()}
		return give(b)
	})
}

// OnPublish has h answer what is published to a path of [Watch] or [Events]:
// mostly one made by [Handle], whose In has the body that is published, and fields
// from the address. It is run as any handler. What is published changes nothing
// by itself: h has to see to it that the content is set, before it returns if the
// publisher is to be sure of it. A content that is to be deleted comes without a
// body.
func OnPublish(h route.Handler) HandleOption {
	return handleOption(func(s *handling) { s.publish = h })
}

// watchable is a handler that knows how its path can be watched.
type watchable interface {
	// watchedAs tells it the settings of its path, which it may complete.
	watchedAs(s *handling)
}

// watchHandler is what Watch and Events make.
type watchHandler struct {
	plan     *plan
	events   bool
	personal bool
	publish  route.Handler
	cells    cells

	// begin makes of a request what has to be run for it.
	begin func(req *route.Request) (func(ctx context.Context, give func(route.Body) error) error, error)
}

func newWatchHandler[In, Out any](f func(ctx context.Context, in In, give func(Out) error) error, events bool) *watchHandler {
	h := &watchHandler{plan: planOf[In, Out](), events: events}
	h.cells.init()
	h.begin = func(req *route.Request) (func(context.Context, func(route.Body) error) error, error) {
		var in In
		if err := h.plan.decode(req, &in); err != nil {
			return nil, err
		}
		name := req.Address.Name
		return func(ctx context.Context, give func(route.Body) error) error {
			return f(ctx, in, func(v Out) error {
				if at, ok := any(v).(placed); ok && h.events {
					return giveAt(name, at, give)
				}
				return encode(v, give)
			})
		}, nil
	}
	return h
}

// watchedAs implements watchable.
func (h *watchHandler) watchedAs(s *handling) {
	t := route.Topic{}
	if s.info.Topic != nil {
		t = *s.info.Topic
	}
	t.Events = h.events
	h.personal, h.publish = t.Personal, s.publish
	s.info.Topic = &t
	s.inline = []message.Verb{message.VerbSubscribe, message.VerbGet, message.VerbCall}
}

// Schemas returns the JSON Schemas of In and Out; nil for a [route.Body].
func (h *watchHandler) Schemas() (in, out json.RawMessage) { return h.plan.in, h.plan.out }

// bind checks that the pattern has the parameters that In asks for.
func (h *watchHandler) bind(p route.Pattern) error {
	if h.plan.fault != nil {
		return h.plan.fault
	}
	if h.publish != nil {
		if b, ok := h.publish.(bound); ok {
			if err := b.bind(p); err != nil {
				return fmt.Errorf("the handler of OnPublish: %w", err)
			}
		}
	}
	return h.plan.bind(p)
}

// Handle answers a subscribe, get, call or publish.
func (h *watchHandler) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	switch verb := req.Message.EffectiveVerb(); verb {
	case message.VerbPublish:
		if h.publish == nil {
			_ = res.Fail(message.NewError(message.CodeUnimplemented, "nothing can be published to "+req.Address.String(),
				"The service changes this topic itself; it takes what others publish if it is given a handler with OnPublish."))
			return
		}
		h.publish.Handle(ctx, req, res)
	case message.VerbSubscribe:
		h.watch(ctx, req, res, false)
	case message.VerbGet, message.VerbCall:
		if h.events {
			_ = res.Fail(message.NewError(message.CodeUnimplemented, req.Address.String()+" has events and no content", "Watch it."))
			return
		}
		h.watch(ctx, req, res, true)
	default:
		_ = res.Fail(message.NewError(message.CodeUnimplemented, "a topic cannot be asked to "+verb.String(), "Watch it."))
	}
}

// watch has a request get what there is and comes, or only the first of it.
func (h *watchHandler) watch(ctx context.Context, req *route.Request, res route.Responder, once bool) {
	runner := runnerOf(ctx)
	if runner == nil {
		_ = res.Fail(errors.New("watch handler: it was not called by a Runner"))
		return
	}
	own := *req // its body is read as that of a call
	own.Keep()
	if err := unwrapParams(&own); err != nil {
		_ = res.Fail(err)
		return
	}
	f, err := h.begin(&own)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	about := own.Address.Path + "?" + own.Address.Query + "\n" + string(own.Message.Body)
	if h.personal {
		s := own.Session()
		id, err := json.Marshal([]any{s.ID, s.Subject, s.Issuer, s.Public, s.Secret})
		if err != nil {
			_ = res.Fail(err)
			return
		}
		about += "\n" + string(id)
		shared := f
		f = func(ctx context.Context, give func(route.Body) error) error {
			return shared(&inlineContext{Context: ctx, req: &own}, give)
		}
	}
	h.cells.enter(about, &cell{
		run: f, runner: runner, events: h.events, log: runner.log, route: req.Route,
	}, &reader{res: res, once: once})
}

// unwrapParams makes the params of a subscribe or get the body.
func unwrapParams(req *route.Request) error {
	m := &req.Message
	if m.EffectiveVerb() == message.VerbCall || len(m.Body) == 0 {
		return nil
	}
	var body struct {
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return schema.DecodeError(err)
	}
	m.Body, m.ContentType = nil, nil
	if p := body.Params; len(p) > 0 && string(p) != "null" && string(p) != "{}" {
		m.Body = p
	}
	return nil
}

type runnerKey struct{}

// runnerOf returns the Runner that called an inline handler.
func runnerOf(ctx context.Context) *Runner {
	r, _ := ctx.Value(runnerKey{}).(*Runner)
	return r
}
