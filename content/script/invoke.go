package script

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
)

// invocation is the host of one run of a script.
type invocation struct {
	host   *Host
	may    *grant
	origin Origin
	follow bool // what it reads is watched from then on
	limit  int  // of what a fetch may answer, in bytes
	log    *slog.Logger
	sink   func(level, text string) // nil: only the log
	lane   *lane.Lane               // of the transactions
	budget *budget

	mu    sync.Mutex
	reads []Dependency
	txs   map[int]*transaction
	next  int
}

// grants names the functions that a script sees.
func (v *invocation) grants() []string {
	var out []string
	add := func(name string, ok bool) {
		if ok {
			out = append(out, name)
		}
	}
	add("db", v.host.Database != nil && len(v.may.query) > 0)
	add("call", v.host.Call != nil && len(v.may.call) > 0)
	add("publish", v.host.Publish != nil && len(v.may.publish) > 0)
	add("content", v.host.Get != nil && len(v.may.get) > 0)
	add("fetch", v.host.Fetch != nil && len(v.may.fetch) > 0)
	return out
}

// Log implements [engine.Host].
func (v *invocation) Log(level, text string) {
	l := slog.LevelInfo
	switch level {
	case "warn":
		l = slog.LevelWarn
	case "error":
		l = slog.LevelError
	}
	v.log.LogAttrs(context.Background(), l, "a script says", slog.String("path", v.origin.Path), slog.String("text", text))
	if v.sink != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.sink(level, text)
	}
}

// depend keeps what the script has read.
func (v *invocation) depend(d Dependency) {
	if d == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads = append(v.reads, d)
}

// Invoke implements [engine.Host].
func (v *invocation) Invoke(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error) {
	if err := v.budget.spend(len(args)); err != nil {
		return nil, err
	}
	if gathers[name] {
		if err := v.budget.enter(ctx); err != nil {
			return nil, err
		}
		defer v.budget.leave()
	}
	out, err := v.do(ctx, name, args)
	if err != nil {
		return nil, err
	}
	return out, v.budget.spend(len(out))
}

// gathers are the questions of which many could be answered at once, at length.
// Those to databases are not among them: few connections answer these, and what
// waits for a transaction must not keep its end from coming.
var gathers = map[string]bool{"call": true, "content.get": true, "fetch": true}

// do carries out what a script asks for. What was not granted is refused here,
// whatever the script sees.
func (v *invocation) do(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error) {
	var in []json.RawMessage
	if err := json.Unmarshal(args, &in); err != nil {
		return nil, invalid(name, "its arguments cannot be read")
	}
	a := arguments{list: in}
	switch name {
	case "db.query", "db.exec":
		return v.sql(ctx, name, a.text(0), a.number(1), a.text(2), a.object(3))
	case "db.begin":
		return v.begin(ctx, a.text(0))
	case "db.commit", "db.rollback":
		return nil, v.end(ctx, a.number(0), name == "db.commit")
	case "call":
		return v.call(ctx, a.text(0), a.raw(1))
	case "publish":
		return v.publish(ctx, a.text(0), a.raw(1))
	case "content.get":
		return v.get(ctx, a.text(0), a.object(1))
	case "fetch":
		return v.fetch(ctx, a.text(0), a.raw(1))
	}
	return nil, denied(name, v.origin.Path)
}

// arguments are what a script gives. What is not there, or of another type, is
// empty.
type arguments struct{ list []json.RawMessage }

func (a arguments) raw(i int) json.RawMessage {
	if i >= len(a.list) {
		return nil
	}
	return a.list[i]
}

// object is raw, with nil for null.
func (a arguments) object(i int) json.RawMessage {
	if r := a.raw(i); string(r) != "null" {
		return r
	}
	return nil
}

func (a arguments) text(i int) (s string) {
	_ = json.Unmarshal(a.raw(i), &s) // else it is empty
	return s
}

func (a arguments) number(i int) (n int) {
	_ = json.Unmarshal(a.raw(i), &n) // else it is 0
	return n
}

func invalid(what, text string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, what+": "+text, "")
	return e
}

// denied is the error of what a script may not do.
func denied(what, script string) *message.Error {
	e := message.NewError(message.CodeForbidden, fmt.Sprintf("the script may not use %.300s", what),
		"Grant it in the configuration of the scripts, below grants.")
	e.Path = script
	return e
}

func (v *invocation) call(ctx context.Context, address string, body json.RawMessage) (json.RawMessage, error) {
	if v.host.Call == nil || !within(v.may.call, address) {
		return nil, denied("call of "+address, v.origin.Path)
	}
	c, err := v.host.Call(ctx, v.origin, address, body)
	return asJSON(c), err
}

func (v *invocation) publish(ctx context.Context, address string, body json.RawMessage) (json.RawMessage, error) {
	if v.host.Publish == nil || !within(v.may.publish, address) {
		return nil, denied("publish to "+address, v.origin.Path)
	}
	c, err := v.host.Publish(ctx, v.origin, address, content.Content{Body: body})
	return asJSON(c), err
}

func (v *invocation) get(ctx context.Context, address string, params json.RawMessage) (json.RawMessage, error) {
	if v.host.Get == nil || !within(v.may.get, address) {
		return nil, denied("content of "+address, v.origin.Path)
	}
	params, err := message.CanonicalParams(params)
	if err != nil {
		return nil, err
	}
	c, d, err := v.host.Get(ctx, v.origin, address, params)
	v.depend(d)
	return asJSON(c), err
}

// asJSON returns a content as scripts see it.
func asJSON(c content.Content) json.RawMessage {
	if c.ContentType == "" {
		return c.Body
	}
	b, err := json.Marshal(struct {
		ContentType string `json:"contentType"`
		Base64      []byte `json:"base64"`
	}{c.ContentType, c.Body})
	if err != nil {
		return nil
	}
	return b
}

// fetched is a response as the prelude makes one of it.
type fetched struct {
	URL     string            `json:"url"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Text    *string           `json:"text,omitempty"`
	Base64  string            `json:"base64,omitempty"`
}

// fetchMethods are those that scripts may use.
var fetchMethods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true, http.MethodDelete: true,
}

// ownHeaders are set by the client alone.
var ownHeaders = map[string]bool{
	"Host": true, "Connection": true, "Content-Length": true, "Transfer-Encoding": true, "Upgrade": true, "Te": true, "Trailer": true,
	"Keep-Alive": true, "Proxy-Authorization": true, "Proxy-Connection": true,
}

func (v *invocation) fetch(ctx context.Context, url string, init json.RawMessage) (json.RawMessage, error) {
	var how struct {
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
		Body    *string           `json:"body"`
	}
	if err := json.Unmarshal(init, &how); err != nil {
		return nil, invalid("fetch", "its options cannot be read")
	}
	method := strings.ToUpper(how.Method)
	if !fetchMethods[method] {
		return nil, invalid("fetch", fmt.Sprintf("the method %.20q is none", how.Method))
	}
	var body io.Reader
	if how.Body != nil {
		body = strings.NewReader(*how.Body)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, invalid("fetch", "the URL cannot be read")
	}
	if !v.fetchable(r) {
		return nil, denied("fetch of "+r.URL.Host, v.origin.Path)
	}
	for name, value := range how.Headers {
		if name = http.CanonicalHeaderKey(name); ownHeaders[name] {
			return nil, invalid("fetch", "the header "+name+" cannot be set")
		}
		r.Header.Set(name, value) // the client refuses what is no header
	}
	client := *v.host.Fetch
	before := client.CheckRedirect
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case !v.fetchable(r):
			return denied("fetch of "+r.URL.Host, v.origin.Path)
		case before != nil:
			return before(r, via)
		case len(via) >= 10:
			return errors.New("too many redirects")
		}
		return nil
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, unfetched(ctx, r, err)
	}
	defer resp.Body.Close()
	return v.response(ctx, r, resp)
}

// fetchable reports whether a request goes where the script may go.
func (v *invocation) fetchable(r *http.Request) bool {
	usual := map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
	return v.host.Fetch != nil && usual != "" && r.URL.User == nil &&
		hosted(v.may.fetch, r.URL.Hostname(), cmp.Or(r.URL.Port(), usual), usual)
}

// unfetched returns the error of a request that got no answer.
func unfetched(ctx context.Context, r *http.Request, err error) error {
	if e, ok := errors.AsType[*message.Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := message.NewError(message.CodeSourceDown, r.URL.Host+" cannot be reached", "")
	e.Cause = err
	return e
}

func (v *invocation) response(ctx context.Context, r *http.Request, resp *http.Response) (json.RawMessage, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(v.limit)+1))
	if err != nil {
		return nil, unfetched(ctx, r, err)
	}
	if len(b) > v.limit {
		return nil, message.NewError(message.CodeLimitExceeded, fmt.Sprintf("the answer of %s has more than %d bytes", r.URL.Host, v.limit), "")
	}
	out := fetched{URL: resp.Request.URL.String(), Status: resp.StatusCode, Headers: make(map[string]string, len(resp.Header))}
	for name, values := range resp.Header {
		out.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if utf8.Valid(b) {
		s := string(bytes.TrimPrefix(b, []byte("\ufeff")))
		out.Text = &s
	} else {
		out.Base64 = base64.StdEncoding.EncodeToString(b)
	}
	return json.Marshal(out)
}
