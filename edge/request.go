package edge

import (
	"bytes"
	"net/http"
	"net/netip"
	"strings"
)

// Handshake is the request by which a connection is made, as
// [ListenerConfig.Admit] sees it. It is valid until Admit returns; the strings
// that its methods return stay valid.
type Handshake struct {
	// Listener is the name of the listener.
	Listener string
	// Transport is "websocket", or "" for the others, which are chosen later.
	Transport string
	// Remote is the other end.
	Remote netip.AddrPort

	conn *Conn
	head *head       // of a WebSocket
	http http.Header // of the other transports
	path string
}

// Bring has the connection bring v along: [Conn.Data] returns it when the
// Handler is told that the connection is open.
func (h *Handshake) Bring(v any) { h.conn.data = v }

// Target is path and query of the request.
func (h *Handshake) Target() string {
	if h.head != nil {
		return string(h.head.target)
	}
	return h.path
}

// Header returns the first value of a header field, or "".
func (h *Handshake) Header(name string) string {
	if h.head != nil {
		v, _ := h.head.get(name)
		return string(v)
	}
	return h.http.Get(name)
}

// head is the head of an HTTP/1.1 request, taken apart without copying.
type head struct {
	method, target, proto []byte
	fields                []byte // the lines after the first, each with its CRLF
}

const crlf = "\r\n"

// parseHead reads the head at the start of b. ok is false when its end is not
// there yet. bad is true when it is no HTTP request. size is its length with
// the empty line.
func parseHead(b []byte) (h head, size int, ok, bad bool) {
	end := bytes.Index(b, []byte(crlf+crlf))
	if end < 0 {
		return h, 0, false, !mayBeRequest(b)
	}
	line, fields, _ := bytes.Cut(b[:end+len(crlf)], []byte(crlf))
	h.fields = fields
	var found1, found2 bool
	h.method, line, found1 = bytes.Cut(line, []byte(" "))
	h.target, h.proto, found2 = bytes.Cut(line, []byte(" "))
	bad = !found1 || !found2 || len(h.method) == 0 || len(h.target) == 0 || !bytes.HasPrefix(h.proto, []byte("HTTP/"))
	return h, end + len(crlf+crlf), true, bad
}

// mayBeRequest looks at the beginning of what is not a whole head yet, so that
// somebody who speaks TLS or something else to us is told at once.
func mayBeRequest(b []byte) bool {
	for _, c := range b[:min(len(b), 16)] {
		if c == ' ' {
			return true
		}
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(b) < 16
}

// each calls f for each field until it returns false. It returns false if a line
// is no field.
func (h *head) each(f func(name, value []byte) bool) bool {
	for rest := h.fields; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte(crlf))
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || bytes.ContainsAny(name, " \t\r\n\x00") || bytes.ContainsAny(value, "\r\n\x00") {
			return false
		}
		if !f(name, trim(value)) {
			return true
		}
	}
	return true
}

// get returns the first value of a field and whether there is one.
func (h *head) get(name string) (value []byte, found bool) {
	h.each(func(n, v []byte) bool {
		if equalFold(n, name) {
			value, found = v, true
		}
		return !found
	})
	return value, found
}

// hasToken reports whether a comma-separated list contains a token.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if equalFold(trim(item), token) {
			return true
		}
	}
	return false
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t") }

// equalFold compares ASCII without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c == s[i] {
			continue
		}
		if c|0x20 != s[i]|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}

// originAllowed is the check against pages of other sites that use a visitor's
// browser. Only browsers send an Origin.
func (l *listener) originAllowed(origin, host string) bool {
	if origin == "" {
		return true
	}
	_, originHost, found := strings.Cut(origin, "://")
	if found && host != "" && strings.EqualFold(originHost, host) {
		return true
	}
	for _, allowed := range *l.origins.Load() {
		if allowed == "*" || strings.EqualFold(allowed, origin) {
			return true
		}
	}
	ask := l.srv.cfg.OriginAllowed
	return ask != nil && ask(origin)
}
