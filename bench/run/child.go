//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

const (
	readyWait = 15 * time.Second // a program has to say that it is ready
	stopWait  = 15 * time.Second // and to end when it is told to
)

var (
	errReady = errors.New("did not become ready")
	errStop  = errors.New("did not stop")
	errExit  = errors.New("ended with")
)

// child is a process of ours.
type child struct {
	cmd  *exec.Cmd
	errs bytes.Buffer
	done chan struct{}
}

// start starts a program on a core and returns it with the first line that it
// prints.
func (b *bench) start(core int, path string, args ...string) (*child, string, error) {
	c := &child{cmd: exec.Command(path, args...), done: make(chan struct{})} //nolint:gosec,noctx // our own programs; stop ends them
	c.cmd.Stderr = &c.errs
	c.cmd.Dir = b.tmp
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, "", fmt.Errorf("pipe: %w", err)
	}
	if err := proc.OnCore(core, c.cmd.Start); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", path, err)
	}
	first := make(chan string, 1)
	go func() {
		defer close(c.done)
		lines := bufio.NewReader(out)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = lines.WriteTo(&bytes.Buffer{}) // until the program ends
		_ = c.cmd.Wait()
	}()
	select {
	case line := <-first:
		if strings.HasPrefix(line, "ready") {
			return c, strings.TrimSpace(line), nil
		}
	case <-time.After(readyWait):
	}
	return nil, "", errors.Join(fmt.Errorf("%s: %w", path, errReady), c.stop())
}

func (c *child) pid() string { return strconv.Itoa(c.cmd.Process.Pid) }

// stop ends the process, by force if it does not listen, and waits for it.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	var err error
	select {
	case <-c.done:
	case <-time.After(stopWait):
		_ = c.cmd.Process.Kill()
		<-c.done
		err = fmt.Errorf("%s: %w", c.cmd.Path, errStop)
	}
	if code := c.cmd.ProcessState.ExitCode(); code > 0 { // -1: by the signal, as it should
		err = errors.Join(err, fmt.Errorf("%s: %w %d: %s", c.cmd.Path, errExit, code, tail(c.errs.String())))
	}
	return err
}

// tail is the end of what a program had to say.
func tail(s string) string {
	const most = 2000
	if len(s) > most {
		return "… " + s[len(s)-most:]
	}
	return s
}

// readyAddr is HOST:PORT of a line "ready NAME http://HOST:PORT".
func readyAddr(line string) (string, error) {
	at := strings.LastIndexByte(line, ' ')
	u, err := url.Parse(line[at+1:])
	if err != nil {
		return "", fmt.Errorf("read %q: %w", line, err)
	}
	return u.Host, nil
}

// freeAddr is an address nobody listens on at the moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // does not wait
	if err != nil {
		return "", fmt.Errorf("find a port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
