package engine

import "syscall"

// Limits of a worker process, beside those of its machine: they end it if the
// machine has a fault.
const (
	maxFiles = 32
	// ownData is what the program needs for itself, in bytes.
	ownData = 512 << 20
)

// confine keeps the process from writing files and opening many.
func confine() {
	lower(syscall.RLIMIT_CORE, 0)
	lower(syscall.RLIMIT_FSIZE, 0)
	lower(syscall.RLIMIT_NOFILE, maxFiles)
}

// confineData bounds the memory of the process for scripts that may have memory
// bytes.
func confineData(memory int) {
	lower(syscall.RLIMIT_DATA, uint64(memory)*2+ownData)
}

// lower sets the soft limit. One that the system does not let us set stays: the
// limits of the machine hold all the same.
func lower(what int, to uint64) {
	var l syscall.Rlimit
	if syscall.Getrlimit(what, &l) != nil {
		return
	}
	l.Cur = min(to, l.Max)
	_ = syscall.Setrlimit(what, &l)
}
