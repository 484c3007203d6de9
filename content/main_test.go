package content_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service of contents with its runner, as a node has them.
type world struct {
	tb      testing.TB
	svc     *content.Service
	run     *service.Runner
	handler route.Handler
	log     *logBuffer
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// serve makes a world of a provider. In a synctest bubble the caller has to end
// it; it does no harm twice.
func serve(tb testing.TB, p content.Provider, o content.Options) *world {
	tb.Helper()
	w := &world{tb: tb, log: new(logBuffer)}
	o.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	w.svc = content.NewService("mem", p, o)
	w.run = w.svc.Runner(context.Background(), o.Logger)
	w.handler = w.run.Handler(w.svc.Routes()[1].Handler)
	tb.Cleanup(w.end)
	return w
}

func (w *world) end() {
	w.run.Close()
	if err := w.svc.Close(); err != nil {
		w.tb.Error(err)
	}
}

// inMemory is a world of a Memory.
func inMemory(tb testing.TB, o content.Options) (*world, *contenttest.Memory) {
	tb.Helper()
	m := contenttest.NewMemory()
	return serve(tb, m, o), m
}

// asked is one request: the Responder of its handler.
type asked struct {
	tb  testing.TB
	req *route.Request

	mu        sync.Mutex
	parts     []string // contents; errors as their code
	body      *route.Body
	err       *message.Error
	over      bool
	finishers []route.Finisher
	news      chan struct{} // has something when there was an answer
}

func (w *world) request(verb message.Verb, to, body string) *asked {
	w.tb.Helper()
	a, err := message.ParseStrict(to)
	if err != nil {
		w.tb.Fatal(err)
	}
	r := &asked{tb: w.tb, req: &route.Request{Address: a}, news: make(chan struct{}, 1)}
	m := &r.req.Message
	m.Verb, m.To, m.Mid = verb, []byte(to), []byte("m1")
	if body != "" {
		m.Body = []byte(body)
	}
	return r
}

func (w *world) ask(ctx context.Context, verb message.Verb, to, body string) *asked {
	w.tb.Helper()
	r := w.request(verb, to, body)
	w.handler.Handle(ctx, r.req, r)
	return r
}

func (w *world) subscribe(to, body string) *asked {
	w.tb.Helper()
	return w.ask(w.tb.Context(), message.VerbSubscribe, to, body)
}

// do asks and waits for the answer: the body of the reply, or the code of the
// error.
func (w *world) do(verb message.Verb, to, body string) string {
	w.tb.Helper()
	return w.ask(w.tb.Context(), verb, to, body).answer()
}

func (r *asked) answer() string {
	r.tb.Helper()
	r.until(func() bool { return r.over })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return string(r.err.Code)
	}
	return string(r.body.Bytes)
}

func (r *asked) notice() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// until waits until ok, which is called under the lock.
func (r *asked) until(ok func() bool) {
	r.tb.Helper()
	late := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-r.news:
		case <-late:
			r.tb.Fatalf("this has not come: got %q, error %v", r.all(), r.err)
		}
	}
}

// sees waits until the parts end with want.
func (r *asked) sees(want ...string) {
	r.tb.Helper()
	r.until(func() bool { return len(r.parts) >= len(want) && slices.Equal(r.parts[len(r.parts)-len(want):], want) })
}

func (r *asked) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.parts)
}

// cancel ends the request as its caller does.
func (r *asked) cancel() {
	_ = r.finish(nil, message.NewError(message.CodeCanceled, "the call was canceled", ""))
}

func (r *asked) Part(b route.Body) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return r.err
	}
	text := string(b.Bytes)
	if b.Fault {
		text = string(message.DecodeError(b.Bytes).Code)
	}
	if b.ContentType != "" {
		text = fmt.Sprintf("%s (%s)", text, b.ContentType)
	}
	r.parts = append(r.parts, text)
	r.notice()
	return nil
}

func (r *asked) Reply(b route.Body) error {
	b.Bytes = slices.Clone(b.Bytes)
	return r.finish(&b, nil)
}

func (r *asked) Fail(err error) error { return r.finish(nil, message.AsError(err)) }

func (r *asked) finish(b *route.Body, err *message.Error) error {
	r.mu.Lock()
	if r.over {
		defer r.mu.Unlock()
		return r.err
	}
	r.over, r.body, r.err = true, b, err
	told := r.finishers
	r.mu.Unlock()
	for _, f := range told {
		f.Finished(route.Outcome{Err: err})
	}
	r.notice()
	return nil
}

func (r *asked) OnFinish(f route.Finisher) {
	r.mu.Lock()
	if !r.over {
		r.finishers = append(r.finishers, f)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	f.Finished(route.Outcome{})
}

// own makes a provider of functions.
type own struct {
	open func(*content.Request) (content.Resource, error)
}

func (p own) Open(_ context.Context, r *content.Request) (content.Resource, error) { return p.open(r) }

type ownResource struct {
	key   string
	get   func(context.Context) (content.Content, error)
	watch func(changed func()) (func(), error)
}

func (r ownResource) Key() string { return r.key }

func (r ownResource) Get(ctx context.Context) (content.Content, error) { return r.get(ctx) }

func (r ownResource) Watch(changed func()) (func(), error) {
	if r.watch == nil {
		return func() {}, nil
	}
	return r.watch(changed)
}
