package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/route"
)

// gatherCmd asks every server of an address.
type gatherCmd struct {
	target
	Address string `arg:"" help:"Whom to ask, such as math:/decimal/mul or 'math:/decimal/*'."`
	input
	choice
	Majority bool `help:"End when more than half of the servers gave the same answer."`
	Quorum   int  `placeholder:"N" help:"Fewer good answers than this are an error."`
	First    int  `placeholder:"N" help:"End after this many good answers."`
}

// Help is printed below the flags.
func (*gatherCmd) Help() string {
	return `Put an address with * into quotes, or the shell may replace it.

It exits with 0 when the answers are in, good or not; say with --quorum how many good ones you need.

Examples:

  ropewalk gather 'math:/decimal/*' '{"a":8,"b":2}'
  ropewalk gather math:/decimal/mul '{"a":2,"b":5}' --quorum 2 --timeout 1s`
}

// Run asks.
func (g *gatherCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(g.Address); err != nil {
		return err
	}
	body, err := g.read(w)
	if err != nil {
		return err
	}
	sel := route.Selection{By: route.ByAll, Quorum: g.Quorum, First: g.First}
	if g.Majority {
		sel.By = route.ByMajority
	}
	g.narrow(&sel)
	c, err := g.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	opts := slices.Concat(g.target.options(), g.input.options(), []call.Option{call.WithStrategy(sel)})
	a, err := c.Call(ctx, g.Address, body, opts...)
	if err != nil {
		return err
	}
	if w.json {
		return w.line(json.RawMessage(a.Body))
	}
	got, err := call.DecodeGathered(a.Body)
	if err != nil {
		return err
	}
	return printGathered(w, got)
}

func printGathered(w *world, g *call.Gathered) error {
	t := newTable("SERVER", "NODE", "PATH", "TOOK", "ANSWER")
	good := 0
	for _, a := range g.Answers {
		text := string(a.Body)
		switch {
		case a.Err != nil:
			text = fmt.Sprintf("error: %s (%s)", a.Err.Message, a.Err.Code)
		case a.ContentType != "":
			text = fmt.Sprintf("%d bytes of %s", len(a.Body), a.ContentType)
		}
		if a.Err == nil {
			good++
		}
		t.add(short(a.ID, 12), orHere(a.Node), a.Name+":"+a.Path, brief(a.Took), text)
	}
	for _, s := range g.Missing {
		t.add(short(s.ID, 12), orHere(s.Node), s.Name+":"+s.Path, "-", "no answer")
	}
	if err := t.print(w); err != nil {
		return err
	}
	line := fmt.Sprintf("%d of %d answered well", good, g.Servers)
	if n := len(g.Missing); n > 0 {
		line += fmt.Sprintf(", %d not at all", n)
	}
	return w.printf("\n%s\n", strings.TrimSpace(line))
}

// orHere names the node of a server.
func orHere(node string) string {
	if node == "" {
		return "here"
	}
	return node
}
