package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// contentBatch is the content type of several frames in one body: each has its
// length in decimal and a line feed before it.
const contentBatch = "application/vnd.ropewalk.batch"

// appendBatch appends a frame to a batch.
func appendBatch(dst, frame []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(frame)), 10)
	dst = append(dst, '\n')
	return append(dst, frame...)
}

// batchReader takes a batch apart, as it comes.
type batchReader struct {
	r     *bufio.Reader
	limit int
	buf   []byte
}

func newBatchReader(r io.Reader, limit int) *batchReader {
	return &batchReader{r: bufio.NewReader(r), limit: limit}
}

var errBatch = errors.New("the batch is damaged")

// maxLength is how many digits a length has at most: more than any limit needs.
const maxLength = 10

// next returns the next frame, valid until the next call. It may be empty: a
// sign of life. At the end of the batch it returns io.EOF, within a frame
// io.ErrUnexpectedEOF.
func (b *batchReader) next() ([]byte, error) {
	n, digits := 0, 0
	for {
		c, err := b.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && digits > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case c == '\n' && digits > 0:
			return b.frame(n)
		case c < '0' || c > '9' || digits == maxLength:
			return nil, errBatch
		}
		n = n*10 + int(c-'0')
		digits++
	}
}

func (b *batchReader) frame(n int) ([]byte, error) {
	if n > b.limit {
		return nil, fmt.Errorf("a frame of %d bytes is over the limit of %d", n, b.limit)
	}
	if cap(b.buf) < n || cap(b.buf) > keepBuffer {
		b.buf = make([]byte, n)
	}
	b.buf = b.buf[:n]
	if _, err := io.ReadFull(b.r, b.buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b.buf, nil
}
