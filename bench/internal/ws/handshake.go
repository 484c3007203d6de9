package ws

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // what RFC 6455 says
	"encoding/base64"
	"errors"
	"fmt"
)

// guid is the constant that RFC 6455 section 1.3 mixes into the key.
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// clientKey is the key of all our handshakes: a server cannot tell, and one
// answer to compare with is enough.
const clientKey = "dGhlIHNhbXBsZSBub25jZQ=="

// MaxHead is the longest head of a request or response taken, in bytes.
const MaxHead = 8192

// Errors of a handshake.
var (
	ErrRefused = errors.New("handshake refused")
	ErrHead    = errors.New("head too long")
	ErrNoKey   = errors.New("no Sec-WebSocket-Key")
)

var clientAccept = Accept([]byte(clientKey))

var headEnd = []byte("\r\n\r\n")

// Accept is the answer to a key.
func Accept(key []byte) string {
	sum := sha1.Sum(append(append(make([]byte, 0, 64), key...), guid...)) //nolint:gosec // what RFC 6455 says
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Request is the opening handshake of a client, with further lines of the head; no
// protocol if it is "".
func Request(host, path, protocol string, fields ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", path, host, clientKey)
	if protocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", protocol)
	}
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// Response checks the answer to [Request] and returns how many bytes it was;
// 0 if b does not hold all of it yet.
func Response(b []byte) (int, error) {
	head, err := head(b)
	if head == nil || err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return 0, fmt.Errorf("%w: %s", ErrRefused, line)
	}
	if string(header(head, "sec-websocket-accept")) != clientAccept {
		return 0, fmt.Errorf("%w: wrong Sec-WebSocket-Accept", ErrRefused)
	}
	return len(head), nil
}

// Upgrade reads a client's request. When b holds all of it, it appends the
// answer to dst and returns the request's length, else 0.
func Upgrade(dst, b []byte, protocol string) ([]byte, int, error) {
	head, err := head(b)
	if head == nil || err != nil {
		return dst, 0, err
	}
	key := header(head, "sec-websocket-key")
	if key == nil {
		return dst, 0, ErrNoKey
	}
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = append(dst, Accept(key)...)
	if protocol != "" {
		dst = append(append(dst, "\r\nSec-WebSocket-Protocol: "...), protocol...)
	}
	return append(dst, headEnd...), len(head), nil
}

// head is the part of b up to and with the empty line; nil if there is none yet.
func head(b []byte) ([]byte, error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		if len(b) > MaxHead {
			return nil, ErrHead
		}
		return nil, nil
	}
	return b[:end+len(headEnd)], nil
}

// header is the value of the field with the given lower-case name, or nil.
func header(head []byte, name string) []byte {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		at := bytes.IndexByte(line, ':')
		if at == len(name) && bytes.EqualFold(line[:at], []byte(name)) {
			return bytes.TrimSpace(line[at+1:])
		}
	}
	return nil
}
