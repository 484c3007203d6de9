package doctest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Terminal is a shell that runs one command after the other. Its methods are for
// one goroutine.
type Terminal struct {
	cmd    *exec.Cmd
	script io.WriteCloser
	lines  *bufio.Reader
}

// mark ends the output of a command; the exit code follows.
const mark = "\x01done "

// NewTerminal starts a shell in dir. Nobody types there: standard input is empty.
func NewTerminal(dir string, env []string) (*Terminal, error) {
	script, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = script.Close() }()
	cmd := exec.Command("bash", "--norc", "/dev/fd/3") //nolint:noctx // Close ends it
	cmd.Dir, cmd.Env, cmd.ExtraFiles = dir, env, []*os.File{script}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Terminal{cmd: cmd, script: write, lines: bufio.NewReader(out)}, nil
}

// Run runs a command and returns what it printed, and its exit code.
func (t *Terminal) Run(command string) (output string, code int, err error) {
	const after = "\n__code=$?; printf '%s%d\\n' '" + mark + "' $__code; (exit $__code)\n"
	if _, err := io.WriteString(t.script, command+after); err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for {
		line, err := t.lines.ReadString('\n')
		before, status, done := strings.Cut(line, mark)
		b.WriteString(before)
		if done {
			code, err := strconv.Atoi(strings.TrimSpace(status))
			return b.String(), code, err
		}
		if err != nil {
			return b.String(), 0, fmt.Errorf("the shell ended: %w", err)
		}
	}
}

// Close ends the shell and what it started.
func (t *Terminal) Close() {
	_ = t.script.Close()
	_ = syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
	_ = t.cmd.Wait()
}

// Process runs beside a terminal. Its methods may be called from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu      sync.Mutex
	out     bytes.Buffer
	changed chan struct{} // closed when there is more in out
}

// Start runs a script in a shell of its own.
func Start(dir string, env []string, script string) (*Process, error) {
	p := &Process{done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command("bash", "--norc", "-ec", script) //nolint:noctx // Stop ends it
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Write takes what the process prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
	return p.out.Write(b)
}

// Output returns what was printed so far, and a channel that is closed when
// there is more.
func (p *Process) Output() (string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String(), p.changed
}

// Wait returns when the process has printed what satisfies ok, with all that it
// printed. The error says that it ended, or that it took too long.
func (p *Process) Wait(limit time.Duration, ok func(output string) bool) (string, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		out, changed := p.Output()
		if ok(out) {
			return out, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return out, fmt.Errorf("not within %v", limit)
		case <-p.done:
			if out, _ = p.Output(); ok(out) {
				return out, nil
			}
			return out, fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		}
	}
}

// Kill ends the process by force.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Stop ends the process as Ctrl-C does, and by force if that takes too long.
func (p *Process) Stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}
