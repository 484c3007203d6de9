//go:build linux

package proctest_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// node is a process that runs a node.
type node struct {
	t       *testing.T
	name    string
	ns      string // network namespace; "" for that of the test
	url     string
	cluster string // HOST:PORT
	cmd     *exec.Cmd
	ended   chan struct{}
	err     error // of Wait; valid then
	log     *tail
	asker   *client.Client // for what the test wants to know
}

// tail keeps the log of a process.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// secret is that of all meshes here.
const secret = "0123456789abcdef0123456789abcdef"

// command makes the command of a node. Its process ends with the test's even if
// that is killed.
func command(ns string, args ...string) *exec.Cmd {
	if ns != "" {
		args = append([]string{"ip", "netns", "exec", ns, program}, args...)
	} else {
		args = append([]string{program}, args...)
	}
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "ROPEWALK_MESH_SECRET="+secret, "GOMAXPROCS=2")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// configuration gives each node an echo service.
func configuration(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ropewalk.json")
	if err := os.WriteFile(path, []byte(`{"services":{"echo":{"kind":"echo"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a node that listens at listen and cluster, and joins others.
func run(t *testing.T, name, ns, listen, cluster string, join ...string) *node {
	t.Helper()
	args := []string{"serve", "--preset", "dev", "--config", configuration(t), "--name", name, "--listen", listen, "--cluster", cluster}
	for _, j := range join {
		args = append(args, "--join", j)
	}
	n := &node{t: t, name: name, ns: ns, cmd: command(ns, args...), ended: make(chan struct{}), log: new(tail)}
	n.cmd.Stderr = n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	begun := make(chan error)
	go n.own(out, begun, ready)
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.end)
	line, ok := "", false
	select {
	case line, ok = <-ready:
	case <-time.After(patience):
	}
	f := strings.Fields(line)
	if !ok || len(f) != 5 || f[0] != "ready" || f[3] != "cluster" {
		t.Fatalf("%s is not ready: %q\n%s", name, line, n.log)
	}
	n.url, n.cluster = strings.Replace(f[2], "http://", "ws://", 1), f[4]
	return n
}

// own starts the process and waits for it, on a goroutine of its own: the death
// signal comes when the thread ends that started the process.
func (n *node) own(out io.Reader, begun chan<- error, ready chan<- string) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := n.cmd.Start(); err != nil {
		begun <- err
		return
	}
	begun <- nil
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err == nil {
		ready <- line
	}
	close(ready)
	_, _ = io.Copy(io.Discard, r)
	n.err = n.cmd.Wait()
	close(n.ended)
}

// signal sends a signal to the process.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("%s: %v: %v", n.name, s, err)
	}
}

// kill is kill -9. It returns when the process is gone.
func (n *node) kill() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	n.wait()
}

// stop has the node finish what it does, and wants it to end well.
func (n *node) stop() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	n.wait()
	if n.err != nil {
		n.t.Errorf("%s ended with %v\n%s", n.name, n.err, n.log)
	}
}

func (n *node) wait() {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(patience):
		n.t.Fatalf("%s does not end\n%s", n.name, n.log)
	}
}

// end is the end of the test.
func (n *node) end() {
	select {
	case <-n.ended:
	default:
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	if n.t.Failed() {
		n.t.Logf("log of %s:\n%s", n.name, n.log)
	}
}

// dial connects a client to the nodes, to the first one first. Nodes in
// namespaces are reached there: their own network has nothing to do with it.
func dial(t *testing.T, at []*node, opts ...client.Option) *client.Client {
	t.Helper()
	opts = append([]client.Option{client.WithLogger(quiet), client.WithBackoff(10*time.Millisecond, 500*time.Millisecond)}, opts...)
	if ns := at[0].ns; ns != "" {
		tr := &http.Transport{DialContext: dialer(ns)}
		t.Cleanup(tr.CloseIdleConnections)
		opts = append(opts, client.WithHTTPClient(&http.Client{Transport: tr}), client.WithoutFollow())
	}
	for _, n := range at[1:] {
		opts = append(opts, client.WithURLs(n.url))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, at[0].url, opts...)
	if err != nil {
		t.Fatalf("connect to %s: %v\n%s", at[0].name, err, at[0].log)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask is the connection by which the test asks a node about itself.
func (n *node) ask() *client.Client {
	if n.asker == nil {
		n.asker = dial(n.t, []*node{n}, client.WithoutFollow())
	}
	return n.asker
}

// nodes is what the node says about the mesh; nil if it says nothing.
func (n *node) nodes() []nodeapi.NodeStatus {
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
	defer cancel()
	list, err := ropewalk.Call[[]nodeapi.NodeStatus](ctx, n.ask(), "node:/nodes", nil)
	if err != nil {
		return nil
	}
	return list
}

// sees tells which nodes the node sees, by name; lost ones in parentheses.
func (n *node) sees() string {
	var list []string
	for _, i := range n.nodes() {
		if i.Gone && slices.ContainsFunc(list, func(s string) bool { return s == i.Name }) {
			continue // it runs again
		}
		name := i.Name
		if i.State == mesh.Lost {
			name = "(" + name + ")"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// servers is how many servers the node sees for an address.
func (n *node) servers(address string) int {
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
	defer cancel()
	e, err := ropewalk.Call[nodeapi.Explanation](ctx, n.ask(), "node:/route/explain", nodeapi.Explain{Address: address})
	if err != nil {
		return -1
	}
	return len(e.Servers)
}

// complete waits until each of the nodes sees all of them, and their services.
func complete(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, n.name+" sees all nodes and their services", func() bool {
			alive := 0
			for _, i := range n.nodes() {
				if i.State != mesh.Lost {
					alive++
				}
			}
			return alive == len(nodes) && n.servers("echo:/") == len(nodes)
		})
	}
}

// trio starts three nodes on this machine that know each other.
func trio(t *testing.T) []*node {
	t.Helper()
	a := run(t, "a", "", "127.0.0.1:0", "127.0.0.1:0")
	b := run(t, "b", "", "127.0.0.1:0", "127.0.0.1:0", a.cluster)
	c := run(t, "c", "", "127.0.0.1:0", "127.0.0.1:0", a.cluster)
	complete(t, []*node{a, b, c})
	return []*node{a, b, c}
}

// again starts a node in the place of one that has ended.
func (n *node) again(others ...*node) *node {
	n.t.Helper()
	var join []string
	for _, o := range others {
		join = append(join, o.cluster)
	}
	if n.asker != nil {
		_ = n.asker.Close()
	}
	return run(n.t, n.name, n.ns, strings.TrimPrefix(n.url, "ws://"), n.cluster, join...)
}

// noticed wants the others to have lost a node, and in time by their own clocks:
// from when each has heard of it last.
func noticed(t *testing.T, lost *node, others ...*node) {
	t.Helper()
	for _, n := range others {
		var found nodeapi.NodeStatus
		eventually(t, n.name+" has lost "+lost.name, func() bool {
			for _, i := range n.nodes() {
				if i.Name == lost.name && i.State == mesh.Lost {
					found = i
					return true
				}
			}
			return false
		})
		if took := found.Since.Sub(found.Heard); took > mesh.DefaultDeadAfter+scan {
			t.Errorf("%s needed %v to notice that %s is lost", n.name, took, lost.name)
		}
	}
}

// scan is how long a node may take, beyond its time-out, to see that it is over:
// two looks of 200 ms each.
const scan = 400 * time.Millisecond
