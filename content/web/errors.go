package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// errSlow is the cause of the end of a request that takes too long.
var errSlow = errors.New("too slow")

func errURL(shown string, err error) *message.Error {
	e := message.NewError(message.CodeInvalidInput, "the URL cannot be used: "+err.Error(), "Write it like https://api.example.com/v1/rates.")
	e.Path = clip(shown)
	return e
}

func errNotAllowed(t *target) *message.Error {
	return message.NewError(message.CodeForbidden, fmt.Sprintf("nothing is fetched from %s://%s%s", t.scheme, t.authority(), clip(t.path)),
		`Add {"url":"`+t.scheme+"://"+t.authority()+`"} to the setting "allow" of the web contents.`)
}

func errMethod(method string, t *target) *message.Error {
	return message.NewError(message.CodeForbidden, fmt.Sprintf("%s to %s://%s is not allowed", clip(method), t.scheme, t.authority()),
		`Add the method to "methods" of the entry in the setting "allow"; parameters need POST.`)
}

// errRedirected is about where a redirect leads, which is nobody's business who
// only asked: it may have secrets in its path.
func errRedirected(from *target, why error) *message.Error {
	e := message.NewError(message.CodeForbidden, from.authority()+" redirects to where nothing is fetched from",
		`If that is right, add where it leads to the setting "allow".`)
	e.Cause = why
	return e
}

// failed makes an error for users of one that a request ended with. The text of
// the latter may have addresses and secrets in it; it is for the log only.
func (w *Web) failed(ctx context.Context, t *target, err error) error {
	if known, ok := errors.AsType[*message.Error](err); ok {
		return known
	}
	e := w.explain(ctx, t, err)
	e.Cause = err
	return e
}

func (w *Web) explain(ctx context.Context, t *target, err error) *message.Error {
	host := t.authority()
	down := func(what string) *message.Error {
		return message.NewError(message.CodeSourceDown, what, "Try again later, or look whether the host works.")
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errAddress):
		w.log.Warn("fetching from an address that is not public was refused", "host", host, "action", `set "private" in the entry if this is right`)
		return message.NewError(message.CodeForbidden, "the address of "+host+" is not public",
			`If it should be reached, set "private": true in its entry of the setting "allow".`)
	case errors.Is(err, errTooLarge):
		return message.NewError(message.CodeLimitExceeded, fmt.Sprintf("the answer of %s is larger than %d bytes", host, w.maxBytes),
			`Ask for less, or raise the setting "maxBytes".`)
	case errors.Is(err, errRedirects):
		return down(fmt.Sprintf("%s redirects more than %d times", host, maxRedirects))
	case errors.Is(err, errDowngrade):
		return down(host + " redirects from https to http, which is not followed")
	case errors.Is(err, errEncoding):
		return down("the answer of " + host + " is packed in a way that was not asked for")
	case errors.Is(context.Cause(ctx), errSlow):
		return message.NewError(message.CodeSourceDown, fmt.Sprintf("%s did not answer within %v", host, w.timeout),
			`Try again later, or raise the setting "timeout".`)
	case errors.Is(context.Cause(ctx), errClosed):
		return closedError()
	case ctx.Err() != nil:
		return message.AsError(ctx.Err())
	case errors.As(err, &dns):
		return down("the host " + host + " is not found")
	case errors.As(err, &cert):
		return down("the certificate of " + host + " is not valid")
	default:
		return down(host + " cannot be reached, or its answer cannot be read")
	}
}

// errStatus makes an error of an answer that has no content.
func errStatus(t *target, res *http.Response) *message.Error {
	code, hint := message.CodeSourceDown, "Try again later, or look whether the host works."
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		code, hint = message.CodeNotFound, "Check the path."
	case http.StatusUnauthorized, http.StatusForbidden:
		code, hint = message.CodeForbidden, `Set what the host needs in "headers" of the entry in the setting "allow".`
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		code, hint = message.CodeInvalidInput, "Check the query and the parameters."
	}
	e := message.NewError(code, fmt.Sprintf("%s answers with the status %d", t.authority(), res.StatusCode), hint)
	e.Details = fmt.Appendf(nil, `{"status":%d}`, res.StatusCode)
	if code == message.CodeSourceDown {
		e.RetryAfter = retryAfter(res.Header)
	}
	return e
}

// maxRetryAfter is how long a host may ask to be left alone.
const maxRetryAfter = 10 * time.Minute

func retryAfter(h http.Header) time.Duration {
	after := h.Get("Retry-After")
	if n, err := strconv.Atoi(after); err == nil {
		return time.Duration(min(max(n, 0), int(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(after)
	if err != nil {
		return 0
	}
	return min(max(time.Until(at), 0), maxRetryAfter)
}

// clip shortens a text for an error.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
