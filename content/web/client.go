package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ropewalk/ropewalk/message"
)

// maxRedirects is how many redirects are followed.
const maxRedirects = 5

// maxRequest is how large the body of a request may be, in bytes.
const maxRequest = 4 << 20

var (
	errTooLarge  = errors.New("the answer is too large")
	errRedirects = errors.New("too many redirects")
	errDowngrade = errors.New("redirected from https to http")
	errEncoding  = errors.New("the answer is packed in a way that was not asked for")
)

// Do carries out a request within the settings: it goes where an entry allows it,
// with the headers of that entry, follows at most five redirects if they lead to
// where an entry allows it, and waits for a slot of the host. The answer has any
// status; its body ends with an error if it is larger than the settings allow, and
// has to be closed. Of the request only method, URL, headers and body count; the
// headers are left out behind a redirect to another host. It may be called from
// any goroutine and ends with ctx.
//
// The error is a *message.Error: forbidden if no entry allows the request,
// invalid_input for a URL that cannot be read, source_down if the host cannot be
// reached or takes too long, limit_exceeded.
func (w *Web) Do(ctx context.Context, req *http.Request) (*http.Response, error) {
	return w.carryOut(ctx, req, maxRedirects)
}

// RoundTrip implements [http.RoundTripper], for an http.Client with rules of its
// own about redirects: it is [Web.Do] without following any, besides that it
// refuses to follow one from https to http.
func (w *Web) RoundTrip(req *http.Request) (*http.Response, error) {
	if by := req.Response; by != nil && by.Request != nil && by.Request.URL != nil && req.URL != nil &&
		by.Request.URL.Scheme == "https" && req.URL.Scheme != "https" {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, message.NewError(message.CodeSourceDown, by.Request.URL.Host+" redirects from https to http, which is not followed", "")
	}
	return w.carryOut(req.Context(), req, 0)
}

func (w *Web) carryOut(ctx context.Context, req *http.Request, redirects int) (*http.Response, error) {
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	if req.URL == nil {
		return nil, errURL("", errNoHost)
	}
	t, err := targetOfURL(req.URL)
	if err != nil {
		return nil, errURL(req.URL.Redacted(), err)
	}
	o := order{method: req.Method, to: t, headers: req.Header.Clone(), redirects: redirects}
	if o.method == "" {
		o.method = http.MethodGet
	}
	for _, name := range ownHeaders {
		if name != "Content-Type" {
			o.headers.Del(name)
		}
	}
	if req.Body != nil {
		if o.body, err = io.ReadAll(io.LimitReader(req.Body, maxRequest+1)); err != nil {
			return nil, message.NewError(message.CodeInvalidInput, "the body of the request cannot be read", "Send the body as bytes.")
		}
		if len(o.body) > maxRequest {
			return nil, message.NewError(message.CodeLimitExceeded, fmt.Sprintf("the request is larger than %d bytes", maxRequest), "Send less at once.")
		}
	}
	res, err := w.do(ctx, o)
	if err != nil {
		return nil, err
	}
	// The request that was sent has the headers of the entry in it.
	made := req.WithContext(ctx)
	made.URL, made.Response = res.Request.URL, nil
	res.Request = made
	return res, nil
}

// order is a request to be made.
type order struct {
	method    string
	to        *target
	headers   http.Header // of the caller; those of the entry come on top
	body      []byte
	redirects int     // how many to follow; of 0 they are answers as others
	known     *cached // what it may not have changed from; or nil
}

// do carries out an order. The errors are *message.Error.
func (w *Web) do(ctx context.Context, o order) (*http.Response, error) {
	rule, err := w.find(o.method, o.to)
	if err != nil {
		return nil, err
	}
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.timeout, errSlow)
	end := func() {
		cancel()
		leave()
	}
	for hop := 0; ; hop++ {
		res, err := w.send(ctx, o, rule)
		if err != nil {
			err = w.failed(ctx, o.to, err) // which looks at ctx
			end()
			return nil, err
		}
		next, redirected, err := o.redirect(res)
		if !redirected || o.redirects == 0 {
			return w.bound(ctx, o.to, res, end), nil
		}
		_ = res.Body.Close()
		if err == nil && hop == o.redirects {
			err = errRedirects
		}
		if err != nil {
			err = w.failed(ctx, o.to, err) // which looks at ctx
			end()
			return nil, err
		}
		if rule, err = w.find(next.method, next.to); err != nil {
			end()
			return nil, errRedirected(o.to, err)
		}
		o = next
	}
}

// send makes one request.
func (w *Web) send(ctx context.Context, o order, r *rule) (*http.Response, error) {
	u, err := o.to.url()
	if err != nil {
		return nil, err
	}
	req := (&http.Request{Method: o.method, URL: u, Host: u.Host, Header: make(http.Header)}).WithContext(ctx)
	if o.body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(o.body)), int64(len(o.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(o.body)), nil }
	}
	req.Header.Set("User-Agent", "ropewalk")
	maps.Copy(req.Header, o.headers)
	maps.Copy(req.Header, r.headers)
	req.Header.Set("Accept-Encoding", "gzip")
	o.known.validators(req.Header, u.String())
	leave, err := w.hosts.enter(ctx, o.to.authority())
	if err != nil {
		return nil, err
	}
	transport := w.public
	if r.private {
		transport = w.private
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		leave()
		return nil, err
	}
	raw := res.Body
	res.Body = &closing{Reader: raw, close: sync.OnceValue(func() error {
		err := raw.Close()
		leave()
		return err
	})}
	return res, nil
}

// redirect returns where an answer leads.
func (o order) redirect(res *http.Response) (next order, redirected bool, err error) {
	next = o
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if o.method != http.MethodHead {
			next.method, next.body = http.MethodGet, nil
			next.headers = o.headers.Clone()
			next.headers.Del("Content-Type")
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return next, false, nil
	}
	from, err := o.to.url()
	if err != nil {
		return next, true, err
	}
	place := res.Header.Get("Location")
	if place == "" {
		return next, false, nil
	}
	to, err := from.Parse(place)
	if err != nil {
		return next, true, errors.New("the redirect cannot be read")
	}
	to.Fragment, to.RawFragment = "", ""
	if next.to, err = targetOfURL(to); err != nil {
		return next, true, err
	}
	if o.to.scheme == "https" && next.to.scheme != "https" {
		return next, true, errDowngrade
	}
	if next.to.scheme != o.to.scheme || next.to.authority() != o.to.authority() {
		next.headers = nil
		if next.body != nil {
			next.headers = http.Header{"Content-Type": o.headers["Content-Type"]}
		}
	}
	return next, true, nil
}

// bound returns an answer whose body is unpacked and limited.
func (w *Web) bound(ctx context.Context, t *target, res *http.Response, end func()) *http.Response {
	raw := res.Body
	res.Body = &closing{
		Reader: &limited{w: w, ctx: ctx, to: t, raw: raw, packed: res.Header.Get("Content-Encoding"), left: int64(w.maxBytes)},
		close: sync.OnceValue(func() error {
			err := raw.Close()
			end()
			return err
		}),
	}
	if res.Header.Get("Content-Encoding") != "" {
		res.Header.Del("Content-Encoding")
		res.Header.Del("Content-Length")
		res.ContentLength = -1
	}
	return res
}

// closing is a body with its own way of closing, which may be called again.
type closing struct {
	io.Reader
	close func() error
}

func (c *closing) Close() error { return c.close() }

// limited is a body that ends with an error when it becomes too large, packed or
// not.
type limited struct {
	w      *Web
	ctx    context.Context //nolint:containedctx // a reader is the call itself
	to     *target
	raw    io.Reader
	packed string // the encoding
	body   io.Reader
	left   int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.body == nil {
		if err := l.open(); err != nil {
			return 0, l.w.failed(l.ctx, l.to, err)
		}
	}
	n, err := l.body.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.w.failed(l.ctx, l.to, errTooLarge)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = l.w.failed(l.ctx, l.to, err)
	}
	return n, err
}

func (l *limited) open() error {
	switch strings.ToLower(l.packed) {
	case "", "identity":
		l.body = l.raw
	case "gzip", "x-gzip":
		// What is packed is limited too: it may unpack to nothing for ever.
		unpack, err := gzip.NewReader(&capped{r: l.raw, left: l.left})
		if errors.Is(err, io.EOF) {
			l.body = l.raw // nothing, such as the answer to a HEAD
			return nil
		}
		if err != nil {
			return err
		}
		l.body = unpack
	default:
		return errEncoding
	}
	return nil
}

// capped is a reader that fails in place of reading more than left.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// find returns the entry that allows a request.
func (w *Web) find(method string, t *target) (*rule, error) {
	var seen *rule
	for _, r := range w.rules {
		if !r.fits(t) {
			continue
		}
		if r.allows(method) {
			return r, nil
		}
		seen = r
	}
	if seen != nil {
		return nil, errMethod(method, t)
	}
	return nil, errNotAllowed(t)
}

// Allows reports by its error why a request would not be sent, nil if it would:
// as far as that can be said before the host's name is resolved.
func (w *Web) Allows(method, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return errURL("", errNoHost)
	}
	t, err := targetOfURL(u)
	if err != nil {
		return errURL(u.Redacted(), err)
	}
	_, err = w.find(method, t)
	return err
}
