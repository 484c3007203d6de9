package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A packet is one message on the backplane:
//
//	kind  1 byte
//	from  16 bytes, the id of the sender
//	      of a data or ack packet:
//	epoch 8 bytes, of the sender's side of the link: grows with each new link
//	peer  8 bytes, the epoch of the other side as the sender knows it; 0 for none yet
//	ack   8 bytes, the last packet that the sender has had in order
//	seq   8 bytes, of a data packet: counts from 1; 0 in an ack
//	      the rest of a data packet are frames, each after its length in 4 bytes
//
// All numbers are big endian. See Node for what the epochs are for.
const (
	kindCard  = 1 // the rest is a Card as JSON
	kindData  = 2
	kindAck   = 3
	kindNak   = 4 // an ack that asks for what follows it: something is missing
	kindLeave = 5 // the sender stops
	kindPing  = 6 // the rest comes back
	kindPong  = 7
	kindCut   = 8 // over the backplane: the sender has given up the line to the receiver

	fromLen   = 1 + len(nodeID{})
	headerLen = fromLen + 4*8
	lengthLen = 4
)

// The kinds of a frame: its first byte.
const (
	frameMessage  = 1 // flags, server with its length in 1 byte, message in the split framing
	frameRoutes   = 2 // JSON, see announcement
	frameFragment = 3 // of a frame that is too large for a packet; more follow
	frameLast     = 4 // the last fragment
)

// The flags of a message.
const (
	flagGranted  = 1 << 0
	flagReturned = 1 << 1
)

// header is that of a data or ack packet.
type header struct {
	epoch, peer, ack, seq uint64
}

var errPacket = errors.New("not a packet of a node")

// putHeader writes into the first bytes of a packet.
func putHeader(b []byte, kind byte, from nodeID, h header) {
	b[0] = kind
	copy(b[1:], from[:])
	binary.BigEndian.PutUint64(b[fromLen:], h.epoch)
	binary.BigEndian.PutUint64(b[fromLen+8:], h.peer)
	binary.BigEndian.PutUint64(b[fromLen+16:], h.ack)
	binary.BigEndian.PutUint64(b[fromLen+24:], h.seq)
}

// short returns a packet without header.
func short(kind byte, from nodeID, rest []byte) []byte {
	b := make([]byte, 0, fromLen+len(rest))
	return append(append(append(b, kind), from[:]...), rest...)
}

// openPacket takes a packet apart.
func openPacket(b []byte) (kind byte, from nodeID, rest []byte, err error) {
	if len(b) < fromLen {
		return 0, from, nil, errPacket
	}
	copy(from[:], b[1:])
	return b[0], from, b[fromLen:], nil
}

// openHeader reads what follows the sender in a data or ack packet.
func openHeader(b []byte) (h header, frames []byte, err error) {
	if len(b) < headerLen-fromLen {
		return h, nil, errPacket
	}
	h.epoch = binary.BigEndian.Uint64(b)
	h.peer = binary.BigEndian.Uint64(b[8:])
	h.ack = binary.BigEndian.Uint64(b[16:])
	h.seq = binary.BigEndian.Uint64(b[24:])
	if h.epoch == 0 {
		return h, nil, errPacket
	}
	return h, b[32:], nil
}

// nextFrame cuts the first frame off those of a packet.
func nextFrame(b []byte) (frame, rest []byte, err error) {
	if len(b) < lengthLen {
		return nil, nil, errPacket
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || uint64(n) > uint64(len(b)-lengthLen) {
		return nil, nil, errPacket
	}
	return b[lengthLen : lengthLen+n], b[lengthLen+n:], nil
}

// Note is what nodes tell each other about a message besides the message.
type Note struct {
	// Server is the id of the server that the sender chose for a call or send.
	// The Handler is given one that is valid until it returns.
	Server string
	// Granted says that the sender's node allows what the message asks of the
	// node itself.
	Granted bool
	// Returned marks a call or send that comes back: no server has got it.
	Returned bool
}

// appendNote appends the first bytes of a frame with a message.
func appendNote(dst []byte, n Note) ([]byte, error) {
	if len(n.Server) > 255 {
		return dst, fmt.Errorf("the id %.64q of a server is too long", n.Server)
	}
	flags := byte(0)
	if n.Granted {
		flags |= flagGranted
	}
	if n.Returned {
		flags |= flagReturned
	}
	dst = append(dst, frameMessage, flags, byte(len(n.Server)))
	return append(dst, n.Server...), nil
}

// openNote reads the note of a frame with a message, without its kind. server
// points into b.
func openNote(b []byte) (flags byte, server, rest []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(b[1]) {
		return 0, nil, nil, errPacket
	}
	n := int(b[1])
	return b[0], b[2 : 2+n], b[2+n:], nil
}
