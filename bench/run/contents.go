//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

// rowContents is the row of what the providers of contents take by themselves:
// benchmarks of their packages, on the server's core.
const rowContents = "contents"

// ofContents are these benchmarks, by package and name.
var ofContents = []struct{ pkg, name, what string }{ //nolint:gochecknoglobals // a table
	{"script", "Call", "script: call of a script in the process"},
	{"script", "CallHost", "script: the same, in which the script calls an address"},
	{"script", "CallProcess", "script: call of a script in a worker process"},
	{"file", "Latency", "file: from the change by another program until the watcher is told, 10 ms of it waiting for more"},
	{"file", "Get", "file: get"},
	{"file", "Publish", "file: publish, with two fsyncs"},
	{"git", "Publish", "git: publish, a commit in a tree of 1,000 files, until the watcher is told"},
	{"git", "Follow", "git: from a commit in one store to the content in another"},
}

var errNoBench = errors.New("a benchmark has no result")

// contents runs the benchmarks and returns microseconds an operation, by
// "package name".
func (b *bench) runContents(ctx context.Context) (map[string]float64, error) {
	names := map[string][]string{}
	var pkgs []string
	for _, o := range ofContents {
		if len(names[o.pkg]) == 0 {
			pkgs = append(pkgs, o.pkg)
		}
		names[o.pkg] = append(names[o.pkg], o.name)
	}
	got := map[string]float64{}
	for _, pkg := range pkgs {
		only := "^Benchmark(" + strings.Join(names[pkg], "|") + ")$"
		var out string
		err := proc.OnCore(b.o.serverCore, func() (err error) {
			out, err = output(ctx, filepath.Dir(b.dir), "go", "test", "-run", "^$", "-bench", only, "-benchtime", b.o.bench(), "./content/"+pkg)
			return err
		})
		if err != nil {
			return nil, err
		}
		readBench(out, pkg, got)
	}
	for _, o := range ofContents {
		if _, ok := got[o.pkg+" "+o.name]; !ok {
			return nil, fmt.Errorf("%w: %s %s", errNoBench, o.pkg, o.name)
		}
	}
	return got, nil
}

// bench is how long each benchmark is to run.
func (o options) bench() string {
	if o.quick {
		return "1x"
	}
	return "1s"
}

// readBench reads lines such as "BenchmarkGet-2   123   456.7 ns/op".
func readBench(out, pkg string, into map[string]float64) {
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		name, ok := strings.CutPrefix(line, "Benchmark")
		if !ok || len(words) < 4 || words[3] != "ns/op" {
			continue
		}
		name, _, _ = strings.Cut(strings.Fields(name)[0], "-")
		if ns, err := strconv.ParseFloat(words[2], 64); err == nil {
			into[pkg+" "+name] = ns / 1000
		}
	}
}

func (r *report) contentsTable(b *bytes.Buffer) {
	if !r.has(rowContents) {
		return
	}
	r.heading(b, rowContents, "Contents by themselves", "", "µs")
	for _, o := range ofContents {
		of := r.series(ropewalkName, at{mode: rowContents}, func(m measure) float64 { return m.Contents[o.pkg+" "+o.name] })
		fmt.Fprintf(b, "| %s | %s |\n", o.what, cell(of, 1))
	}
}
