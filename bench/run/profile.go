//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

// profileSpan is how long perf looks; the load goes on a little longer.
const profileSpan = 5 * time.Second

// profileLoads are how many calls are in flight meanwhile.
var profileLoads = []int{64, 256}

// profile writes the tables of where the server's time goes.
func (b *bench) profile(ctx context.Context, progs []program) error {
	var text bytes.Buffer
	for _, p := range progs {
		if p.proto != load.ProtoRope {
			continue // the rules below know our own packages only
		}
		for _, n := range profileLoads {
			var res load.Result
			shares, err := b.record(ctx, p, n, &res)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			profileTable(&text, p.name, res, shares)
		}
	}
	text.WriteByte('\n')
	fmt.Print(text.String())
	if b.o.quick {
		return nil
	}
	return rewrite(b.out, beginProfile, endProfile, text.Bytes())
}

// record has perf look at a program under load.
func (b *bench) record(ctx context.Context, p program, inFlight int, res *load.Result) (shares map[string]float64, err error) {
	st := step{row: load.ModeCall, inFlight: inFlight, warm: time.Second, span: profileSpan + time.Second}
	s, err := p.site(b, st)
	defer func() { err = errors.Join(err, s.stop()) }()
	if err != nil {
		return nil, err
	}
	loaded := make(chan error, 1)
	go func() { loaded <- b.generate(ctx, s, st, p, res) }()
	data := b.bin("perf-" + p.name)
	rec := exec.CommandContext(ctx, "perf", "record", "-q", "-g", "-F", "2000", "-o", data, //nolint:gosec // our own files
		"-p", pids(s.servers), "--", "sleep", fmt.Sprint(profileSpan.Seconds()))
	out, err := rec.CombinedOutput()
	if err := errors.Join(<-loaded, err); err != nil {
		return nil, fmt.Errorf("perf record: %w: %s", err, tail(string(out)))
	}
	script := exec.CommandContext(ctx, "perf", "script", "-i", data, "-F", "ip,sym") //nolint:gosec // our own files
	stacks, err := script.Output()
	if err != nil {
		return nil, fmt.Errorf("perf script: %w", err)
	}
	return count(bytes.NewReader(stacks))
}

// count reads stacks, innermost call first, separated by empty lines, and
// returns the share of each place.
func count(r io.Reader) (map[string]float64, error) {
	var stack []string
	total, found := 0, map[string]float64{}
	flush := func() {
		if len(stack) > 0 {
			found[place(stack)]++
			total++
		}
		stack = stack[:0]
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		_, name, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if !ok {
			flush()
			continue
		}
		stack = append(stack, name)
	}
	flush()
	for k := range found {
		found[k] /= float64(total)
	}
	return found, lines.Err()
}

const (
	own      = "github.com/ropewalk/ropewalk"
	embedded = "github.com/nats-io/nats-server"
)

// system are functions that stand for what is below them.
var system = []struct{ part, place string }{ //nolint:gochecknoglobals // a table
	{"runtime.sysmon", "Go monitor thread"},
	{"gcBgMarkWorker", "garbage collector"},
	{"bgsweep", "garbage collector"},
	{"bgscavenge", "garbage collector"},
	{"gcAssistAlloc", "garbage collector"},
	{"wbBufFlush", "garbage collector"},
	{"runtime.mallocgc", "allocation"},
	{"runtime.newobject", "allocation"},
	{"sys_write", "write(2), with TCP on both ends"},
	{"sys_read", "read(2)"},
	{"epoll_wait", "epoll_wait(2), with going to sleep"},
	{"epoll_pwait", "epoll_wait(2), with going to sleep"},
	{"runtime.schedule", "Go scheduler"},
	{"runtime.mcall", "Go scheduler"},
	{"runtime.mstart", "Go scheduler"},
	{"finish_task_switch", "pushed aside by other programs"},
	{"irqentry", "interrupts"},
	{"linux.Syscall6", "entering the kernel"},
}

// place names what a stack was busy with: the runtime's or kernel's work that
// it stands for, else the innermost of our packages.
func place(stack []string) string {
	for _, s := range system {
		if slices.ContainsFunc(stack, func(name string) bool { return strings.Contains(name, s.part) }) {
			return s.place
		}
	}
	for _, name := range stack {
		if strings.HasPrefix(name, embedded) {
			return "nats-server"
		}
		rest, ok := strings.CutPrefix(name, own)
		if !ok {
			continue
		}
		// "/internal/lane.(*Lane).Go" or ".(*Node).x"
		pkg, _, _ := strings.Cut(rest, ".")
		return cmp.Or(strings.TrimPrefix(pkg, "/"), "ropewalk")
	}
	return "other"
}

// least is the share below which a place is counted as other.
const least = 0.005

func profileTable(b *bytes.Buffer, name string, res load.Result, shares map[string]float64) {
	fmt.Fprintf(b, "\n### %s, %d in flight: %.1f µs a call\n", name, res.InFlight, res.Server)
	columns(b, "where", "%", "µs a call")
	places := make([]string, 0, len(shares))
	rest := shares["other"]
	for p, s := range shares {
		switch {
		case p == "other":
		case s < least:
			rest += s
		default:
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b string) int {
		return cmp.Or(cmp.Compare(shares[b], shares[a]), strings.Compare(a, b))
	})
	for _, p := range places {
		fmt.Fprintf(b, "| %s | %.1f | %.2f |\n", p, 100*shares[p], shares[p]*res.Server)
	}
	fmt.Fprintf(b, "| other | %.1f | %.2f |\n", 100*rest, rest*res.Server)
}
