package edge

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ropewalk/ropewalk/internal/wheel"
)

// acceptTurn is how many connections are accepted before those that are there
// have their turn.
const acceptTurn = 64

// pollerSocket gives the poller a listening socket of its own: a copy of ln's
// descriptor, which never gets into Go's network poller. ln is closed.
func pollerSocket(ln *net.TCPListener) (fd int, err error) { return ownSocket(ln) }

// ownSocket is pollerSocket for connections, too.
func ownSocket(s interface {
	syscall.Conn
	io.Closer
},
) (fd int, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup int
	var errno error
	err = raw.Control(func(fd uintptr) {
		dup, errno = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, errno, s.Close()); err != nil {
		return -1, err
	}
	// Accepted sockets inherit both, which saves two system calls for each.
	_ = unix.SetsockoptInt(dup, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.SetNonblock(dup, true); err != nil {
		_ = unix.Close(dup)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return dup, nil
}

// listen has the poller accept from l. Only the poller's goroutine calls it,
// or somebody before that runs.
func (p *poller) listen(l *listener) error {
	p.srv.accepting.Store(int32(l.fd), l) //nolint:gosec // a descriptor
	return p.add(l.fd, unix.EPOLLIN, 0)
}

// unlisten undoes listen and closes the socket.
func (p *poller) unlisten(l *listener) {
	p.srv.accepting.Delete(int32(l.fd)) //nolint:gosec // a descriptor
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, l.fd, nil)
	_ = unix.Close(l.fd)
}

func (p *poller) accept(fd int) {
	v, ok := p.srv.accepting.Load(int32(fd)) //nolint:gosec // a descriptor
	if !ok {
		return
	}
	l, _ := v.(*listener)
	for range acceptTurn {
		var sa unix.RawSockaddrAny
		size := uint32(unsafe.Sizeof(sa))
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR || errno == unix.ECONNABORTED:
			continue
		case errno != 0:
			p.pause(l, errno)
			return
		}
		p.welcome(l, int(n), &sa)
	}
}

// pause stops accepting for a while.
func (p *poller) pause(l *listener, errno syscall.Errno) {
	p.srv.metrics.hit(limitAccept)
	p.srv.log.Warn("accept: paused; raise the limit of open files or lower limits.connections",
		"listener", l.cfg.Name, "err", errno)
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, l.fd, nil)
	l.resume.Owner = wheel.Func(func() {
		p.do(func() {
			if _, open := p.srv.accepting.Load(int32(l.fd)); open { //nolint:gosec // a descriptor
				_ = p.add(l.fd, unix.EPOLLIN, 0)
			}
		})
	})
	p.srv.wheel.Reset(&l.resume, acceptPause)
}

// generation is the next one of the connections that this poller takes.
func (p *poller) generation() uint32 {
	p.nextGen++
	if p.nextGen == 0 {
		p.nextGen = 1 // 0 means a listening socket
	}
	return p.nextGen
}

// welcome makes a connection of an accepted socket and gives it to one of the
// pollers.
func (p *poller) welcome(l *listener, fd int, sa *unix.RawSockaddrAny) {
	c := p.srv.newConn(l, addrOf(sa))
	if status, refusal := p.srv.admit(c); refusal != nil {
		_, _ = unix.Write(fd, appendRefusal(nil, status, refusal, ""))
		_ = unix.Close(fd)
		return
	}
	owner := p.srv.nextPoller()
	c.link, c.fd, c.gen = owner, int32(fd), p.generation() //nolint:gosec // a descriptor
	owner.table.set(fd, c)
	p.srv.register(c)
	if err := owner.add(fd, pollIn, c.gen); err != nil {
		c.doom(&CloseError{Code: CloseAbnormal, Reason: "watch a new connection", Cause: err})
		p.srv.log.Error("watch a new connection", "err", err)
	}
}
