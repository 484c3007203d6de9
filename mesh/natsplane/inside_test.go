package natsplane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ropewalk/ropewalk/mesh/natsplane"
)

func TestOneSeedIsEnough(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0", Secret: secret})
	b := start(t, natsplane.Config{Join: []string{a.Addr()}, Secret: secret})
	c := start(t, natsplane.Config{Cluster: "localhost:0", Join: []string{a.Addr()}, Secret: secret})
	d := start(t, natsplane.Config{Join: []string{c.Addr()}, Secret: secret})
	meet(t, a, b, c, d)
}

func TestTheSeedMayGo(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	b := start(t, natsplane.Config{Join: []string{a.Addr()}})
	c := start(t, natsplane.Config{Join: []string{a.Addr()}})
	meet(t, a, b, c)
	a.shut()
	meet(t, b, c)
}

func TestSeedComesLater(t *testing.T) {
	t.Parallel()
	seed := freePort(t)
	all := []string{seed}
	b := start(t, natsplane.Config{Join: all})
	c := start(t, natsplane.Config{Join: all})
	eventually(t, "a warning", func() bool { return b.logs.count("cannot be reached") == 1 }, nil)
	a := start(t, natsplane.Config{Cluster: seed, Join: all}) // itself among them
	meet(t, a, b, c)
	if n := b.logs.count("\n"); n != 1 {
		t.Errorf("%d lines of log, want 1:\n%s", n, b.logs)
	}
	if n := a.logs.count("\n"); n != 0 {
		t.Errorf("%d lines of log of the seed, want none:\n%s", n, a.logs)
	}
}

func TestComesBackUnderTheSameAddress(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: freePort(t)})
	b := start(t, natsplane.Config{Join: []string{a.Addr()}})
	meet(t, a, b)
	a.shut()
	again := start(t, natsplane.Config{Cluster: a.Addr()})
	meet(t, again, b)
}

func TestCloseLetsGoWhatWasSent(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	for i := range 10 {
		b := start(t, natsplane.Config{Join: []string{a.Addr()}})
		meet(t, a, b)
		last := "goodbye " + strconv.Itoa(i)
		for range 200 {
			if err := b.Send(a.id, []byte(strings.Repeat("x", 1000))); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Publish([]byte(last)); err != nil {
			t.Fatal(err)
		}
		b.shut()
		eventually(t, "the last word of a node", func() bool { return a.has(last) > 0 }, nil)
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0", Secret: secret})
	c := start(t, natsplane.Config{Join: []string{a.Addr()}, Secret: secret})
	for name, other := range map[string]string{"other": "another secret altogether", "none": ""} {
		b := start(t, natsplane.Config{Join: []string{a.Addr()}, Secret: other})
		eventually(t, name+": a warning of the one that joins", func() bool { return b.logs.count("a node refused this one") == 1 }, nil)
		eventually(t, name+": a warning of the seed", func() bool { return a.logs.count("a node was refused") >= 1 }, nil)
		if err := b.Send(a.id, []byte("secret")); err != nil {
			t.Error(err)
		}
		if err := b.Publish([]byte("secret")); err != nil {
			t.Error(err)
		}
	}
	meet(t, a, c)
	if a.has("secret")+c.has("secret") > 0 {
		t.Error("a node with another secret was heard")
	}
	if n := a.logs.count("\n"); n != 1 {
		t.Errorf("%d lines of log, want 1:\n%s", n, a.logs)
	}
	if strings.Contains(a.logs.String()+c.logs.String(), secret) {
		t.Error("the log tells the secret")
	}
	// A seed without a secret does not take a node that has one either.
	open := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	d := start(t, natsplane.Config{Join: []string{open.Addr()}, Secret: secret})
	eventually(t, "a warning", func() bool { return d.logs.count("a node refused this one") == 1 }, nil)
}

func TestWrongName(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0", Name: "shop", Secret: secret})
	b := start(t, natsplane.Config{Join: []string{a.Addr()}, Name: "store", Secret: secret})
	eventually(t, "a warning of the one that joins", func() bool { return b.logs.count("mesh with another name") == 1 }, nil)
	for _, n := range []*node{a, b} {
		if err := n.Publish([]byte("hello")); err != nil {
			t.Error(err)
		}
		reaches(t, n, n)
	}
	if a.has("hello")+b.has("hello") > 0 {
		t.Error("nodes of two meshes heard each other")
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	b := prepare(t, natsplane.Config{Cluster: a.Addr()})
	err := b.Open(t.Context(), b.id, b)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), a.Addr()) {
		t.Errorf("error %v, want that %s is in use", err, a.Addr())
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	with := func(a *authority, host string, cfg natsplane.Config) natsplane.Config {
		cfg.CertFile, cfg.KeyFile, cfg.CAFile = a.files(t, host)
		cfg.Secret = secret
		return cfg
	}
	a := start(t, with(ours, "node-a", natsplane.Config{Cluster: "127.0.0.1:0"}))
	b := start(t, with(ours, "node-b", natsplane.Config{Join: []string{a.Addr()}}))
	c := start(t, with(ours, "node-c", natsplane.Config{Join: []string{a.Addr()}}))
	meet(t, a, b, c)
	for _, n := range []*node{a, b, c} {
		if n.logs.count("\n") > 0 {
			t.Errorf("was warned:\n%s", n.logs)
		}
	}

	stranger := start(t, with(theirs, "node-a", natsplane.Config{Join: []string{a.Addr()}}))
	eventually(t, "a warning of the stranger", func() bool { return stranger.logs.count("TLS with another node failed") > 0 }, nil)
	eventually(t, "a warning", func() bool { return a.logs.count("TLS with another node failed") > 0 }, nil)
	naked := start(t, natsplane.Config{Join: []string{a.Addr()}, Secret: secret})
	if err := stranger.Publish([]byte("hello")); err != nil {
		t.Error(err)
	}
	if err := naked.Publish([]byte("hello")); err != nil {
		t.Error(err)
	}
	refusesWithoutCertificate(t, a.Addr())
	meet(t, a, b, c)
	if a.has("hello") > 0 {
		t.Error("a node without a certificate of the authority was heard")
	}
}

// refusesWithoutCertificate talks TLS to a node without showing a certificate.
func refusesWithoutCertificate(t *testing.T, addr string) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := tls.Client(conn, d.Config)
	err = client.HandshakeContext(t.Context())
	if err == nil { // in TLS 1.3 the server's refusal comes with the first read
		_, err = client.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v, want that a certificate is required", err)
	}
}

func TestWarnsOfPlainText(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "0.0.0.0:0", Secret: secret})
	if a.logs.count("can be read on the network") != 1 {
		t.Errorf("no warning:\n%s", a.logs)
	}
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", a.Addr())
	if err != nil {
		t.Fatalf("the address that others are told: %v", err)
	}
	conn.Close()
}

func TestAdvertise(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0", Advertise: "node-a.example.com:4000"})
	if got := a.Addr(); got != "node-a.example.com:4000" {
		t.Errorf("told %s", got)
	}
	b := start(t, natsplane.Config{Cluster: freePort(t), Advertise: "localhost"})
	if host, port, _ := net.SplitHostPort(b.Addr()); host != "localhost" || port == "0" {
		t.Errorf("told %s", b.Addr())
	}
	c := start(t, natsplane.Config{Join: []string{b.Addr()}})
	meet(t, b, c)
}

func TestStrangersAreTurnedAway(t *testing.T) {
	t.Parallel()
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0", Secret: secret})
	for _, hello := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT {\"lang\":\"go\",\"verbose\":false}\r\nPING\r\n",
		"CONNECT {}\r\nPING\r\n",
		"RMSG $G x 3\r\nabc\r\n",
		"\x00\x01\x02\xff\r\n",
	} {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(hello)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		for err = nil; err == nil; { // until the node hangs up
			_, err = r.ReadString('\n')
		}
		conn.Close()
	}
	b := start(t, natsplane.Config{Join: []string{a.Addr()}, Secret: secret})
	meet(t, a, b)
}

// listening returns the TCP sockets of this process that listen, by
// /proc/self/net/tcp, and how many are connected to each.
func sockets(t *testing.T) (listening []string, connections map[string]int) {
	t.Helper()
	own := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	for _, fd := range fds {
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	connections = map[string]int{}
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || !own[f[9]] {
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			port, _ := strconv.ParseUint(hex, 16, 16)
			switch f[3] {
			case "0A":
				listening = append(listening, strconv.FormatUint(port, 10))
			case "01":
				connections[strconv.FormatUint(port, 10)]++
			}
		}
	}
	slices.Sort(listening)
	return listening, connections
}

// TestPorts looks at the sockets of a process of its own: other tests have some.
func TestPorts(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPortsOfAProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "NATSPLANE_PORTS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPortsOfAProcess(t *testing.T) { //nolint:paralleltest // alone in its process
	if os.Getenv("NATSPLANE_PORTS") == "" {
		t.Skip("TestPorts runs it in a process of its own")
	}
	port := func(n *node) string { _, p, _ := net.SplitHostPort(n.Addr()); return p }
	alone := prepare(t, natsplane.Config{})
	if err := alone.Open(t.Context(), "alone", alone); err != nil {
		t.Fatal(err)
	}
	defer alone.Close(context.Background())
	if got, _ := sockets(t); len(got) > 0 {
		t.Fatalf("a node alone listens on %v", got)
	}
	a := start(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	b := start(t, natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{a.Addr()}})
	c := start(t, natsplane.Config{Join: []string{a.Addr()}})
	meet(t, a, b, c)
	want := []string{port(a), port(b), port(c)}
	slices.Sort(want)
	got, _ := sockets(t)
	if !slices.Equal(got, want) {
		t.Errorf("listens on %v, want %v", got, want)
	}
	eventually(t, "one connection a pair", func() bool {
		_, n := sockets(t)
		total := 0
		for _, k := range n {
			total += k
		}
		return total == 2*3 // both ends of three
	}, nil)
	for _, n := range []*node{a, b, c} {
		n.shut()
	}
	if got, _ := sockets(t); len(got) > 0 {
		t.Errorf("closed nodes listen on %v", got)
	}
}
