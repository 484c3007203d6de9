package service

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Service is a name and the handlers of its paths. It is the same whether a
// node has it compiled in or a client serves it over its connection: both take
// [Service.Routes] and run them with a [Runner].
//
// Make one with [New], add handlers, then hand it to a node or client. All
// methods may be called from any goroutine; what is added after the service
// was handed over is not served.
type Service struct {
	name        string
	version     string
	description string
	metadata    json.RawMessage
	idempotent  bool
	concurrency int
	queue       int
	levels      func(*route.Request) int

	mu     sync.Mutex
	routes []Route
	places []string // where each route was added, for the panic of the next
	around []route.Middleware
}

// Route is one pattern of a service.
type Route struct {
	Pattern route.Pattern
	Info    route.Info
	// Handler has the middleware of the service around it. It may block, so it
	// has to be run by a [Runner].
	Handler route.Handler

	inline []message.Verb
}

// New makes a service. The name is what stands before the colon of an address;
// New panics, naming the caller's line, if it is empty or has a character that
// an address gives a meaning to.
func New(name string, opts ...Option) *Service {
	s := &Service{name: name, concurrency: DefaultConcurrency, queue: DefaultQueue}
	if why := badName(name); why != "" {
		refusef(caller(), "the service name %q %s", name, why)
	}
	for _, o := range opts {
		o.applyService(s)
	}
	if len(s.metadata) > 0 && !isObject(s.metadata) {
		refusef(caller(), "the metadata of service %s is not a JSON object", name)
	}
	return s
}

// maxName keeps room in an address (1,024 bytes) for an instance and a path.
const maxName = 128

func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("is longer than %d bytes", maxName)
	case name == "http", name == "https":
		return "" // the schemes of contents from the web
	case strings.HasPrefix(name, "http"):
		return "begins with http, which an address takes for a URL"
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar || strings.ContainsRune(`:@/?*[]{}"\`, r) {
			return fmt.Sprintf("contains %q", r)
		}
	}
	return ""
}

// CheckName tells whether a service may have a name, for names that come from
// outside: [New] panics. The error is a *message.Error with CodeInvalidInput.
func CheckName(name string) error {
	if why := badName(name); why != "" {
		return message.NewError(message.CodeInvalidInput, fmt.Sprintf("the service name %q %s", name, why),
			"Use letters, digits, dots, - and _.")
	}
	return nil
}

// Name is what stands before the colon of the service's addresses.
func (s *Service) Name() string { return s.name }

// Handle has h answer the paths of a pattern. h may block: each call has a
// goroutine of its own. It has to finish the request before it returns.
//
// Schemas come from h if it is made by [Handle] or [Stream], or from
// [WithSchemas]. A pattern that cannot be read, one that the service has
// already, and a handler that does not fit the pattern are bugs of the program:
// Handle panics and names the line that called it.
func (s *Service) Handle(pattern string, h route.Handler, opts ...HandleOption) {
	s.handle(pattern, h, opts, caller())
}

// HandleFunc is [Service.Handle] for a function.
func (s *Service) HandleFunc(pattern string, f func(ctx context.Context, req *route.Request, res route.Responder), opts ...HandleOption) {
	if f == nil {
		refusef(caller(), "service %s %s: the handler is nil", s.name, pattern)
	}
	s.handle(pattern, route.HandlerFunc(f), opts, caller())
}

// described is a handler that knows the schemas of its input and output. nil
// means that it does not say.
type described interface {
	Schemas() (in, out json.RawMessage)
}

// bound is a handler that checks at start-up whether it fits a pattern.
type bound interface {
	bind(p route.Pattern) error
}

func (s *Service) handle(pattern string, h route.Handler, opts []HandleOption, place string) {
	fail := func(err any) { refusef(place, "service %s %s: %v", s.name, pattern, err) }
	if h == nil {
		fail("the handler is nil")
	}
	p, err := route.ParsePattern(pattern)
	if err != nil {
		fail(err)
	}
	set := handling{info: route.Info{Version: s.version, Description: s.description, Metadata: s.metadata, Idempotent: s.idempotent}}
	if d, ok := h.(described); ok {
		set.info.In, set.info.Out = d.Schemas()
	}
	for _, o := range opts {
		o.applyHandle(&set)
	}
	if len(set.info.Metadata) > 0 && !isObject(set.info.Metadata) {
		fail("the metadata is not a JSON object")
	}
	switch w, ok := h.(watchable); {
	case ok:
		w.watchedAs(&set)
	case set.publish != nil:
		fail("OnPublish is for handlers made by Watch and Events")
	case set.given:
		if h, err = checked(h, set.info); err != nil {
			fail(err)
		}
	}
	if b, ok := h.(bound); ok {
		if err := b.bind(p); err != nil {
			fail(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, have := range s.routes {
		if have.Pattern.Equal(p) {
			fail(fmt.Sprintf("the pattern is the same as %s, added at %s", have.Pattern, s.places[i]))
		}
	}
	s.routes = append(s.routes, Route{Pattern: p, Info: set.info, Handler: h, inline: set.inline})
	s.places = append(s.places, place)
}

// Use puts middleware around every handler of the service, those added later
// too; the first is the outermost. It runs on the goroutine of the call, so it
// may block. A nil middleware panics.
func (s *Service) Use(mw ...route.Middleware) {
	if slices.ContainsFunc(mw, func(m route.Middleware) bool { return m == nil }) {
		refusef(caller(), "service %s: a middleware is nil", s.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.around = append(s.around, mw...)
}

// Routes lists what the service serves, in the order it was added, with the
// middleware around each handler.
func (s *Service) Routes() []Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.routes)
	for i := range out {
		for _, mw := range slices.Backward(s.around) {
			out[i].Handler = mw(out[i].Handler)
		}
		if len(out[i].inline) > 0 {
			out[i].Handler = &inlineHandler{Handler: out[i].Handler, verbs: out[i].inline}
		}
	}
	return out
}

// Runner makes the Runner of the service, with its concurrency. The caller
// closes it.
func (s *Service) Runner(parent context.Context, log *slog.Logger) *Runner {
	r := NewRunner(parent, log, s.concurrency, s.queue)
	r.of = s.levels
	return r
}

// caller is file:line of who called the exported function that asks.
func caller() string {
	_, file, line, _ := runtime.Caller(2)
	return fmt.Sprintf("%s:%d", file, line)
}

// refusef says what is wrong with a program, and where.
func refusef(place, format string, args ...any) {
	panic(place + ": " + fmt.Sprintf(format, args...)) //nolint:forbidigo // at start-up
}

func isObject(raw json.RawMessage) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal(raw, &m) == nil && m != nil
}
