package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/topic"
)

// topicsCmd lists what is watched.
type topicsCmd struct {
	nodesTarget
	Filter string `arg:"" optional:"" help:"Only topics whose address begins with this."`
}

// Help is printed below the flags.
func (*topicsCmd) Help() string {
	return `It tells what others look at, so it takes the right "admin". WATCHERS are those at the node that is asked; NODES, if the topic
has its server there, how many nodes have watchers.

Examples:

  ropewalk topics
  ropewalk topics prices:
  ropewalk topics --all`
}

// Run lists.
func (c *topicsCmd) Run(ctx context.Context, w *world) error {
	var keep func(*topic.Info) bool
	if c.Filter != "" {
		keep = func(i *topic.Info) bool { return strings.HasPrefix(i.Address, c.Filter) }
	}
	return lists(ctx, w, &c.nodesTarget, "/topics", keep, func(list []told[topic.Info]) error {
		return printTopics(w, list, c.Filter)
	})
}

// printTopics prints a table, with the nodes if these are known.
func printTopics(w *world, list []told[topic.Info], filter string) error {
	if len(list) == 0 {
		if filter == "" {
			return w.printf("nothing is watched\n")
		}
		return w.printf("nothing is watched at %s\n", printable(filter))
	}
	heads := []string{"ADDRESS", "KIND", "WATCHERS", "NODES", "OWNER", "OFFSET", "UPDATES", "PARAMS"}
	nodes := slices.ContainsFunc(list, func(t told[topic.Info]) bool { return t.node != "" })
	if nodes {
		heads = slices.Insert(heads, 1, "NODE")
	}
	t := newTable(heads...)
	for _, one := range list {
		i, at := &one.of, "-"
		if i.Nodes > 0 {
			at = strconv.Itoa(i.Nodes)
		}
		owner := i.OwnerName
		if i.Lost {
			owner = "lost"
		}
		cells := []string{
			i.Address, i.Kind, strconv.Itoa(i.Watchers), at, orDash(owner), strconv.FormatUint(i.Offset, 10),
			strconv.FormatUint(i.Updates, 10), string(i.Params),
		}
		if nodes {
			cells = slices.Insert(cells, 1, one.node)
		}
		t.add(cells...)
	}
	return t.print(w)
}
