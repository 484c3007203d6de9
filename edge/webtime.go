package edge

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// bodyTime is how long the body of a request may take, unless [Limits.Unread]
// is less.
const bodyTime = 30 * time.Second

// timed bounds how long a client may take to send the body of its request and
// to take the answers of the transports. Without that a body which never comes
// would keep the connection for ever, even if nobody wants it: net/http reads
// what a handler left before it answers.
func (w *web) timed(next http.Handler) http.Handler {
	unread := w.srv.cfg.Limits.Unread
	body := bodyTime
	if unread > 0 {
		body = min(body, unread)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rc := http.NewResponseController(rw)
		if unread > 0 && strings.HasPrefix(req.URL.Path, httpPrefix) {
			// Nothing is answered before the body is there, or is not going to
			// be. Those that take longer move it.
			_ = rc.SetWriteDeadline(time.Now().Add(body + unread))
		}
		if req.ContentLength != 0 {
			_ = rc.SetReadDeadline(time.Now().Add(body))
			req.Body = &timedBody{req.Body, rc}
		}
		next.ServeHTTP(rw, req)
	})
}

// timedBody ends the time for a body with the body: what follows it is only
// waited for to learn that the client went away.
type timedBody struct {
	io.ReadCloser

	rc *http.ResponseController
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
