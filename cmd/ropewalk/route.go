package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// routeCmd is about routing.
type routeCmd struct {
	Explain explainCmd `cmd:"" help:"Print the way that a call to an address takes, and who could answer."`
}

type explainCmd struct {
	target
	Address  string `arg:"" help:"Such as math:/decimal/mul."`
	Strategy string `placeholder:"WORD" help:"What the call would ask for."`
}

// explanation is nodeapi.Explanation as it arrives: the address as text.
type explanation struct {
	nodeapi.Explanation
	Address string `json:"address"`
}

// Run explains. An address that nobody can answer for is an error.
func (e *explainCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(e.Address); err != nil {
		return err
	}
	var unanswered error
	err := show(ctx, w, &e.target, "/route/explain", nodeapi.Explain{Address: e.Address, Strategy: e.Strategy},
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
	for i, s := range x.Servers {
		name := ""
		if i == 0 {
			name = "servers"
		}
		where := "far"
		if s.Local {
			where = "here"
		}
		text := fmt.Sprintf("%s  %s  %s  %d calls in flight", s.ID, s.Path, where, s.InFlight)
		if s.Version != "" {
			text += "  version " + s.Version
		}
		row(name, text)
	}
	return w.printf("%s", b.String())
}
