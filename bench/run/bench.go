//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/bench/internal/load"
	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

// bench is one run of everything.
type bench struct {
	o      options
	dir    string // of the module
	out    string
	tmp    string
	env    []string // of the programs of the step in hand
	origin origin
	last   *report // what earlier runs found
	found  *report // and this one
}

func newBench(ctx context.Context, o options) (*bench, error) {
	dir, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	b := &bench{o: o, dir: dir, out: o.out, found: new(report)}
	if b.out == "" {
		b.out = dir
	}
	if b.origin, err = newOrigin(ctx, o, dir); err != nil {
		return nil, err
	}
	if b.last, err = readReport(b.out); err != nil {
		return nil, err
	}
	if b.tmp, err = os.MkdirTemp("", "ropewalk-bench-"); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	return b, nil
}

func (b *bench) clean() { _ = os.RemoveAll(b.tmp) }

func (b *bench) bin(name string) string { return filepath.Join(b.tmp, name) }

// output runs a command and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // our own arguments
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// build makes all programs, the node as it is released: stripped.
func (b *bench) build(ctx context.Context, progs []program) error {
	fmt.Println("building …")
	if _, err := output(ctx, b.dir, "go", "build", "-o", b.tmp+"/", "./cmd/..."); err != nil {
		return err
	}
	if !slices.ContainsFunc(progs, func(p program) bool { return strings.HasPrefix(p.name, ropewalkName) }) {
		return nil
	}
	path := b.bin("ropewalk")
	flags := []string{"-trimpath", "-ldflags=-s -w"}
	if b.o.profile {
		flags[1] = "-ldflags=" // perf wants the symbols
	}
	if b.o.quick {
		flags = nil // with -trimpath nothing is used that others have compiled
	}
	args := append(append([]string{"build"}, flags...), "-o", path, "./cmd/ropewalk")
	_, err := output(ctx, filepath.Dir(b.dir), "go", args...)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("stat node: %w", err)
	}
	b.origin.Binary = info.Size()
	return nil
}

// measure starts one program afresh, does one step with it and stops it.
func (b *bench) measure(ctx context.Context, round int, st step, p program) (err error) {
	if !slices.Contains(p.rows, st.row) {
		return nil
	}
	m := measure{Round: round, Program: p.name, Size: st.size}
	switch st.row {
	case rowNodes:
		m.Mode = rowNodes
		m.Members, m.Others, err = b.members(ctx, st)
	case rowContents:
		m.Mode = rowContents
		m.Contents, err = b.runContents(ctx)
	default:
		err = b.loaded(ctx, st, p, &m.Result)
	}
	if err != nil {
		return err
	}
	b.found.add(st.row, b.origin, m)
	fmt.Println(m)
	return nil
}

// loaded measures one program with the load generator.
func (b *bench) loaded(ctx context.Context, st step, p program, res *load.Result) (err error) {
	b.env = st.env()
	s, err := p.site(b, st)
	defer func() { err = errors.Join(err, s.stop()) }()
	if err != nil {
		return err
	}
	return b.generate(ctx, s, st, p, res)
}

// generate runs the load generator.
func (b *bench) generate(ctx context.Context, s *site, st step, p program, res *load.Result) error {
	core, name, args := b.o.loadCore, "load", st.loadArgs(s, p)
	if s.bare { // the caller is one of the servers
		core, name = b.o.serverCore, "natspair"
		args = []string{
			"-join", s.load, "-inflight", strconv.Itoa(st.inFlight), "-warm", st.warm.String(), "-for", st.span.String(),
			"-peer", pids(s.servers),
		}
	}
	cmd := exec.CommandContext(ctx, b.bin(name), args...) //nolint:gosec // our own program
	cmd.Stderr = os.Stderr
	var out []byte
	err := proc.OnCore(core, func() (err error) {
		out, err = cmd.Output()
		return err
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	if err := json.Unmarshal(out, res); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	return nil
}

// loadArgs are the arguments of the load generator.
func (st step) loadArgs(s *site, p program) []string {
	args := []string{
		"-mode", st.mode(), "-proto", p.proto, "-addr", s.load, "-to", st.to(p),
		"-warm", st.warm.String(), "-for", st.span.String(), "-server", pids(st.measured(s)),
	}
	if s.token != "" {
		args = append(args, "-token", s.token)
	}
	if st.topical() {
		return append(args, st.topicArgs(s)...)
	}
	if st.conns > 0 {
		return append(args, "-conns", strconv.Itoa(st.conns))
	}
	args = append(args, "-inflight", strconv.Itoa(st.inFlight))
	if len(s.peers) > 0 {
		args = append(args, "-peer", pids(s.peers))
	}
	switch st.row {
	case load.ModeGather:
		args = append(args, "-servers", strconv.Itoa(st.size))
	case load.ModeSend:
		args = append(args, "-far", s.far)
	}
	return args
}

// nodeConfig writes a node's configuration: everything as it is by default, but
// for the read driver, the topics of a step, and what may wait for a connection
// that does not read, so that it is reached.
func (b *bench) nodeConfig(driver string, st step) (string, error) {
	path := b.bin("node-" + driver + ".json")
	config := map[string]any{"listeners": map[string]any{"main": map[string]any{"driver": driver}}}
	if st.topical() {
		config["topics"] = map[string]any{topicsAt + "/**": map[string]any{"events": true}}
	}
	if st.row == load.ModeQuery {
		content, err := b.contents()
		if err != nil {
			return "", err
		}
		config["content"] = content
	}
	if st.row == rowStalled {
		config["limits"] = map[string]any{"pendingBytes": stalledBytes, "pendingFrames": stalledFrames}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("encode configuration: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}
