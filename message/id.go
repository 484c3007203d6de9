package message

import (
	"crypto/rand"
	"encoding/hex"
	mrand "math/rand/v2"
	"strconv"
	"time"
)

const (
	idLen = 13 // 13 digits of base 36 are 67 bits
	// TagLen is how many digits of a node's id stand in those of its clients: no
	// two nodes of a mesh share them, or nearly never.
	TagLen = 8
)

// NewID returns a new random id: 13 lower-case letters and digits with 67 bits
// of a cryptographic generator. It never repeats and cannot be guessed.
func NewID() string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	var (
		id  [idLen]byte
		buf [2 * idLen]byte
	)
	for n := 0; n < idLen; {
		_, _ = rand.Read(buf[:]) // never fails: the program ends instead
		for _, c := range buf {
			// 252 is the largest multiple of 36 in a byte: all digits are
			// equally probable.
			if c < 252 && n < idLen {
				id[n] = alphabet[c%36]
				n++
			}
		}
	}
	return string(id[:])
}

// NodeTag returns the tag of a node: the first 8 digits of its id, or all of a
// shorter one. The ids of its clients begin with it.
func NodeTag(nodeID string) string { return nodeID[:min(TagLen, len(nodeID))] }

// NewClientID returns a new id of a client of a node: the tag of the node, so
// that a message to the client finds the node, and a [NewID].
func NewClientID(nodeID string) string { return NodeTag(nodeID) + NewID() }

// TagOf returns the tag of the node that gave a client its id, and whether the
// id has the form of [NewClientID].
func TagOf(clientID string) (tag string, ok bool) {
	if len(clientID) != TagLen+idLen {
		return "", false
	}
	for i := range len(clientID) {
		c := clientID[i]
		hexDigit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if !hexDigit && (i < TagLen || c < 'g' || c > 'z') {
			return "", false
		}
	}
	return clientID[:TagLen], true
}

// NewNodeID returns a new id of a node: 32 lower-case hexadecimal digits.
func NewNodeID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// NewMid returns a new message id of at most 13 characters. It is unique, not a
// secret. A connection that counts its messages uses [AppendMid] instead.
func NewMid() string { return strconv.FormatUint(mrand.Uint64(), 36) }

// AppendMid appends n as a message id: base 36, lower case.
func AppendMid(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 36) }

// newUUID returns a version 4 UUID with dashes, the message id of UMF.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// AppendTimestamp appends t as a message carries it: ISO 8601 in UTC with
// milliseconds, 2026-11-21T17:50:43.905Z. It does not allocate.
func AppendTimestamp(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	hour, minute, sec := t.Clock()
	ms := t.Nanosecond() / int(time.Millisecond)
	dst = append2(append2(dst, year/100), year%100)
	dst = append2(append(dst, '-'), int(month))
	dst = append2(append(dst, '-'), day)
	dst = append2(append(dst, 'T'), hour)
	dst = append2(append(dst, ':'), minute)
	dst = append2(append(dst, ':'), sec)
	dst = append2(append(dst, '.', byte('0'+ms/100)), ms%100)
	return append(dst, 'Z')
}

// append2 appends two decimal digits.
func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
