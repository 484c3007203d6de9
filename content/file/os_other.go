//go:build !unix

package file

import (
	"io/fs"
	"os"
	"syscall"
)

const readFlags = os.O_RDONLY

// errQuota is what Windows says when a disk is full.
const errQuota = syscall.Errno(112)

// dirSync is true where directories can be synced.
const dirSync = false

// inodeOf returns the number of a file in its file system, or 0.
func inodeOf(fs.FileInfo) uint64 { return 0 }
