package main

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
)

// clientsCmd lists who is connected.
type clientsCmd struct {
	nodesTarget
}

// Help is printed below the flags.
func (*clientsCmd) Help() string {
	return `Examples:

  ropewalk clients
  ropewalk clients --node shop-2
  ropewalk clients --all`
}

// clientAt is a client and the name of its node.
type clientAt struct {
	exchange.ClientInfo
	node string
}

// Run lists.
func (c *clientsCmd) Run(ctx context.Context, w *world) error {
	if !c.All {
		return show(ctx, w, &c.nodeTarget, "/clients", nil, func(list []exchange.ClientInfo) error {
			return printClients(w, clientsAt("", list), time.Now())
		})
	}
	answers, err := c.askAll(ctx, "/clients", nil)
	if err != nil {
		return err
	}
	if w.json {
		if err := w.line(answers); err != nil {
			return err
		}
		return failedNodes(answers)
	}
	var all []clientAt
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		var list []exchange.ClientInfo
		if err := json.Unmarshal(a.Body, &list); err != nil {
			return err
		}
		all = append(all, clientsAt(a.Node, list)...)
	}
	if err := printClients(w, all, time.Now()); err != nil {
		return err
	}
	return failedNodes(answers)
}

func clientsAt(node string, list []exchange.ClientInfo) []clientAt {
	out := make([]clientAt, len(list))
	for i, c := range list {
		out[i] = clientAt{c, node}
	}
	return out
}

// printClients prints a table, with the nodes if these are known.
func printClients(w *world, list []clientAt, now time.Time) error {
	heads := []string{"CLIENT", "LISTENER", "TRANSPORT", "ADDRESS", "SINCE", "CALLING", "ANSWERING", "SERVES", "STATE"}
	nodes := slices.ContainsFunc(list, func(c clientAt) bool { return c.node != "" })
	if nodes {
		heads = slices.Insert(heads, 1, "NODE")
	}
	t := newTable(heads...)
	for _, c := range list {
		state := "open"
		if c.Draining {
			state = "draining"
		}
		cells := []string{
			c.ID, c.Listener, c.Transport, c.RemoteAddr, ago(c.Since, now),
			strconv.Itoa(c.Calling), strconv.Itoa(c.Answering), strconv.Itoa(c.Serves), state,
		}
		if nodes {
			cells = slices.Insert(cells, 1, c.node)
		}
		t.add(cells...)
	}
	return t.print(w)
}
