package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// nodesCmd lists the nodes of the mesh.
type nodesCmd struct {
	target
	Watch bool `short:"w" help:"Print the list again whenever it changes."`
}

// Help is printed below the flags.
func (*nodesCmd) Help() string {
	return `It is the mesh as the node that is asked sees it.

STATE is alive; draining, which takes no new calls from other nodes; gone, which has ended; or out of reach, which may
run still, but cannot be reached from this node. ROUTES is what is served at the node, CLIENTS who is connected there,
and RTT how long the way there and back takes. LINE is how this node talks to it: direct, over a connection to its listener,
or nats, over the backplane. SINCE is when it joined, or when it was lost.

Examples:

  ropewalk nodes
  ropewalk nodes --watch`
}

// watchEach is how often the list is asked for while somebody watches it.
const watchEach = time.Second

// Run lists.
func (n *nodesCmd) Run(ctx context.Context, w *world) error {
	if !n.Watch {
		c, err := n.dial(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		list, err := n.listNodes(ctx, c)
		if err != nil {
			return err
		}
		return n.print(w, list)
	}
	c, err := n.follow(ctx) // when the node is lost, another one shows that
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return n.watch(ctx, w, c)
}

// watch prints the list until ctx ends.
func (n *nodesCmd) watch(ctx context.Context, w *world, c *client.Client) error {
	ticker := time.NewTicker(watchEach)
	defer ticker.Stop()
	last := ""
	for {
		list, err := n.listNodes(ctx, c)
		switch text := digest(list); {
		case ctx.Err() != nil:
			return fail(exitInterrupted, nil) // what everybody does who has seen enough
		case err != nil && exitCode(err) != exitConnect:
			return err
		case err != nil: // it connects again by itself
		case text != last:
			if last != "" && !w.json {
				if err := w.printf("\n"); err != nil {
					return unwritable(err)
				}
			}
			last = text
			if err := n.print(w, list); err != nil {
				return unwritable(err)
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// digest is what has to change for the list to be printed again: not the
// numbers, which always do.
func digest(list []nodeapi.NodeStatus) string {
	var b strings.Builder
	for i := range list {
		n := &list[i]
		fmt.Fprintln(&b, n.ID, n.State, n.Gone, n.URLs)
	}
	return b.String()
}

func (n *nodesCmd) print(w *world, list []nodeapi.NodeStatus) error {
	if w.json {
		return w.line(list)
	}
	return printNodes(w, list, time.Now())
}

// shortID is how much of the id of a node tells it apart; the ids of its clients
// begin with it.
const shortID = 8

func printNodes(w *world, list []nodeapi.NodeStatus, now time.Time) error {
	t := newTable("NAME", "ID", "STATE", "ZONE", "VERSION", "CLIENTS", "ROUTES", "RTT", "LINE", "SINCE", "ADDRESS")
	for i := range list {
		n := &list[i]
		rtt, since := "-", ago(n.Since, now)
		clients, routes := strconv.Itoa(n.Clients), strconv.Itoa(n.Routes)
		switch {
		case n.Self:
			rtt = "here"
		case n.State == mesh.Lost:
			since += " ago"
			clients, routes = "-", "-"
		case n.RTT > 0:
			rtt = brief(time.Duration(n.RTT * float64(time.Second)))
		}
		address := n.Addr
		if len(n.URLs) > 0 {
			address = n.URLs[0]
		}
		t.add(n.Name, n.ID[:min(len(n.ID), shortID)], stateWord(n), orDash(n.Zone()), orDash(n.Version), clients, routes, rtt, orDash(n.Line), since, orDash(address))
	}
	return t.print(w)
}

// stateWord says in which state a node is, for people.
func stateWord(n *nodeapi.NodeStatus) string {
	switch {
	case n.State == mesh.Lost && n.Gone:
		return "gone"
	case n.State == mesh.Lost:
		return "out of reach"
	}
	return string(n.State)
}
