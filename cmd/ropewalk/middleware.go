package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

// middlewareCmd has a verb for each change.
type middlewareCmd struct {
	List   middlewareListCmd   `cmd:"" default:"withargs" help:"List the middleware of each stage, in order."`
	Insert middlewareInsertCmd `cmd:"" help:"Insert a middleware."`
	Remove middlewareRemoveCmd `cmd:"" help:"Remove a middleware."`
	Move   middlewareMoveCmd   `cmd:"" help:"Move a middleware within its stage."`
	Set    middlewareSetCmd    `cmd:"" help:"Change the state of a middleware."`
}

// Help is printed below the flags.
func (*middlewareCmd) Help() string {
	return `Each node has its own middleware: name another one with --node, or all of them with --all.

Examples:

  ropewalk middleware --all
  ropewalk middleware insert call limit '{"calls":10}' --all
  ropewalk middleware remove call limit --node shop-2
  ropewalk middleware set call breaker '{"route":"shop:/pay","state":"open"}'`
}

// place says where in a stage; without any of the flags, at the end.
type place struct {
	Before string `placeholder:"NAME" xor:"place" help:"In front of this one."`
	After  string `placeholder:"NAME" xor:"place" help:"Behind this one."`
	First  bool   `xor:"place" help:"At the front."`
}

func (p place) wire() nodeapi.Place {
	return nodeapi.Place{Before: p.Before, After: p.After, First: p.First}
}

type middlewareListCmd struct {
	nodesTarget
}

// Run lists.
func (m *middlewareListCmd) Run(ctx context.Context, w *world) error {
	return showStages(ctx, w, &m.nodesTarget, "/middleware", nil)
}

type middlewareInsertCmd struct {
	nodesTarget
	Stage    string `arg:"" help:"Where: inbound, call, serve, deliver or outbound."`
	Kind     string `arg:"" help:"Which: one of docs/reference/middleware.md, such as limit, retry or breaker."`
	Settings string `arg:"" optional:"" name:"json" help:"Settings as JSON."`
	As       string `placeholder:"NAME" help:"Its name, to tell two of a kind apart. Default: the kind."`
	place
}

// Run inserts.
func (m *middlewareInsertCmd) Run(ctx context.Context, w *world) error {
	if m.Settings != "" && !message.ValidJSON([]byte(m.Settings)) {
		return usage("the settings are not JSON: "+short(m.Settings, 60), `Put JSON into single quotes, as in '{"calls":10}'.`)
	}
	return showStages(ctx, w, &m.nodesTarget, "/middleware/insert", nodeapi.Insert{
		Stage: route.Stage(m.Stage), Kind: m.Kind, Name: m.As, Settings: json.RawMessage(m.Settings), Place: m.wire(),
	})
}

type middlewareRemoveCmd struct {
	nodesTarget
	Stage string `arg:"" help:"Where: inbound, call, serve, deliver or outbound."`
	Name  string `arg:"" help:"Which, by the name that the list shows."`
}

// Run removes.
func (m *middlewareRemoveCmd) Run(ctx context.Context, w *world) error {
	return showStages(ctx, w, &m.nodesTarget, "/middleware/remove", nodeapi.Remove{Stage: route.Stage(m.Stage), Name: m.Name})
}

type middlewareMoveCmd struct {
	nodesTarget
	Stage string `arg:"" help:"Where: inbound, call, serve, deliver or outbound."`
	Name  string `arg:"" help:"Which, by the name that the list shows."`
	place
}

// Run moves.
func (m *middlewareMoveCmd) Run(ctx context.Context, w *world) error {
	return showStages(ctx, w, &m.nodesTarget, "/middleware/move", nodeapi.Move{Stage: route.Stage(m.Stage), Name: m.Name, Place: m.wire()})
}

type middlewareSetCmd struct {
	nodesTarget
	Stage string `arg:"" help:"Where: inbound, call, serve, deliver or outbound."`
	Name  string `arg:"" help:"Which, by the name that the list shows."`
	State string `arg:"" name:"json" help:"What to change, as JSON: docs/reference/middleware.md tells what each kind takes."`
}

// Run changes a state.
func (m *middlewareSetCmd) Run(ctx context.Context, w *world) error {
	if !message.ValidJSON([]byte(m.State)) {
		return usage("the state is not JSON: "+short(m.State, 60), `Put JSON into single quotes, as in '{"state":"open"}'.`)
	}
	return showStages(ctx, w, &m.nodesTarget, "/middleware/set", nodeapi.Set{
		Stage: route.Stage(m.Stage), Name: m.Name, State: json.RawMessage(m.State),
	})
}

func showStages(ctx context.Context, w *world, t *nodesTarget, path string, in any) error {
	return showAll(ctx, w, t, path, in, func(s nodeapi.Stages) error { return printStages(w, s) })
}

func printStages(w *world, s nodeapi.Stages) error {
	t := newTable("STAGE", "NAME", "KIND", "SETTINGS", "DESCRIPTION")
	for _, stage := range s.Stages {
		name := string(stage.Stage)
		if len(stage.Entries) == 0 {
			t.add(name, "-", "", "", "")
		}
		for _, e := range stage.Entries {
			settings := ""
			if e.Settings != nil {
				text, err := json.Marshal(e.Settings)
				if err != nil {
					return err
				}
				settings = string(text)
			}
			t.add(name, e.Name, e.Kind, settings, strings.TrimSpace(e.Description))
			name = ""
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	if err := printStates(w, s); err != nil {
		return err
	}
	for _, text := range s.Warnings {
		if err := w.printf("%s %s\n", w.paint(yellow, "warning:"), printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// printStates prints the states below the table: each as lines of JSON.
func printStates(w *world, s nodeapi.Stages) error {
	for _, stage := range s.Stages {
		for _, e := range stage.Entries {
			lines, ok := e.State.([]any)
			if !ok && e.State != nil {
				lines = []any{e.State}
			}
			if len(lines) == 0 {
				continue
			}
			if err := w.printf("%s\n", w.paint(bold, printable("state of "+string(stage.Stage)+" "+e.Name+":"))); err != nil {
				return err
			}
			for _, l := range lines {
				text, err := json.Marshal(l)
				if err != nil {
					return err
				}
				if err := w.printf("  %s\n", printable(string(text))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
