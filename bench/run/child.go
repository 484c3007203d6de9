//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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
	log  logbook
	told bool
	done chan struct{}
}

// start starts a program on a core and returns it with the first line that it
// prints.
func (b *bench) start(core int, path string, args ...string) (*child, string, error) {
	c := &child{cmd: exec.Command(path, args...), done: make(chan struct{})} //nolint:gosec,noctx // our own programs; stop ends them
	c.cmd.Stderr = &c.log
	c.cmd.Dir = b.tmp
	c.cmd.Env = append(os.Environ(), b.env...)
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

// tell asks the process to end, once: a node that is told twice stops at once.
func (c *child) tell() {
	if !c.told {
		c.told = true
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// kill ends it without asking, and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// stop ends the process, by force if it does not listen, and waits for it.
func (c *child) stop() error {
	c.tell()
	var err error
	select {
	case <-c.done:
	case <-time.After(stopWait):
		c.kill()
		err = fmt.Errorf("%s: %w", c.cmd.Path, errStop)
	}
	if code := c.cmd.ProcessState.ExitCode(); code > 0 { // -1: by the signal, as it should
		err = errors.Join(err, fmt.Errorf("%s: %w %d: %s", c.cmd.Path, errExit, code, tail(c.log.String())))
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

// logbook keeps what a program says on standard error, and counts what a node
// says there of others.
type logbook struct {
	mu     sync.Mutex
	text   bytes.Buffer
	part   []byte // of a line
	joined int
	lost   int
}

// Write implements io.Writer.
func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	l.part = append(l.part, b...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		switch {
		case bytes.Contains(line, []byte(`msg="node joined"`)):
			l.joined++
		case bytes.Contains(line, []byte(`msg="node lost"`)), bytes.Contains(line, []byte(`msg="node left"`)):
			l.lost++
		}
		l.part = append(l.part[:0], rest...)
	}
}

// String is all that was said.
func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// knows is how many other nodes the node knows, and how many it has lost so far.
func (l *logbook) knows() (others, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joined - l.lost, l.lost
}

// readyAddr is HOST:PORT of a line "ready NAME http://HOST:PORT".
func readyAddr(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return "", fmt.Errorf("read %q: %w", line, errReady)
	}
	u, err := url.Parse(words[2])
	if err != nil {
		return "", fmt.Errorf("read %q: %w", line, err)
	}
	return u.Host, nil
}

// clusterAddr is where other nodes join, in such a line that goes on with
// "cluster HOST:PORT".
func clusterAddr(line string) (string, error) {
	_, addr, ok := strings.Cut(line, " cluster ")
	if !ok {
		return "", fmt.Errorf("read %q: %w", line, errReady)
	}
	return addr, nil
}
