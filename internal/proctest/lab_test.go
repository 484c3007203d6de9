//go:build linux

package proctest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// lab is machines, each a network namespace, at a switch in another one:
//
//	node 1 ── eth0 10.77.0.1 ── p1 ┐
//	node 2 ── eth0 10.77.0.2 ── p2 ┼ br0 (br1)
//	node 3 ── eth0 10.77.0.3 ── p3 ┘
//
// None of it is connected to the network of this machine.
type lab struct {
	t        *testing.T
	hub      string
	machines []string
}

var labs atomic.Int32

// newLab makes so many machines; it skips the test where that is not allowed.
func newLab(t *testing.T, count int) *lab {
	t.Helper()
	l := &lab{t: t, hub: fmt.Sprintf("rw%d-%d-hub", os.Getpid(), labs.Add(1))}
	if out, err := ip("netns", "add", l.hub); err != nil {
		if os.Getenv("CI") != "" && os.Geteuid() == 0 {
			t.Fatalf("no network namespaces: %v: %s", err, out)
		}
		t.Skipf("network namespaces need root and iproute2: %v: %s", err, out)
	}
	t.Cleanup(func() { _, _ = ip("netns", "del", l.hub) })
	for _, br := range []string{"br0", "br1"} {
		l.must("-n", l.hub, "link", "add", br, "type", "bridge")
		l.must("-n", l.hub, "link", "set", br, "up")
	}
	for i := range count {
		ns := strings.TrimSuffix(l.hub, "hub") + fmt.Sprint(i+1)
		l.must("netns", "add", ns)
		t.Cleanup(func() { _, _ = ip("netns", "del", ns) })
		l.machines = append(l.machines, ns)
		l.must("-n", l.hub, "link", "add", port(i), "type", "veth", "peer", "name", "eth0", "netns", ns)
		l.must("-n", l.hub, "link", "set", port(i), "master", "br0")
		l.must("-n", l.hub, "link", "set", port(i), "up")
		l.must("-n", ns, "addr", "add", host(i)+"/24", "dev", "eth0")
		l.must("-n", ns, "link", "set", "lo", "up")
		l.must("-n", ns, "link", "set", "eth0", "up")
	}
	return l
}

func port(i int) string { return fmt.Sprint("p", i+1) }
func host(i int) string { return fmt.Sprint("10.77.0.", i+1) }

func ip(args ...string) (string, error) {
	out, err := exec.CommandContext(context.Background(), "ip", args...).CombinedOutput()
	return string(out), err
}

func (l *lab) must(args ...string) {
	l.t.Helper()
	if out, err := ip(args...); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// nodes starts a node on each machine.
func (l *lab) nodes() []*node {
	l.t.Helper()
	var list []*node
	for i, ns := range l.machines {
		var join []string
		if i > 0 {
			join = []string{host(0) + ":7421"}
		}
		list = append(list, run(l.t, string(rune('a'+i)), ns, "127.0.0.1:7420", host(i)+":7421", join...))
	}
	complete(l.t, list)
	return list
}

// split puts machines at a switch of their own; join puts them back.
func (l *lab) split(machines ...int) { l.at("br1", machines) }
func (l *lab) join(machines ...int)  { l.at("br0", machines) }

func (l *lab) at(br string, machines []int) {
	l.t.Helper()
	for _, i := range machines {
		l.must("-n", l.hub, "link", "set", port(i), "master", br)
	}
}

// unplug takes the cable of a machine out.
func (l *lab) unplug(i int) { l.t.Helper(); l.must("-n", l.hub, "link", "set", port(i), "down") }
func (l *lab) plug(i int)   { l.t.Helper(); l.must("-n", l.hub, "link", "set", port(i), "up") }

// deaden has a machine send nothing to another one, but hear it.
func (l *lab) deaden(from, to int) {
	l.t.Helper()
	l.must("-n", l.machines[from], "route", "add", "blackhole", host(to)+"/32")
}

func (l *lab) revive(from, to int) {
	l.t.Helper()
	l.must("-n", l.machines[from], "route", "del", "blackhole", host(to)+"/32")
}

// shape makes what a machine sends slow or lossy, as tc describes it. It reports
// whether the kernel can.
func (l *lab) shape(i int, qdisc ...string) bool {
	l.t.Helper()
	args := append([]string{"netns", "exec", l.machines[i], "tc", "qdisc", "replace", "dev", "eth0", "root"}, qdisc...)
	out, err := ip(args...)
	if err != nil {
		l.t.Logf("tc %s: %v: %s", strings.Join(qdisc, " "), err, out)
	}
	return err == nil
}

func (l *lab) straighten(i int) {
	l.t.Helper()
	l.must("netns", "exec", l.machines[i], "tc", "qdisc", "del", "dev", "eth0", "root")
}

// dialer connects within a network namespace.
func dialer(ns string) func(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		got := make(chan result, 1)
		go func() {
			runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
			if err := enter(ns); err != nil {
				got <- result{nil, err}
				return
			}
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			got <- result{c, err}
		}()
		r := <-got
		return r.c, r.err
	}
}

// enter moves this thread into a network namespace.
func enter(ns string) error {
	f, err := os.Open("/run/netns/" + ns)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}
