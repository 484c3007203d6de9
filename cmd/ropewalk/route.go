package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// routeCmd is about routing.
type routeCmd struct {
	Explain explainCmd `cmd:"" help:"Print the way that a call to an address takes, and who could answer."`
}

type explainCmd struct {
	nodeTarget
	Address  string `arg:"" help:"Such as math:/decimal/mul."`
	Strategy string `placeholder:"WORD" help:"What the call would ask for."`
	choice
}

// explanation is nodeapi.Explanation as it arrives: the address as text.
type explanation struct {
	nodeapi.Explanation
	Address string `json:"address"`
}

// Help is printed below the flags.
func (*explainCmd) Help() string {
	return `It is the way of a call that is made at the node which is asked. "here" is that node.

Examples:

  ropewalk route explain math:/decimal/mul
  ropewalk route explain math:/decimal/mul --scope zone --version ^1.2
  ropewalk route explain math:/decimal/mul --node shop-2
  ropewalk route explain 2945p8eigxz0c4k7qd5tu@client:/`
}

// Run explains. An address that nobody can answer for is an error.
func (e *explainCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(e.Address); err != nil {
		return err
	}
	var unanswered error
	in := nodeapi.Explain{Address: e.Address, Strategy: e.Strategy, Scope: e.Scope, Version: e.Version}
	err := show(ctx, w, &e.nodeTarget, "/route/explain", in,
		func(x explanation) error {
			if x.Error != nil {
				unanswered = &message.Error{Code: x.Error.Code, Message: x.Error.Message, Hint: x.Error.Hint}
			}
			return printExplanation(w, x)
		})
	if err != nil {
		return err
	}
	return unanswered
}

func printExplanation(w *world, x explanation) error {
	var b strings.Builder
	row := func(name, text string) { fmt.Fprintf(&b, "%-10s%s\n", name, printable(text)) }
	row("address", x.Address)
	if x.Route != "" {
		row("route", x.Route)
	}
	for _, name := range slices.Sorted(maps.Keys(x.Params)) {
		row("", "{"+name+"} = "+x.Params[name])
	}
	if x.Strategy != "" {
		row("strategy", x.Strategy)
	}
	for i, s := range x.Steps {
		name := ""
		if i == 0 {
			name = "passes"
		}
		middleware := strings.Join(s.Middleware, " → ")
		row(name, fmt.Sprintf("%-9s %s", s.Stage, orDash(middleware)))
	}
	for i, version := range slices.Sorted(maps.Keys(x.Weights)) {
		name := ""
		if i == 0 {
			name = "split"
		}
		row(name, fmt.Sprintf("%s  %s", version, strconv.FormatFloat(x.Weights[version], 'g', -1, 64)))
	}
	for i, s := range x.Servers {
		name := ""
		if i == 0 {
			name = "servers"
		}
		row(name, serverLine(s))
	}
	return w.printf("%s", b.String())
}

// serverLine says who could answer, and where that is.
func serverLine(s nodeapi.Server) string {
	where := s.Node
	switch {
	case s.Local:
		where = "here"
	case s.Zone != "":
		where += " in " + s.Zone
	}
	text := fmt.Sprintf("%s  %s  %s  %d calls in flight", s.ID, s.Path, orDash(where), s.InFlight)
	if s.Version != "" {
		text += "  version " + s.Version
	}
	return text
}
