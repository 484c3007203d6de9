//go:build linux

// Package sock gives the programs of the bench the kernel's sockets without
// anything of the Go runtime in between: non-blocking descriptors, one epoll
// set, plain reads and writes. What is measured through it is then the cost of
// the other side and of the system calls, not of this one.
//
// Everything here belongs to one goroutine; nothing is safe for concurrent use.
package sock

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Backlog is how many connections the kernel keeps for a listener that has
// not accepted them yet; the kernel cuts it to net.core.somaxconn.
const Backlog = 4096

// Again reports whether err only says that the call would have blocked or was
// interrupted: the next event brings the rest.
func Again(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }

// Read reads what is there, without telling the Go scheduler: the descriptor
// must be non-blocking. At the end of the stream it returns 0 and no error.
func Read(fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Write writes as much as the kernel takes. The descriptor must be
// non-blocking.
func Write(fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Dial begins to connect to addr; the socket becomes writable when it is done
// and [Connected] then tells how it went.
func Dial(addr netip.AddrPort) (int, error) { return DialNarrow(addr, 0) }

// DialNarrow is Dial of a socket for which the kernel takes few bytes that are
// not read; 0 for as many as it likes.
func DialNarrow(addr netip.AddrPort, receive int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, closing(fd, "set no delay", err)
	}
	if receive > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive); err != nil {
			return -1, closing(fd, "set receive buffer", err)
		}
	}
	// Closing resets: ten thousand sockets in TIME_WAIT would use up the ports
	// of the next round.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return -1, closing(fd, "set linger", err)
	}
	to := &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return -1, closing(fd, "connect", err)
	}
	return fd, nil
}

// Connected returns the error with which a connect begun by [Dial] ended.
func Connected(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("read socket error: %w", err)
	}
	if code != 0 {
		return fmt.Errorf("connect: %w", unix.Errno(code))
	}
	return nil
}

// Listen opens a non-blocking listener; port 0 takes any. It returns the
// address it got.
func Listen(addr netip.AddrPort) (int, netip.AddrPort, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, addr, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, addr, closing(fd, "set reuse", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return -1, addr, closing(fd, "bind", err)
	}
	if err := unix.Listen(fd, Backlog); err != nil {
		return -1, addr, closing(fd, "listen", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, addr, closing(fd, "read name", err)
	}
	if in4, ok := name.(*unix.SockaddrInet4); ok {
		addr = netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port))
	}
	return fd, addr, nil
}

// Accept takes one connection from a listener, non-blocking and without delay.
func Accept(fd int) (int, error) {
	got, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	if err := unix.SetsockoptInt(int(got), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, closing(int(got), "set no delay", err)
	}
	return int(got), nil
}

// Close closes a descriptor. There is nothing to be done about an error.
func Close(fd int) { _ = unix.Close(fd) }

func closing(fd int, what string, err error) error {
	Close(fd)
	return fmt.Errorf("%s: %w", what, err)
}
