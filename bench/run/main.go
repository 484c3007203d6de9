//go:build linux

// Run builds the programs of the bench, lets them take turns (A B C, A B C, …)
// and writes what it found to RESULTS.md and results.json. README.md says how
// to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

// options are the flags.
type options struct {
	quick      bool
	profile    bool
	only, rows string
	rounds     int
	span, idle time.Duration
	rest       time.Duration
	conns      int
	serverCore int
	loadCore   int
	out        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "a few seconds to see that everything works; writes nothing")
	flag.BoolVar(&o.profile, "profile", false, "only find out where the CPU time goes, by perf, and write that table")
	flag.StringVar(&o.only, "only", "", "programs, separated by commas (default: all): "+strings.Join(names(), ","))
	flag.StringVar(&o.rows, "rows", strings.Join(allRows(), ","), "what is measured, separated by commas")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds")
	flag.DurationVar(&o.span, "for", 3*time.Second, "how long calls, gathers and sends are measured, each time")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long idle connections are watched, each time")
	flag.DurationVar(&o.rest, "rest", 10*time.Second, "how long a mesh at rest is watched, each time")
	flag.IntVar(&o.conns, "conns", 10_000, "connections in connect and idle")
	flag.IntVar(&o.serverCore, "server-core", 0, "core of the server, or of all nodes (-1: any)")
	flag.IntVar(&o.loadCore, "load-core", 1, "core of load generator and services (-1: any)")
	flag.StringVar(&o.out, "out", "", "directory for RESULTS.md and results.json (default: that of the module)")
	flag.Parse()
	if o.quick {
		o.rounds, o.span, o.idle, o.rest, o.conns = 1, 300*time.Millisecond, time.Second, time.Second, 500
	}
	return o
}

// some is all, or, to see that it works, one.
func (o options) some(all []int, one int) []int {
	if o.quick {
		return []int{one}
	}
	return all
}

func run(ctx context.Context) error {
	o := parse()
	if _, err := proc.RaiseFiles(); err != nil {
		return err
	}
	progs, err := pick(o.only)
	if err != nil {
		return err
	}
	steps, err := plan(o)
	if err != nil {
		return err
	}
	if o.out != "" { // that it cannot be made is better known before than after the measuring
		if err := os.MkdirAll(o.out, 0o755); err != nil { //nolint:gosec // results are for all to read
			return fmt.Errorf("make the directory of results: %w", err)
		}
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.clean()
	if err := b.build(ctx, progs); err != nil {
		return err
	}
	if o.profile {
		return b.profile(ctx, progs)
	}
	var failed error
	for round := range o.rounds {
		for _, st := range steps {
			for _, p := range progs {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := b.measure(ctx, round, st, p); err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", st.row, p.name, err))
				}
			}
		}
	}
	if o.quick || failed != nil {
		return failed
	}
	b.last.replace(b.found)
	return b.last.write(b.out)
}
