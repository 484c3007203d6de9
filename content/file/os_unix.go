//go:build unix

package file

import (
	"io/fs"
	"syscall"
)

// readFlags keep an open from waiting if a file has become a pipe meanwhile.
const readFlags = syscall.O_RDONLY | syscall.O_NONBLOCK | syscall.O_CLOEXEC

const errQuota = syscall.EDQUOT

// dirSync is true where directories can be synced.
const dirSync = true

// inodeOf returns the number of a file in its file system, or 0.
func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino) //nolint:unconvert // it is another type on some systems
	}
	return 0
}
