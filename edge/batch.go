package edge

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"
)

// ContentTypeBatch is the media type of a batch: frames of the HTTP transports,
// each with its length in decimal and a line feed in front.
const ContentTypeBatch = "application/vnd.ropewalk.batch"

var (
	errBatch     = errors.New("the body is not a batch of frames, each with its length and a line feed in front")
	errBatchSize = errors.New("a frame of the batch is larger than the node takes")
	errBatchText = errors.New("a frame of the batch is not UTF-8")
)

// maxDigits is enough for any length that fits into an int of 32 bits.
const maxDigits = 10

// nextFrame cuts the first frame off a batch.
func nextFrame(batch []byte, limit int) (frame, rest []byte, err error) {
	digits, _, found := bytes.Cut(batch[:min(len(batch), maxDigits+1)], []byte("\n"))
	if !found || len(digits) == 0 || digits[0] == '0' && len(digits) > 1 {
		return nil, nil, errBatch
	}
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return nil, nil, errBatch
		}
		if n = 10*n + int(d-'0'); n > limit {
			return nil, nil, errBatchSize
		}
	}
	rest = batch[len(digits)+1:]
	if n > len(rest) {
		return nil, nil, errBatch
	}
	return rest[:n], rest[n:], nil
}

// checkBatch reads a whole batch, so that afterwards either all of its frames
// are handled or none.
func checkBatch(batch []byte, limit int, text bool) error {
	for len(batch) > 0 {
		frame, rest, err := nextFrame(batch, limit)
		if err != nil {
			return err
		}
		if text && !utf8.Valid(frame) {
			return errBatchText
		}
		batch = rest
	}
	return nil
}

// encodeBatch is encode for the HTTP transports. What belongs to the WebSocket
// alone is left out.
func (w *scratch) encodeBatch() {
	w.buf, w.big, w.sizes = w.buf[:0], nil, w.sizes[:0]
	for _, f := range w.frames {
		if f.op != opData {
			w.sizes = append(w.sizes, 0)
			continue
		}
		before := len(w.buf)
		w.buf = strconv.AppendInt(w.buf, int64(len(f.Payload)), 10)
		w.buf = append(w.buf, '\n')
		size := len(w.buf) - before + len(f.Payload)
		if len(w.frames) == 1 && size > flushBytes {
			w.big = f.Payload
		} else {
			w.buf = append(w.buf, f.Payload...)
		}
		w.sizes = append(w.sizes, size)
	}
}
