package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/schema"
)

// Handle makes a handler of a function from In to Out.
//
// In is read from the JSON body, which is first checked against the schema
// that package schema derives from In: what does not fit is answered with
// [message.CodeInvalidInput], which names the field, and f is not called. A
// body that was left out is {} for a struct or map and the zero value for
// everything else. Fields of a struct In with the tag path:"name" get the
// parameter {name} of the pattern, those with query:"name" what stands in the
// query; see the package comment. Out is the reply, as JSON.
//
// An In of [route.Body] is given the body as it came, with any content type,
// and an Out of [route.Body] is sent as it is.
//
// f runs on a goroutine of its own, once a call, and may block. The code of an
// error that it returns is what the caller sees if it is an *message.Error;
// any other error is logged and the caller sees [message.CodeInternal] without
// its text. [FromContext] gives f the request.
//
// A type that has no JSON makes [Service.Handle] panic.
func Handle[In, Out any](f func(ctx context.Context, in In) (Out, error)) route.Handler {
	t := &typedHandler[In, Out]{plan: planOf[In, Out]()}
	t.answer = func(ctx context.Context, in In, _ route.Responder) (Out, error) { return f(ctx, in) }
	return t
}

// Stream makes a handler of a function that sends parts before it returns the
// reply. It is like [Handle]; send encodes a part as JSON, or sends it as it is
// if Part is [route.Body].
//
// send does not block. It must not be called by several goroutines at a time,
// or after f has returned. An error of send means that the call is over, and
// why: f should return it.
func Stream[In, Part, Out any](f func(ctx context.Context, in In, send func(Part) error) (Out, error)) route.Handler {
	t := &typedHandler[In, Out]{plan: planOf[In, Out]()}
	t.answer = func(ctx context.Context, in In, res route.Responder) (Out, error) {
		return f(ctx, in, func(p Part) error { return encode(p, res.Part) })
	}
	return t
}

// typedHandler is what Handle and Stream make.
type typedHandler[In, Out any] struct {
	plan   *plan
	answer func(ctx context.Context, in In, res route.Responder) (Out, error)
}

// Handle decodes, calls the function and encodes.
func (t *typedHandler[In, Out]) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	if t.plan.fault != nil { // Service.Handle has refused it; it was called without one
		_ = res.Fail(fmt.Errorf("typed handler: %w", t.plan.fault))
		return
	}
	var in In
	if err := t.plan.decode(req, &in); err != nil {
		_ = res.Fail(err)
		return
	}
	out, err := t.answer(ctx, in, res)
	if err == nil {
		err = encode(out, res.Reply)
		if message.CodeOf(err) != message.CodeInternal {
			return // sent, or the call is over
		}
	}
	_ = res.Fail(err)
}

// Schemas returns the JSON Schemas of In and Out; nil for a [route.Body].
func (t *typedHandler[In, Out]) Schemas() (in, out json.RawMessage) { return t.plan.in, t.plan.out }

// bind checks that the pattern has the parameters that In asks for.
func (t *typedHandler[In, Out]) bind(p route.Pattern) error {
	if t.plan.fault != nil {
		return t.plan.fault
	}
	return t.plan.bind(p)
}

// plan is what is worked out once about In and Out.
type plan struct {
	fault   error // why there is no such handler
	in, out json.RawMessage
	schema  *schema.Schema
	raw     bool // In is route.Body
	object  bool // a body that was left out is {}
	fields  []addressField
}

var (
	bodyType   = reflect.TypeFor[route.Body]()
	placedType = reflect.TypeFor[placed]()
)

func planOf[In, Out any]() *plan {
	p := &plan{}
	p.fault = p.input(reflect.TypeFor[In]())
	out := reflect.TypeFor[Out]()
	if out.Kind() == reflect.Struct && out.Implements(placedType) {
		out = out.Field(out.NumField() - 1).Type // what is sent
	}
	if p.fault == nil && out != bodyType {
		p.out, p.fault = schema.Of(out)
	}
	return p
}

func (p *plan) input(t reflect.Type) error {
	if t == bodyType {
		p.raw = true
		return nil
	}
	var err error
	if p.in, err = schema.Of(t); err != nil {
		return err
	}
	if p.schema, err = schema.CompileDerived(p.in); err != nil {
		return fmt.Errorf("schema of %s: %w", t, err)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	p.object = t.Kind() == reflect.Struct && p.schema.Object() || t.Kind() == reflect.Map
	if t.Kind() == reflect.Struct {
		p.fields, err = addressFields(t, nil)
	}
	return err
}

// decode fills in, a pointer to an In, from the request.
func (p *plan) decode(req *route.Request, in any) error {
	m := &req.Message
	if p.raw {
		if b, ok := in.(*route.Body); ok {
			*b = route.Body{Bytes: m.Body, ContentType: string(m.ContentType)}
		}
		return nil
	}
	if !isJSON(m.ContentType) {
		return message.NewError(message.CodeInvalidInput,
			fmt.Sprintf("the body is %.64q, and this path takes JSON", m.ContentType), "Send the body as JSON, without a content type.")
	}
	body := m.Body
	if len(body) == 0 && p.object {
		body = emptyObject
	}
	if len(body) > 0 {
		if err := p.schema.Validate(body); err != nil {
			return err
		}
		if err := json.Unmarshal(body, in); err != nil {
			return schema.DecodeError(err)
		}
	}
	if len(p.fields) == 0 {
		return nil
	}
	return setFields(p.fields, req, reflect.ValueOf(in).Elem())
}

var emptyObject = []byte("{}")

// isJSON takes application/json and types built on it, which a gateway may
// pass on.
func isJSON(contentType []byte) bool {
	if len(contentType) == 0 {
		return true
	}
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.ToLower(bytes.TrimSpace(media))
	return string(media) == "application/json" || bytes.HasSuffix(media, []byte("+json"))
}

// encoder is kept in a pool: a Responder does not keep the bytes.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

// maxPooled is the size above which a buffer is left to the collector, so that
// one large answer does not stay in memory.
const maxPooled = 64 << 10

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false) // the body is not put into a page, and the escapes cost bytes
	return e
}}

// encode gives send the JSON of v, of an [At] that of its event.
func encode(v any, send func(route.Body) error) error {
	if b, ok := v.(route.Body); ok {
		return send(b)
	}
	if p, ok := v.(placed); ok {
		_, v = p.event()
	}
	e, _ := encoders.Get().(*encoder)
	e.buf.Reset()
	defer func() {
		if e.buf.Cap() <= maxPooled {
			encoders.Put(e)
		}
	}()
	if err := e.json.Encode(v); err != nil {
		return message.AsError(fmt.Errorf("encode %T: %w", v, err))
	}
	return send(route.Body{Bytes: bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))})
}

// checked puts a check of the input in front of a handler that was given
// schemas by hand.
func checked(h route.Handler, info route.Info) (route.Handler, error) {
	if info.Out != nil {
		if _, err := schema.Compile(info.Out); err != nil {
			return nil, fmt.Errorf("schema of the output: %w", err)
		}
	}
	if info.In == nil {
		return h, nil
	}
	in, err := schema.Compile(info.In)
	if err != nil {
		return nil, fmt.Errorf("schema of the input: %w", err)
	}
	return &checkedHandler{Handler: h, in: in}, nil
}

type checkedHandler struct {
	route.Handler

	in *schema.Schema
}

// Handle checks the body, if it is JSON, and passes the request on.
func (h *checkedHandler) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	if body := req.Message.Body; isJSON(req.Message.ContentType) {
		if len(body) == 0 && h.in.Object() {
			body = emptyObject
		}
		if len(body) > 0 {
			if err := h.in.Validate(body); err != nil {
				_ = res.Fail(err)
				return
			}
		}
	}
	h.Handler.Handle(ctx, req, res)
}

// bind passes the question on to a typed handler.
func (h *checkedHandler) bind(p route.Pattern) error {
	if b, ok := h.Handler.(bound); ok {
		return b.bind(p)
	}
	return nil
}

// Schema is a compiled JSON Schema.
type Schema = schema.Schema

// CompileSchema compiles a schema that a remote server gave for its path; see
// [schema.Compile] for what it refuses.
func CompileSchema(raw json.RawMessage) (*Schema, error) { return schema.Compile(raw) }
