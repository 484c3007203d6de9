package content

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// Service serves the contents of a [Provider]. Make one with [NewService], hand
// its field Service to a node or client, and call Close when that is closed.
type Service struct {
	*service.Service

	run *runner
}

// NewService makes a service of a provider, which belongs to it from then on.
// The name is the scheme: what stands before the colon of an address.
//
// What is watched is computed once for all with the same [Resource.Key], again
// when it may have changed, and sent if it then differs: as a part of the
// subscribe, the first as soon as there is one, an error as a part with Fault. No
// goroutine waits for that. A get that comes while its content is watched shares
// what was or is being computed, as far as nothing has changed since; others of
// the same moment share one computation.
//
// NewService panics if the name is not one for a service, or a pattern cannot be
// read.
func NewService(name string, p Provider, o Options) *Service {
	o = o.withDefaults()
	s := &Service{
		Service: service.New(name, service.WithVersion(o.Version), service.WithDescription(o.Description),
			service.WithConcurrency(o.Concurrency, o.Queue), service.WithLevels(levelOf)),
		run: newRunner(name, p, o),
	}
	_, called := p.(Caller)
	o.Topic.Reads = !called
	shared, present := patterns(o.Shared), patterns(o.Presence)
	for _, p := range distinct(patterns([]string{"/", "/**"}), shared, present) {
		t := o.Topic
		t.Personal = t.Personal && !covered(p, shared)
		t.Presence = t.Presence || covered(p, present)
		h := handler{s: s, personal: t.Personal}
		s.Handle(p.String(), &h, service.WithTopic(t), service.WithInline(message.VerbSubscribe))
	}
	return s
}

func patterns(texts []string) []route.Pattern {
	out := make([]route.Pattern, len(texts))
	for i, text := range texts {
		out[i] = route.MustPattern(text)
	}
	return out
}

func distinct(lists ...[]route.Pattern) (out []route.Pattern) {
	for _, p := range slices.Concat(lists...) {
		if !slices.ContainsFunc(out, p.Equal) {
			out = append(out, p)
		}
	}
	return out
}

func covered(p route.Pattern, by []route.Pattern) bool {
	return slices.ContainsFunc(by, func(q route.Pattern) bool { return q.Covers(p) })
}

// Close fails what is open with shutting_down, stops watching, waits for what is
// being computed, whose context ends, and closes the provider. It may be called
// more than once; only the first returns the error of the provider.
func (s *Service) Close() error { return s.run.close() }

// handler answers the requests of one route.
type handler struct {
	s        *Service
	personal bool
}

// Handle answers one request. Those to subscribe do not block.
func (h *handler) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	run := h.s.run
	verb := req.Message.EffectiveVerb()
	if verb == message.VerbSubscribe {
		r, err := h.question(req)
		if err != nil {
			_ = res.Fail(err)
			return
		}
		run.watch(r, res)
		return
	}
	ctx, leave, err := run.enter(ctx)
	if err != nil {
		_ = res.Fail(err)
		return
	}
	defer leave()
	var c Content
	switch verb {
	case message.VerbGet:
		var r *Request
		if r, err = h.question(req); err == nil {
			c, err = run.get(ctx, r)
		}
	case message.VerbPublish:
		c, err = h.publish(ctx, req)
	default:
		c, err = h.call(ctx, req)
	}
	if err != nil {
		_ = res.Fail(err)
		return
	}
	_ = res.Reply(route.Body{Bytes: c.Body, ContentType: c.ContentType})
}

// question returns what a get or subscribe asks for.
func (h *handler) question(req *route.Request) (*Request, error) {
	params, err := paramsOf(&req.Message)
	if err != nil {
		return nil, err
	}
	r := requestOf(req, params)
	if !h.personal {
		r.Session = session.Anonymous() // of those who share it, it would be anybody's
	}
	return r, nil
}

func (h *handler) publish(ctx context.Context, req *route.Request) (out Content, err error) {
	p, ok := h.s.run.provider.(Publisher)
	if !ok {
		return Content{}, message.NewError(message.CodeUnimplemented, "nothing can be published to "+h.s.Name()+":", "Get or watch it.")
	}
	c, err := contentOf(&req.Message)
	if err != nil {
		return Content{}, err
	}
	r := requestOf(req, nil)
	r.Script = req.Message.Header(ScriptHeader)
	err = h.s.run.contain("publish", func() (err error) {
		out, err = p.Publish(ctx, r, c)
		return err
	})
	return out, err
}

// call hands a call to a [Caller]; of other providers it is a get, with the body
// as the parameters.
func (h *handler) call(ctx context.Context, req *route.Request) (out Content, err error) {
	c, err := contentOf(&req.Message)
	if err != nil {
		return Content{}, err
	}
	r := requestOf(req, nil)
	p, ok := h.s.run.provider.(Caller)
	if !ok {
		if r.Params, err = asParams(c); err != nil {
			return Content{}, err
		}
		return h.s.run.get(ctx, r)
	}
	err = h.s.run.contain("call", func() (err error) {
		out, err = p.Call(ctx, r, c)
		return err
	})
	return out, err
}

// requestOf copies what is needed: the strings of an address are part of
// something larger, and a resource may live longer than who opened it.
func requestOf(req *route.Request, params json.RawMessage) *Request {
	to, _, _ := bytes.Cut(req.Message.To, []byte("?"))
	return &Request{
		Path: strings.Clone(req.Address.Path), Query: strings.Clone(req.Address.Query), Dir: bytes.HasSuffix(to, []byte("/")),
		Params: params, Session: req.Session(), Level: levelOf(req),
	}
}

// levelOf returns how many scripts wait for the answer. Only nodes run scripts; who
// else says so is not believed: what is got is computed once for all who ask at the
// same time.
func levelOf(req *route.Request) int {
	m := &req.Message
	if !bytes.HasSuffix(m.From, []byte("@node:/")) {
		return 0
	}
	level, _ := strconv.ParseUint(m.Header(LevelHeader), 10, 16) // what is none is 0, or the most
	return min(int(level), levels-1)
}

// contentOf returns the body of a publish or call.
func contentOf(m *message.Message) (Content, error) {
	c := Content{Body: m.Body, ContentType: string(m.ContentType)}
	if c.Body != nil && c.ContentType == "" && !message.ValidJSON(c.Body) {
		return Content{}, message.NewError(message.CodeInvalidInput, "the body is not JSON", "Send JSON, or say with a content type what it is.")
	}
	return c, nil
}

// paramsOf returns the parameters that the body of a get or subscribe has, in
// canonical form, or nil.
func paramsOf(m *message.Message) (json.RawMessage, error) {
	if len(m.Body) == 0 {
		return nil, nil
	}
	var b struct {
		Params json.RawMessage `json:"params"`
	}
	if len(m.ContentType) > 0 || json.Unmarshal(m.Body, &b) != nil {
		return nil, message.NewError(message.CodeInvalidInput, "the body is not that of a get or subscribe", `Send {"params":{…}}, or nothing.`)
	}
	return asParams(Content{Body: b.Params})
}

// asParams takes an object, null or nothing.
func asParams(c Content) (json.RawMessage, error) {
	if c.ContentType != "" {
		return nil, errNoParams(c.ContentType)
	}
	return message.CanonicalParams(c.Body)
}

func errNoParams(what string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, fmt.Sprintf("parameters are a JSON object, not %.100s", what), "Send them by name.")
	e.Path = "params"
	return e
}
