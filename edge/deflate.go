package edge

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

const (
	// minDeflate is the smallest payload that is worth compressing.
	minDeflate = 256

	// Without context takeover no connection needs a window of its own.
	deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

	// deflateTail is what RFC 7692 has the sender cut off; the final empty
	// block behind it tells the decompressor that this is all.
	deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	cutTail     = 4
)

// offersDeflate reports whether one of a client's offers can be accepted as it
// is by deflateAnswer. An offer that limits our window cannot: compress/flate
// has a fixed one.
func offersDeflate(list []byte) bool {
	for len(list) > 0 {
		var offer []byte
		offer, list, _ = bytes.Cut(list, []byte(","))
		name, params, _ := bytes.Cut(offer, []byte(";"))
		if equalFold(trim(name), "permessage-deflate") && knownParams(params) {
			return true
		}
	}
	return false
}

func knownParams(params []byte) bool {
	for len(params) > 0 {
		var p []byte
		p, params, _ = bytes.Cut(params, []byte(";"))
		name, _, _ := bytes.Cut(p, []byte("="))
		switch string(trim(name)) {
		case "server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits":
		default:
			return false
		}
	}
	return true
}

//nolint:gochecknoglobals // pools are only useful when they are shared; a writer is 600 KB
var (
	deflaters = sync.Pool{New: func() any {
		w, _ := flate.NewWriter(nil, flate.BestSpeed) // only a wrong level is an error
		return w
	}}
	inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}
)

// deflated returns the compressed payload, made on first use; ok is false when
// compressing saves nothing.
func (f *Frame) deflated() (packed []byte, ok bool) {
	f.packing.Lock()
	defer f.packing.Unlock()
	if f.isPacked {
		return f.packed, f.packed != nil
	}
	f.isPacked = true
	buf := bytes.NewBuffer(make([]byte, 0, len(f.Payload)/2+64))
	w, _ := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(buf)
	_, err := w.Write(f.Payload)
	if err = errors.Join(err, w.Flush()); err != nil || buf.Len()-cutTail >= len(f.Payload) {
		return nil, false
	}
	f.packed = buf.Bytes()[:buf.Len()-cutTail]
	return f.packed, true
}

// inflate returns the payload of a compressed message, at most limit bytes.
// The caller frees the buffer.
func inflate(packed []byte, limit int) (*buffer, violation) {
	r, _ := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	src := io.MultiReader(bytes.NewReader(packed), bytes.NewReader([]byte(deflateTail)))
	if err := r.(flate.Resetter).Reset(src, nil); err != nil { //nolint:forcetypeassert // package flate says so
		return nil, violation{CloseInternal, "inflate"}
	}
	out := getBuffer(2*len(packed) + 1)
	for {
		if len(out.b) == cap(out.b) {
			out = out.grow(2 * cap(out.b))
		}
		n, err := r.Read(out.b[len(out.b):min(cap(out.b), limit+1)])
		out.b = out.b[:len(out.b)+n]
		switch {
		case len(out.b) > limit:
			out.free()
			return nil, violation{CloseTooLarge, "the message is larger than the node takes"}
		case errors.Is(err, io.EOF):
			return out, violation{}
		case err != nil:
			out.free()
			return nil, violation{CloseProtocol, "the compressed data is damaged"}
		}
	}
}
