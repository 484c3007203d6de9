package edge

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// repeat has the poller do something again and again.
func (p *poller) repeat(b *beat) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	if !p.do(func() {
		if p.beat != nil || p.add(fd, unix.EPOLLIN, 0) != nil {
			_ = unix.Close(fd)
			close(b.over)
			return
		}
		p.beat, p.beatfd = b, fd
		p.wind(b.wait)
	}) {
		_ = unix.Close(fd)
		return errStopping
	}
	return nil
}

// wind sets the time of the next beat; without one it was the last.
func (p *poller) wind(wait time.Duration) {
	if wait <= 0 {
		p.endBeat()
		return
	}
	next := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(p.beatfd), 0, uintptr(unsafe.Pointer(&next)), 0, 0, 0) //nolint:errcheck // both are good
}

func (p *poller) onBeat() {
	var b [8]byte
	if n, _ := rawRead(p.beatfd, b[:]); n > 0 {
		p.wind(p.beat.do())
	}
}

func (p *poller) endBeat() {
	if p.beat == nil {
		return
	}
	_ = unix.Close(p.beatfd)
	close(p.beat.over)
	p.beat, p.beatfd = nil, 0
}
