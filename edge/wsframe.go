package edge

import (
	"encoding/binary"
	"unicode/utf8"
)

// opcode of a WebSocket frame.
type opcode uint8

const (
	opData   opcode = 0 // on output: text or binary, as the connection's framing wants
	opCont   opcode = 0 // on input: the next piece of a fragmented message
	opText   opcode = 1
	opBinary opcode = 2
	opClose  opcode = 8
	opPing   opcode = 9
	opPong   opcode = 10
	opRaw    opcode = 0xff // on output: bytes that are no frame, the answer to the handshake
)

const (
	finBit     = 0x80
	rsv1Bit    = 0x40 // compressed
	rsvBits    = 0x70
	maskBit    = 0x80
	maxControl = 125 // payload of a control frame
	maxHeader  = 10  // of a frame that we send: no mask
)

// header of an incoming frame.
type header struct {
	op     opcode
	fin    bool
	packed bool // RSV1
	masked bool
	mask   [4]byte
	size   int // of the header itself
	length int // of the payload
}

// violation is a breach of the WebSocket protocol: the code to close with and
// the reason to give. The zero violation is none.
type violation struct {
	code   CloseCode
	reason string
}

// parseHeader reads the header at the start of b. It returns ok false when b
// is too short, and a violation as soon as the bytes that are there show one.
// limit is the largest payload; masked says that frames are.
func parseHeader(b []byte, masked, deflate bool, limit int) (h header, ok bool, bad violation) {
	if len(b) == 0 {
		return h, false, bad
	}
	h.op, h.fin, h.packed = opcode(b[0]&0x0f), b[0]&finBit != 0, b[0]&rsv1Bit != 0
	if bad = h.checkFirst(b[0], deflate); bad.code != 0 || len(b) < 2 {
		return h, false, bad
	}
	mask := 0
	if h.masked = masked; masked {
		mask = len(h.mask)
	}
	switch {
	case masked && b[1]&maskBit == 0:
		return h, false, violation{CloseProtocol, "a frame from a client must be masked"}
	case !masked && b[1]&maskBit != 0:
		return h, false, violation{CloseProtocol, "a frame from a peer must not be masked"}
	}
	h.size = 2 + mask
	n := uint64(b[1] &^ maskBit)
	if n > maxControl {
		if h.op >= opClose {
			return h, false, violation{CloseProtocol, "a control frame is longer than 125 bytes"}
		}
		long := n == 127
		if long {
			h.size += 8
		} else {
			h.size += 2
		}
		if len(b) < h.size-mask {
			return h, false, bad
		}
		if long {
			n = binary.BigEndian.Uint64(b[2:])
		} else {
			n = uint64(binary.BigEndian.Uint16(b[2:]))
		}
		if !long && n < 126 || long && n < 1<<16 {
			return h, false, violation{CloseProtocol, "the length of a frame is not in its shortest form"}
		}
	}
	if n > uint64(limit) { //nolint:gosec // limit is positive
		return h, false, violation{CloseTooLarge, "the frame is larger than the node takes"}
	}
	h.length = int(n) //nolint:gosec // at most limit
	if len(b) < h.size {
		return h, false, bad
	}
	copy(h.mask[:], b[h.size-mask:h.size])
	return h, true, bad
}

func (h *header) checkFirst(b byte, deflate bool) (bad violation) {
	allowed := byte(0)
	if deflate && (h.op == opText || h.op == opBinary) {
		allowed = rsv1Bit
	}
	switch {
	case b&rsvBits&^allowed != 0:
		return violation{CloseProtocol, "a reserved bit is set"}
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return violation{CloseProtocol, "an opcode that does not exist"}
	case h.op >= opClose && !h.fin:
		return violation{CloseProtocol, "a control frame must not be fragmented"}
	}
	return bad
}

// appendHeader appends the header of a frame that we send.
func appendHeader(dst []byte, first byte, length int) []byte {
	switch {
	case length <= maxControl:
		return append(dst, first, byte(length))
	case length < 1<<16:
		return append(dst, first, 126, byte(length>>8), byte(length)) //nolint:gosec // fits
	default:
		dst = append(dst, first, 127)
		return binary.BigEndian.AppendUint64(dst, uint64(length)) //nolint:gosec // not negative
	}
}

// headerSize is the number of bytes that appendHeader appends.
func headerSize(length int) int {
	switch {
	case length <= maxControl:
		return 2
	case length < 1<<16:
		return 4
	default:
		return maxHeader
	}
}

// readClose reads the payload of a close frame.
func readClose(b []byte) (code CloseCode, reason string, bad violation) {
	if len(b) == 0 {
		return CloseNoStatus, "", bad
	}
	if len(b) == 1 {
		return 0, "", violation{CloseProtocol, "a close code of one byte"}
	}
	code = CloseCode(binary.BigEndian.Uint16(b))
	if !code.mayBeSent() {
		return 0, "", violation{CloseProtocol, "a close code that must not be sent"}
	}
	if !utf8.Valid(b[2:]) {
		return 0, "", violation{CloseBadText, "the reason of a close is not UTF-8"}
	}
	return code, string(b[2:]), bad
}

// mayBeSent reports whether RFC 6455 and its registry let an endpoint send c.
func (c CloseCode) mayBeSent() bool {
	switch {
	case c >= 3000 && c < 5000:
		return true
	case c >= 1000 && c <= 1014:
		return c != 1004 && c != CloseNoStatus && c != CloseAbnormal
	default:
		return false
	}
}

// cutText returns s, or its longest prefix of whole characters within n bytes.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
