//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

// members is what a mesh of nodes costs that have nothing to do.
type members struct {
	// Known is how long it took from the start of the first process until every
	// node knew all others, Lost from killing one until all others knew; seconds.
	Known float64 `json:"known"`
	Lost  float64 `json:"lost"`
	// CPU is milliseconds a second and node; Packets and Bytes are received, a
	// second and node.
	CPU     float64 `json:"cpuMs"`
	Packets float64 `json:"packets"`
	Bytes   float64 `json:"bytes"`
	// RSS is resident memory in bytes a node.
	RSS int64 `json:"rss"`
}

func (m *members) String() string {
	return fmt.Sprintf("CPU %.2f ms/s, %.1f packets/s, %.0f B/s, %.1f MB each; all known after %.2f s, loss after %.2f s",
		m.CPU, m.Packets, m.Bytes, mb(m.RSS), m.Known, m.Lost)
}

const (
	// knowWait is how long nodes may take to know of each other, or of a loss.
	knowWait = time.Minute
	// lookEach is how often it is looked what the nodes have logged.
	lookEach = 2 * time.Millisecond
	// anyCore: without a load generator there is nobody to keep a core for.
	anyCore = -1
)

var errKnow = errors.New("not all nodes know")

// members measures a mesh at rest: one that nobody is connected to.
func (b *bench) members(ctx context.Context, st step) (_ *members, others float64, err error) {
	s := new(site)
	defer func() { err = errors.Join(err, s.stop()) }()
	m := new(members)
	began := time.Now()
	addrs, err := b.nodes(s, st.size)
	if err != nil {
		return nil, 0, err
	}
	if err := know(ctx, s.servers, func(n, _ int) bool { return n == st.size-1 }); err != nil {
		return nil, 0, err
	}
	m.Known = time.Since(began).Seconds()
	if err := wait(ctx, st.warm); err != nil {
		return nil, 0, err
	}
	if others, err = b.atRest(ctx, s, addrs, st.span, m); err != nil {
		return nil, 0, err
	}
	return m, others, lose(ctx, s, m)
}

// nodes starts a mesh: the first node, then all others at once.
func (b *bench) nodes(s *site, n int) ([]string, error) {
	first, line, err := b.start(anyCore, b.bin("ropewalk"), nodeArgs(0, "")...)
	if err != nil {
		return nil, err
	}
	s.servers = append(s.servers, first)
	join, err := clusterAddr(line)
	if err != nil {
		return nil, err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // of s, lines and err
		lines = []string{line}
	)
	for i := range n - 1 {
		wg.Go(func() {
			c, line, startErr := b.start(anyCore, b.bin("ropewalk"), nodeArgs(i+1, join)...)
			mu.Lock()
			defer mu.Unlock()
			if err = errors.Join(err, startErr); c != nil {
				s.servers, lines = append(s.servers, c), append(lines, line)
			}
		})
	}
	wg.Wait()
	addrs := make([]string, len(lines))
	for i, line := range lines {
		addr, readErr := readyAddr(line)
		addrs[i], err = addr, errors.Join(err, readErr)
	}
	return addrs, err
}

// know waits until all nodes know what is asked for.
func know(ctx context.Context, nodes []*child, what func(others, lost int) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, knowWait, errKnow)
	defer cancel()
	for _, c := range nodes {
		for !what(c.log.knows()) {
			if err := wait(ctx, lookEach); err != nil {
				others, lost := c.log.knows()
				return fmt.Errorf("%w: one knows %d others and has lost %d: %s", err, others, lost, tail(c.log.String()))
			}
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// atRest watches the nodes for some time.
func (b *bench) atRest(ctx context.Context, s *site, addrs []string, span time.Duration, m *members) (others float64, err error) {
	before, err := traffic(ctx, addrs)
	if err != nil {
		return 0, err
	}
	if err := wait(ctx, span/10); err != nil { // that they were asked is over
		return 0, err
	}
	all := make([]int, len(s.servers))
	for i, c := range s.servers {
		all[i] = c.cmd.Process.Pid
	}
	used, began, err := watch(all)
	if err != nil {
		return 0, err
	}
	if err := wait(ctx, span); err != nil {
		return 0, err
	}
	usedTo, ended, err := watch(all)
	if err != nil {
		return 0, err
	}
	if m.RSS, err = proc.RSS(all...); err != nil {
		return 0, err
	}
	after, err := traffic(ctx, addrs)
	if err != nil {
		return 0, err
	}
	n := float64(len(all))
	took := ended.at.Sub(began.at).Seconds()
	m.RSS /= int64(len(all))
	m.CPU = 1000 * (usedTo - used).Seconds() / took / n
	each := after.at.Sub(before.at).Seconds() * n
	m.Packets, m.Bytes = (after.packets-before.packets)/each, (after.bytes-before.bytes)/each
	return max(0, (ended.busy-began.busy-(usedTo-used)).Seconds()/took), nil
}

// moment is the state of the machine.
type moment struct {
	at   time.Time
	busy time.Duration
}

// watch reads the CPU time of the nodes and of the machine.
func watch(all []int) (time.Duration, moment, error) {
	used, err := proc.CPU(all...)
	if err != nil {
		return 0, moment{}, err
	}
	busy, err := proc.Busy()
	return used, moment{time.Now(), busy}, err
}

// lose kills one node and measures until all others know.
func lose(ctx context.Context, s *site, m *members) error {
	last := len(s.servers) - 1
	victim := s.servers[last]
	s.servers = s.servers[:last]
	began := time.Now()
	victim.kill()
	err := know(ctx, s.servers, func(others, lost int) bool { return lost > 0 && others == last-1 })
	m.Lost = time.Since(began).Seconds()
	return err
}

// counters are what all nodes together have received.
type counters struct {
	at             time.Time
	packets, bytes float64
}

// traffic asks all nodes for their metrics.
func traffic(ctx context.Context, addrs []string) (counters, error) {
	sum := counters{at: time.Now()}
	for _, addr := range addrs {
		if err := sum.add(ctx, addr); err != nil {
			return sum, fmt.Errorf("read metrics: %w", err)
		}
	}
	return sum, nil
}

func (c *counters) add(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	req.Close = true // nobody stays connected
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return c.read(resp.Body)
}

// read adds the counters of one page.
func (c *counters) read(page io.Reader) error {
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		var to *float64
		switch name {
		case "ropewalk_mesh_packets_received_total":
			to = &c.packets
		case "ropewalk_mesh_bytes_received_total":
			to = &c.bytes
		default:
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("read %s: %w", lines.Text(), err)
		}
		*to += n
	}
	return lines.Err()
}
