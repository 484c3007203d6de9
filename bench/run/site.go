//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

const (
	// meetWait is how long nodes may take to know what others serve.
	meetWait = 20 * time.Second
	// askEach is how often they are asked.
	askEach = 20 * time.Millisecond
)

var errMeet = errors.New("the nodes do not find what they serve")

// site is what a step needs but the load generator.
type site struct {
	servers, peers []*child
	// load and far are where the load generator connects, far for those who are
	// sent to.
	load, far string
	// token opens a session for each of its connections; "" for none.
	token string
	// bare means that the caller is one of the servers: see cmd/natspair.
	bare bool
}

func (s *site) stop() error {
	var err error
	for _, c := range s.peers {
		err = errors.Join(err, c.stop())
	}
	// All are told before one is waited for, so that those who leave do not tell
	// the others one after another.
	for _, c := range s.servers {
		c.tell()
	}
	for _, c := range s.servers {
		err = errors.Join(err, c.stop())
	}
	return err
}

func pids(list []*child) string {
	all := make([]string, len(list))
	for i, c := range list {
		all[i] = c.pid()
	}
	return strings.Join(all, ",")
}

// serve starts a server and notes what it prints.
func (b *bench) serve(s *site, name string, args ...string) (line string, err error) {
	c, line, err := b.start(b.o.serverCore, b.bin(name), args...)
	if err != nil {
		return "", err
	}
	s.servers = append(s.servers, c)
	return line, nil
}

// peer starts a service at each address.
func (b *bench) peer(s *site, name string, addrs ...string) error {
	for _, addr := range addrs {
		c, _, err := b.start(b.o.loadCore, b.bin(name), "-addr", addr)
		if err != nil {
			return err
		}
		s.peers = append(s.peers, c)
	}
	return nil
}

// services is at how many places a step has services.
func (st step) services() int {
	switch st.row {
	case load.ModeCall:
		return 1
	case load.ModeGather:
		return st.size
	default:
		return 0
	}
}

func floorSite(b *bench, st step) (*site, error) {
	s := new(site)
	line, err := b.serve(s, "floor", "-listen", "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	if s.load, err = readyAddr(line); err != nil {
		return s, err
	}
	s.far = s.load
	return s, b.peer(s, "peer", repeat(s.load, st.services())...)
}

func repeat(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

// ropewalkSite is one node with the given read driver.
func ropewalkSite(driver string) func(*bench, step) (*site, error) {
	return func(b *bench, st step) (*site, error) {
		s := new(site)
		config, err := b.nodeConfig(driver, st)
		if err != nil {
			return s, err
		}
		line, err := b.serve(s, "ropewalk", "serve", "--preset", "dev", "--listen", "127.0.0.1:0", "--config", config)
		if err != nil {
			return s, err
		}
		if s.load, err = readyAddr(line); err != nil {
			return s, err
		}
		s.far = s.load
		if st.row == load.ModeQuery {
			return s, b.fillTable(s.load)
		}
		return s, b.peer(s, "peer", repeat(s.load, st.services())...)
	}
}

// sessionRules are the rules of a node whose callers have sessions: a page of
// them, of which the last lets the calls pass.
const sessionRules = 20

// sessionSite is one node with rules that look at claims, at which each
// connection of the load generator has a session of its own.
func sessionSite(b *bench, st step) (*site, error) {
	s := new(site)
	rules := make([]map[string]any, 0, 1+sessionRules)
	rules = append(rules, map[string]any{"name": "services", "verbs": []string{"serve"}, "addresses": []string{"bench:/**"}})
	for i := range sessionRules {
		rules = append(rules, map[string]any{
			"name": "tenant " + strconv.Itoa(i), "verbs": []string{"call"}, "addresses": []string{"bench:/**"},
			"when": fmt.Sprintf("session.authenticated && claims.tenant == 't%d' && 'caller' in claims.roles", i),
		})
	}
	config, err := json.Marshal(map[string]any{
		"permissions": map[string]any{"preset": "closed", "rules": rules},
		"sessions":    map[string]any{"tokens": map[string]any{"secret": strings.Repeat("bench ", 8)}},
	})
	path := b.bin("node-session.json")
	if err == nil {
		err = os.WriteFile(path, config, 0o600)
	}
	if err != nil {
		return s, fmt.Errorf("write configuration: %w", err)
	}
	//nolint:gosec,noctx // our own program
	out, err := exec.Command(b.bin("ropewalk"), "token", "new", "--config", path, "--subject", "caller",
		"--claim", "tenant=t"+strconv.Itoa(sessionRules-1), "--claim", `roles=["reader","caller"]`).Output()
	if err != nil {
		return s, fmt.Errorf("make a token: %w", err)
	}
	s.token = strings.TrimSpace(string(out))
	line, err := b.serve(s, "ropewalk", "serve", "--listen", "127.0.0.1:0", "--config", path)
	if err != nil {
		return s, err
	}
	if s.load, err = readyAddr(line); err != nil {
		return s, err
	}
	s.far = s.load
	return s, b.peer(s, "peer", repeat(s.load, st.services())...)
}

// meshSite is as many nodes as a gather has servers, else two. Services are at
// the last ones: those of a call at another one than the caller.
func meshSite(b *bench, st step) (*site, error) {
	s := new(site)
	n := max(st.size, 2)
	addrs := make([]string, n)
	join := ""
	for i := range n {
		args := nodeArgs(i, join)
		if i == n-1 && st.topical() { // the owner of its topics stays
			config, err := b.nodeConfig("poller", st)
			if err != nil {
				return s, err
			}
			args = append(args, "--config", config)
		}
		line, err := b.serve(s, "ropewalk", args...)
		if err == nil {
			addrs[i], err = readyAddr(line)
		}
		if err == nil && i == 0 {
			join, err = clusterAddr(line)
		}
		if err != nil {
			return s, err
		}
	}
	if err := know(context.Background(), s.servers, func(others, _ int) bool { return others == n-1 }); err != nil {
		return s, err
	}
	s.load, s.far = addrs[0], addrs[n-1]
	if err := b.peer(s, "peer", addrs[n-st.services():]...); err != nil {
		return s, err
	}
	return s, b.met(s.load, st.services())
}

// nodeArgs are the arguments of node i of a mesh; join is empty for the first.
func nodeArgs(i int, join string) []string {
	args := []string{"serve", "--preset", "dev", "--listen", "127.0.0.1:0", "--name", "node-" + strconv.Itoa(i), "--cluster", "127.0.0.1:0"}
	if join != "" {
		args = append(args, "--join", join)
	}
	return args
}

// met waits until the node at addr knows n servers.
func (b *bench) met(addr string, n int) error {
	if n == 0 {
		return nil
	}
	var said []byte
	for end := time.Now().Add(meetWait); time.Now().Before(end); <-time.After(askEach) {
		//nolint:gosec,noctx // our own program; it has a time limit
		ask := exec.Command(b.bin("ropewalk"), "gather", "--url", "ws://"+addr, "--json", "bench:/echo", `"there?"`)
		said, _ = ask.Output() // an error: nobody yet
		var got struct {
			Servers int `json:"servers"`
		}
		if json.Unmarshal(said, &got) == nil && got.Servers == n {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errMeet, said)
}

func natsSite(proto string) func(*bench, step) (*site, error) {
	return func(b *bench, st step) (*site, error) {
		s := new(site)
		// As often as the node does by default, so that idle is the same work.
		line, err := b.serve(s, "natsd", "-ping", "25s")
		if err != nil {
			return s, err
		}
		var tcp, web string
		if _, err := fmt.Sscanf(line, "ready nats %s %s", &tcp, &web); err != nil {
			return s, fmt.Errorf("read %q: %w", line, err)
		}
		if s.load = web; proto == load.ProtoNATSTCP {
			s.load = tcp
		}
		return s, b.peer(s, "natspeer", repeat(tcp, st.services())...)
	}
}

// natsMeshSite is two servers with a route, the service at the second.
func natsMeshSite(b *bench, _ step) (*site, error) {
	s := new(site)
	var tcp, web, cluster, far string
	line, err := b.serve(s, "natsd", "-cluster")
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscanf(line, "ready nats %s %s %s", &s.load, &web, &cluster); err != nil {
		return s, fmt.Errorf("read %q: %w", line, err)
	}
	if line, err = b.serve(s, "natsd", "-cluster", "-join", cluster); err != nil {
		return s, err
	}
	if _, err := fmt.Sscanf(line, "ready nats %s %s %s", &tcp, &web, &far); err != nil {
		return s, fmt.Errorf("read %q: %w", line, err)
	}
	if err := b.peer(s, "natspeer", tcp); err != nil {
		return s, err
	}
	return s, natsMet(s.load)
}

// natsMet waits until the server at addr knows of the service.
func natsMet(addr string) error {
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()
	for end := time.Now().Add(meetWait); time.Now().Before(end); <-time.After(askEach) {
		if _, err = nc.Request("bench.echo", nil, time.Second); err == nil {
			return nil
		}
	}
	return errors.Join(errMeet, err)
}

// natsPairSite is the process that answers; the other one is the load.
func natsPairSite(b *bench, _ step) (*site, error) {
	s := &site{bare: true}
	line, err := b.serve(s, "natspair", "-serve")
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscanf(line, "ready natspair %s", &s.load); err != nil {
		return s, fmt.Errorf("read %q: %w", line, err)
	}
	return s, nil
}
