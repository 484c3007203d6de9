package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
)

// clientsCmd lists who is connected.
type clientsCmd struct {
	nodesTarget
	Addresses bool `help:"Tell the addresses of the clients, too. That needs the permission \"admin\"."`
}

// Help is printed below the flags.
func (*clientsCmd) Help() string {
	return `Examples:

  ropewalk clients
  ropewalk clients --node shop-2 --addresses
  ropewalk clients --all`
}

// Run lists.
func (c *clientsCmd) Run(ctx context.Context, w *world) error {
	path := "/clients"
	if c.Addresses {
		path += "?addresses=true"
	}
	return lists(ctx, w, &c.nodesTarget, path, nil, func(list []told[exchange.ClientInfo]) error {
		return printClients(w, list, time.Now())
	})
}

// printClients prints a table, with nodes and addresses if these are known.
func printClients(w *world, list []told[exchange.ClientInfo], now time.Time) error {
	heads := []string{"CLIENT", "LISTENER", "TRANSPORT", "SINCE", "CALLING", "ANSWERING", "SERVES", "STATE"}
	const address = 3 // the place of the column
	addresses := slices.ContainsFunc(list, func(c told[exchange.ClientInfo]) bool { return c.of.RemoteAddr != "" })
	if addresses {
		heads = slices.Insert(heads, address, "ADDRESS")
	}
	nodes := slices.ContainsFunc(list, func(c told[exchange.ClientInfo]) bool { return c.node != "" })
	if nodes {
		heads = slices.Insert(heads, 1, "NODE")
	}
	t := newTable(heads...)
	for _, one := range list {
		c := &one.of
		state := "open"
		if c.Draining {
			state = "draining"
		}
		cells := []string{
			c.ID, c.Listener, c.Transport, ago(c.Since, now),
			strconv.Itoa(c.Calling), strconv.Itoa(c.Answering), strconv.Itoa(c.Serves), state,
		}
		if addresses {
			cells = slices.Insert(cells, address, c.RemoteAddr)
		}
		if nodes {
			cells = slices.Insert(cells, 1, one.node)
		}
		t.add(cells...)
	}
	return t.print(w)
}
