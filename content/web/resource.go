package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// resource is a place of the web with its parameters.
type resource struct {
	w      *Web
	order  order
	base64 bool
	poll   time.Duration // 0: it is not live
	key    string

	mu      sync.Mutex
	changed func() // nil if it is not watched
	timer   *time.Timer
	fails   int       // in a row
	next    time.Time // after a failure: not before
	fault   error     // what it failed with
}

// Key implements [content.Resource].
func (r *resource) Key() string { return r.key }

// Source implements [content.Sourced]: it is the host.
func (r *resource) Source() string { return r.order.to.authority() }

// Watch implements [content.Resource]: changed is called when it is time to ask
// again. That is put off by each Get.
func (r *resource) Watch(changed func()) (stop func(), err error) {
	if r.poll == 0 {
		return nil, message.NewError(message.CodeUnimplemented, "what "+r.order.to.authority()+" has cannot be watched",
			`Set "poll" in its entry of the setting "allow", or get it again when you need it.`)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = changed
	r.timer = time.AfterFunc(r.poll, r.tick)
	return r.rest, nil
}

func (r *resource) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = nil
	r.timer.Stop()
}

func (r *resource) tick() {
	r.mu.Lock()
	changed := r.changed
	r.mu.Unlock()
	if changed != nil && r.w.ctx.Err() == nil {
		changed()
	}
}

// wait has changed called after d, but not before what is watched may be asked
// for again.
func (r *resource) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed != nil {
		r.timer.Reset(max(d, r.poll))
	}
}

// Get implements [content.Resource].
func (r *resource) Get(ctx context.Context) (content.Content, error) {
	old := r.w.cache.get(r.key)
	if old != nil {
		if left := time.Until(old.fresh); left > 0 {
			r.wait(left)
			return old.content, nil
		}
	}
	if err := r.resting(); err != nil {
		return content.Content{}, err
	}
	c, left, err := r.fetch(ctx, old)
	if ctx.Err() != nil && err != nil {
		return content.Content{}, err // whoever asked has gone: that says nothing about the host
	}
	if err != nil && message.AsError(err).Code == message.CodeSourceDown {
		r.wait(r.failed(err))
		return content.Content{}, err
	}
	r.mu.Lock()
	r.fails, r.fault = 0, nil
	r.mu.Unlock()
	r.wait(left)
	return c, err
}

const (
	firstPause = time.Second
	// maxPause is how long a host that fails is left alone at most, unless it asks
	// for more or is asked more seldom anyway.
	maxPause = time.Minute
	// maxDoubling keeps the pause from overflowing.
	maxDoubling = 6
)

// failed notes a failure and returns for how long the host is left alone.
func (r *resource) failed(err error) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := min(max(firstPause, r.poll)<<min(r.fails, maxDoubling), max(maxPause, r.poll))
	pause = max(pause, message.AsError(err).RetryAfter)
	r.fails++
	r.fault, r.next = err, time.Now().Add(pause)
	return pause
}

// resting returns the last failure as long as the host is left alone for it.
func (r *resource) resting() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil || r.changed == nil {
		return nil
	}
	left := time.Until(r.next)
	if left <= 0 {
		return nil
	}
	r.timer.Reset(left)
	return r.fault
}

// fetch asks for the content; old is the answer before, or nil. The content need
// not be asked for again within the time that is returned.
func (r *resource) fetch(ctx context.Context, old *cached) (content.Content, time.Duration, error) {
	o := r.order
	cacheable := o.method == http.MethodGet
	o.known = old
	res, err := r.w.do(ctx, o)
	if err != nil {
		return content.Content{}, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	age, keep := freshness(res.Header)
	from := res.Request.URL.String()
	switch {
	case res.StatusCode == http.StatusNotModified && old != nil && old.from == from:
		if !keep {
			r.w.cache.drop(r.key)
			return old.content, 0, nil
		}
		now := *old
		now.fresh = time.Now().Add(age)
		r.w.cache.put(&now)
		return now.content, age, nil
	case res.StatusCode < 200 || res.StatusCode > 299:
		return content.Content{}, 0, errStatus(o.to, res)
	}
	c, err := r.read(res)
	if err != nil {
		return content.Content{}, 0, err
	}
	now := &cached{
		key: r.key, content: c, from: from, etag: res.Header.Get("Etag"), modified: res.Header.Get("Last-Modified"),
		fresh: time.Now().Add(age),
	}
	if cacheable && keep && (age > 0 || now.etag != "" || now.modified != "") {
		r.w.cache.put(now)
	} else if old != nil {
		r.w.cache.drop(r.key)
	}
	if !cacheable {
		age = 0
	}
	return c, age, nil
}

const octets = "application/octet-stream"

// read makes a content of an answer.
func (r *resource) read(res *http.Response) (content.Content, error) {
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return content.Content{}, message.AsError(err)
	}
	kind, given, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case len(body) == 0 && res.StatusCode == http.StatusNoContent:
		return content.Content{Body: []byte("null")}, nil
	case err != nil:
		kind, given = octets, nil
	case kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json"):
		return r.json(body)
	}
	full := mime.FormatMediaType(kind, given)
	if full == "" || len(full) > 200 {
		full = octets
	}
	if !r.base64 {
		return content.Content{Body: body, ContentType: full}, nil
	}
	out, err := json.Marshal(struct {
		Base64      []byte `json:"base64"`
		ContentType string `json:"contentType"`
	}{body, full})
	if err != nil {
		return content.Content{}, fmt.Errorf("write base64: %w", err)
	}
	return content.Content{Body: out}, nil
}

// json checks JSON.
func (r *resource) json(body []byte) (content.Content, error) {
	body = []byte(strings.TrimPrefix(string(body), "\ufeff"))
	if !message.ValidJSON(body) {
		return content.Content{}, message.NewError(message.CodeBadContent, "what "+r.order.to.authority()+" sends is not JSON, although it says so",
			"Ask the owner of the host, or look at what it sends with curl.")
	}
	return content.Content{Body: body}, nil
}
