//go:build unix

package edge

import (
	"io"
	"syscall"
)

// rawReads tells that a goroutine can wait for bytes without a buffer for them.
const rawReads = true

// readReady is called when there may be something to read, and again until it
// returns true. Only then is a buffer needed.
func (k *sock) readReady(fd uintptr) bool {
	b := getBuffer(sockRead)
	n, err := syscall.Read(int(fd), k.c.begin(b.b[:cap(b.b)])) //nolint:gosec // a descriptor
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR: //nolint:errorlint // bare numbers
		b.free()
		return false
	case err != nil:
		k.err = err
	case n == 0:
		k.err = io.EOF
	default:
		k.n = n
	}
	k.into = b
	return true
}
