package edge

import (
	"sync"
	"sync/atomic"
)

// Frame is one encoded message on its way out. It is encoded once and shared by
// all connections that get it.
//
// Make one with [NewFrame], append to Payload, hand it to [Conn.Send] of any
// number of connections with the same [Framing], then call Release. Payload must
// not change after the first Send. The bytes are used again for another frame
// when everybody has released it, so nothing may point into them.
type Frame struct {
	// Payload is the message in the framing of the connections that it is
	// sent to.
	Payload []byte

	refs atomic.Int32
	op   opcode // opData, or the control frame that it is

	// The compressed form, made when the first connection needs it.
	packing  sync.Mutex
	packed   []byte
	isPacked bool
}

// keepFrame is the largest buffer that a released frame keeps; larger ones are
// rare, and would stay in the pool for ever.
const keepFrame = 256 << 10

//nolint:gochecknoglobals // a pool is only useful when it is shared
var framePool = sync.Pool{New: func() any { return new(Frame) }}

// NewFrame returns an empty frame that belongs to the caller until Release.
func NewFrame() *Frame {
	f, _ := framePool.Get().(*Frame)
	f.refs.Store(1)
	return f
}

// Retain adds an owner, who has to call Release too.
func (f *Frame) Retain() { f.refs.Add(1) }

// Release gives up ownership. The frame must not be touched afterwards.
func (f *Frame) Release() {
	if f.refs.Add(-1) != 0 {
		return
	}
	if cap(f.Payload) > keepFrame {
		f.Payload = nil
	}
	f.Payload = f.Payload[:0]
	f.op = opData
	if f.isPacked {
		f.isPacked, f.packed = false, nil
	}
	framePool.Put(f)
}

// newControl returns a frame of the WebSocket itself, or raw bytes.
func newControl(op opcode, payload []byte) *Frame {
	f := NewFrame()
	f.op = op
	f.Payload = append(f.Payload, payload...)
	return f
}

// newClose returns a close frame. A reason that is too long for a control
// frame is cut at a character.
func newClose(code CloseCode, reason string) *Frame {
	f := NewFrame()
	f.op = opClose
	if code == CloseNoStatus {
		return f
	}
	f.Payload = append(f.Payload, byte(code>>8), byte(code))
	f.Payload = append(f.Payload, cutText(reason, maxControl-2)...)
	return f
}
