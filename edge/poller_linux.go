package edge

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pollerSupported = true

	// pollEvents is how many ready sockets are handled before what was sent
	// meanwhile is flushed. More saves system calls, fewer saves latency.
	pollEvents = 128

	pollIn  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
	pollOut = pollIn | unix.EPOLLOUT
	pollEnd = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// poller reads many sockets on one goroutine. It owns the connections that it
// was given. Edge-triggered, so that a socket costs one epoll_ctl in its life:
// a read that fills its buffer, or news that the other end has stopped, puts the
// connection on the list of those to be read again.
type poller struct {
	srv     *Server
	epfd    int
	file    *os.File        // epfd as Go's poller knows it
	raw     syscall.RawConn // of file
	ready   func(uintptr) bool
	got     int // events that ready found
	wakefd  int
	table   fdTable
	events  [pollEvents]unix.EpollEvent
	buf     []byte
	scratch *scratch
	again   []*Conn
	nextGen uint32 // of connections accepted here

	beatfd int // of beat; 0 without one
	beat   *beat

	asleep atomic.Bool

	mu      sync.Mutex
	nudged  []*Conn
	spare   []*Conn
	tasks   []func()
	stopped bool
}

func newPoller(s *Server) (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{srv: s, epfd: epfd, wakefd: wakefd, buf: make([]byte, readTurn), scratch: newScratch()}
	err = unix.SetNonblock(epfd, true)          // or os.NewFile will not have it polled
	p.file = os.NewFile(uintptr(epfd), "epoll") //nolint:gosec // a descriptor
	p.ready = p.isReady
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	if err := p.add(wakefd, unix.EPOLLIN, 0); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	_ = p.file.Close()
	_ = unix.Close(p.wakefd)
	p.endBeat()
}

func (p *poller) add(fd int, events, gen uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(gen)} //nolint:gosec // bits are bits
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// run is the poller's goroutine.
func (p *poller) run(context.Context) {
	for {
		n := p.poll()
		p.srv.enter()
		for i := range n {
			ev := &p.events[i]
			p.handle(int(ev.Fd), uint32(ev.Pad), ev.Events) //nolint:gosec // bits are bits
		}
		p.readAgain()
		stopped := p.doTasks()
		p.srv.leave(p.scratch)
		if stopped {
			p.stop()
			return
		}
	}
}

// poll waits for events. When there is nothing it parks the goroutine until Go's
// own poller says that our set has something: blocking a thread in epoll_wait
// instead would keep its P from other goroutines for up to 10 ms, until the
// runtime notices. Under load the question is always answered at once, and the
// Go scheduler has no part in it.
func (p *poller) poll() int {
	runtime.Gosched() // others want to run too, and under load this loop never waits
	p.asleep.Store(true)
	defer p.asleep.Store(false)
	if len(p.again) > 0 || p.srv.dirtyList.Load() != nil || p.hasTasks() {
		return p.epoll()
	}
	if err := p.raw.Read(p.ready); err != nil {
		panic("wait for epoll: " + err.Error()) //nolint:forbidigo // the descriptor itself is broken
	}
	return p.got
}

// isReady is called when the set may have events, and again until it returns true.
func (p *poller) isReady(uintptr) bool {
	p.got = p.epoll()
	return p.got > 0
}

func (p *poller) epoll() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.events[0])),
		pollEvents, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (p *poller) handle(fd int, gen, events uint32) {
	switch {
	case fd == p.wakefd:
		var b [8]byte
		_, _ = rawRead(fd, b[:])
		return
	case fd == p.beatfd && p.beat != nil: // without one the descriptor is 0, and may be a socket's
		p.onBeat()
		return
	}
	if gen == 0 {
		p.accept(fd)
		return
	}
	c := p.table.get(fd)
	if c == nil || c.gen != gen {
		return // closed meanwhile, and the descriptor may be somebody else's
	}
	if events&unix.EPOLLOUT != 0 {
		c.unblock()
	}
	if events&pollEnd != 0 {
		c.hup = true
	}
	if events&(unix.EPOLLIN|pollEnd) != 0 {
		p.read(c)
	}
}

// read reads once from c.
func (p *poller) read(c *Conn) {
	if c.again {
		return // its turn comes with the others on the list
	}
	defer p.caught(c)
	into := c.begin(p.buf)
	n, errno := rawRead(int(c.fd), into)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		c.lost(os.NewSyscallError("read", errno))
		return
	case n == 0:
		c.lost(nil)
		return
	}
	c.input(p.buf, n)
	if state(c.state.Load()) == stateDead {
		return
	}
	if n == len(into) || c.hup {
		c.again = true
		p.again = append(p.again, c)
	}
}

// caught keeps a bug that one connection's input brings to light from stopping
// the poller for all others.
func (p *poller) caught(c *Conn) {
	if r := recover(); r != nil {
		p.srv.logPanic(c, r)
		c.die(&CloseError{Code: CloseInternal, Reason: "a bug on the node"})
	}
}

// readAgain gives those that had more than one buffer of input a next turn.
func (p *poller) readAgain() {
	n := len(p.again)
	for i := range n {
		c := p.again[i]
		c.again = false
		if state(c.state.Load()) != stateDead {
			p.read(c)
		}
	}
	m := copy(p.again, p.again[n:])
	clear(p.again[m:])
	p.again = p.again[:m]
}

// nudge implements [link].
func (p *poller) nudge(c *Conn) {
	p.mu.Lock()
	p.nudged = append(p.nudged, c)
	p.mu.Unlock()
	p.wake()
}

// do runs f on the poller's goroutine. It reports false, and does not, when that
// has ended.
func (p *poller) do(f func()) bool {
	p.mu.Lock()
	stopped := p.stopped
	if !stopped {
		p.tasks = append(p.tasks, f)
	}
	p.mu.Unlock()
	p.wake()
	return !stopped
}

func (p *poller) wake() {
	if p.asleep.Load() {
		one := [8]byte{1}
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(p.wakefd), uintptr(unsafe.Pointer(&one[0])), uintptr(len(one))) //nolint:dogsled // it has room
	}
}

func (p *poller) hasTasks() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.nudged)+len(p.tasks) > 0 || p.stopped
}

func (p *poller) doTasks() (stopped bool) {
	p.mu.Lock()
	nudged, tasks := p.nudged, p.tasks
	p.nudged, p.tasks = p.spare, nil
	stopped = p.stopped
	p.mu.Unlock()
	for _, c := range nudged {
		c.settle()
	}
	for _, f := range tasks {
		f()
	}
	clear(nudged)
	p.spare = nudged[:0]
	return stopped
}

// halt has run end.
func (p *poller) halt() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.wake()
}

// stop lets everything that is left die.
func (p *poller) stop() {
	for c := range p.table.all() {
		c.die(&CloseError{Code: CloseGoingAway, Reason: "the node stops"})
	}
	p.doTasks()
	p.srv.leave(p.scratch)
	p.close()
}

// flush implements [link].
func (p *poller) flush(c *Conn, w *scratch) {
	if !c.take(w) {
		return
	}
	w.encode(c)
	n, errno := rawWrite(int(c.fd), w, c.off)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		c.done(w, 0, true, nil)
	case errno != 0:
		c.done(w, 0, false, os.NewSyscallError("write", errno))
	default:
		c.done(w, n, n < len(w.buf)+len(w.big)-c.off, nil)
	}
}

// wait implements [link]. To modify asks the socket anew, so room that was made
// between the write and now is not missed.
func (p *poller) wait(c *Conn) {
	ev := unix.EpollEvent{Events: pollOut, Fd: c.fd, Pad: int32(c.gen)} //nolint:gosec // bits are bits
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, int(c.fd), &ev)
}

// halfClose implements [link].
func (p *poller) halfClose(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state(c.state.Load()) != stateDead {
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
}

// leave implements [link].
func (p *poller) leave(c *Conn) { p.table.set(int(c.fd), nil) }

// release implements [link].
func (p *poller) release(c *Conn) {
	if c.fd >= 0 {
		_ = unix.Close(int(c.fd))
	}
}

// adopt has the poller own a socket whose handshake is done.
func (p *poller) adopt(c *Conn, conn *net.TCPConn) error {
	fd, err := ownSocket(conn)
	if err != nil {
		p.srv.dismiss(c)
		return err
	}
	c.link, c.fd = p, int32(fd) //nolint:gosec // a descriptor
	if !p.do(func() { p.begin(c) }) {
		p.srv.dismiss(c)
		_ = unix.Close(fd)
		return errStopping
	}
	return nil
}

// begin opens a connection that was adopted.
func (p *poller) begin(c *Conn) {
	defer p.caught(c)
	c.gen = p.generation()
	p.table.set(int(c.fd), c)
	p.srv.register(c)
	if err := p.add(int(c.fd), pollIn, c.gen); err != nil {
		c.lost(err)
		return
	}
	c.becomePeer()
	c.open(nil)
	c.settle() // it may be that the server stops
}

// detach takes c's socket away from the poller, for net/http.
func (p *poller) detach(c *Conn) (net.Conn, error) {
	fd := int(c.fd)
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	p.table.set(fd, nil)
	f := os.NewFile(uintptr(fd), "connection") //nolint:gosec // a descriptor is not negative
	defer f.Close()                            //nolint:errcheck // FileConn has its own copy
	return net.FileConn(f)
}

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno //nolint:gosec // the kernel's ssize_t
}

func rawWrite(fd int, w *scratch, off int) (int, syscall.Errno) {
	head, tail := w.rest(off)
	if len(tail) == 0 || len(head) == 0 {
		b := head
		if len(b) == 0 {
			b = tail
		}
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		return int(n), errno //nolint:gosec // the kernel's ssize_t
	}
	iov := [2]unix.Iovec{{Base: &head[0]}, {Base: &tail[0]}}
	iov[0].SetLen(len(head))
	iov[1].SetLen(len(tail))
	n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), 2)
	return int(n), errno //nolint:gosec // the kernel's ssize_t
}

// addrOf reads the address that accept4 wrote.
func addrOf(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), ntohs(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), ntohs(a.Port))
	default:
		return netip.AddrPort{}
	}
}

func ntohs(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

var _ link = (*poller)(nil)
