// Package ws is WebSocket (RFC 6455) as far as the bench needs it, by hand:
// frames into and out of byte slices, and both ends of the handshake. It trusts
// the other end more than a server on a network could.
package ws

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// The opcodes.
const (
	Continuation byte = 0x0
	Text         byte = 0x1
	Binary       byte = 0x2
	CloseFrame   byte = 0x8
	Ping         byte = 0x9
	Pong         byte = 0xa
)

// MaxPayload is the largest frame taken, in bytes.
const MaxPayload = 1 << 20

// ErrTooLarge refuses a frame of more than [MaxPayload] bytes.
var ErrTooLarge = errors.New("frame too large")

// Frame is one frame. Its payload lies in the buffer it was read from.
type Frame struct {
	Op      byte
	Fin     bool
	Payload []byte
}

// Next takes the first frame off b and returns how many bytes it was; 0 if b
// does not hold all of it yet. A masked payload is unmasked in place.
func Next(b []byte) (Frame, int, error) {
	if len(b) < 2 {
		return Frame{}, 0, nil
	}
	masked, size, head := b[1]&0x80 != 0, uint64(b[1]&0x7f), 2
	switch size {
	case 126:
		if len(b) < 4 {
			return Frame{}, 0, nil
		}
		size, head = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return Frame{}, 0, nil
		}
		size, head = binary.BigEndian.Uint64(b[2:]), 10
	}
	if size > MaxPayload {
		return Frame{}, 0, ErrTooLarge
	}
	var key uint32
	if masked {
		if len(b) < head+4 {
			return Frame{}, 0, nil
		}
		key, head = binary.LittleEndian.Uint32(b[head:]), head+4
	}
	end := head + int(size)
	if len(b) < end {
		return Frame{}, 0, nil
	}
	f := Frame{Op: b[0] & 0x0f, Fin: b[0]&0x80 != 0, Payload: b[head:end:end]}
	if masked {
		Mask(f.Payload, key)
	}
	return f, end, nil
}

// AppendHeader appends the header of an unmasked frame with size bytes of
// payload, which the caller appends after it.
func AppendHeader(dst []byte, op byte, size int) []byte { return appendHead(dst, op, 0, size) }

// AppendMasked appends a whole frame, masked with key as clients must.
func AppendMasked(dst []byte, op byte, key uint32, payload []byte) []byte {
	dst = appendHead(dst, op, 0x80, len(payload))
	dst = binary.LittleEndian.AppendUint32(dst, key)
	at := len(dst)
	dst = append(dst, payload...)
	Mask(dst[at:], key)
	return dst
}

// AppendFrame appends a whole unmasked frame.
func AppendFrame(dst []byte, op byte, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// Room is what a frame that is encoded in place leaves free for its header.
const Room = 4

// Fill writes the header of an unmasked frame whose payload is dst[start+Room:],
// and closes the gap if the header needs less, or opens it if it needs more.
func Fill(dst []byte, start int, op byte) []byte {
	size := len(dst) - start - Room
	if size >= 126 && size <= 0xffff {
		dst[start], dst[start+1] = 0x80|op, 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(size))
		return dst
	}
	if size < 126 {
		dst[start], dst[start+1] = 0x80|op, byte(size)
		copy(dst[start+2:], dst[start+Room:])
		return dst[:start+2+size]
	}
	dst = append(dst, "123456"...)
	copy(dst[start+10:], dst[start+Room:start+Room+size])
	dst[start], dst[start+1] = 0x80|op, 127
	binary.BigEndian.PutUint64(dst[start+2:], uint64(size))
	return dst
}

func appendHead(dst []byte, op, mask byte, size int) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case size < 126:
		return append(dst, mask|byte(size))
	case size <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(size))
	}
}

// Mask applies the key, eight bytes at a time. Applied twice it undoes itself.
func Mask(b []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
}
