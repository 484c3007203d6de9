package main

import (
	"context"
	"encoding/json"
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

// topicAt is a topic and the name of the node that tells of it.
type topicAt struct {
	topic.Info
	node string
}

// Run lists.
func (c *topicsCmd) Run(ctx context.Context, w *world) error {
	if !c.All {
		return c.one(ctx, w)
	}
	answers, err := c.askAll(ctx, "/topics", nil)
	if err != nil {
		return err
	}
	if w.json {
		if err := w.line(answers); err != nil {
			return err
		}
		return failedNodes(answers)
	}
	var all []topicAt
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		var list []topic.Info
		if err := json.Unmarshal(a.Body, &list); err != nil {
			return err
		}
		all = append(all, c.at(a.Node, list)...)
	}
	if err := printTopics(w, all, c.Filter); err != nil {
		return err
	}
	return failedNodes(answers)
}

// one asks one node.
func (c *topicsCmd) one(ctx context.Context, w *world) error {
	a, err := c.ask(ctx, "/topics", nil)
	if err != nil {
		return err
	}
	if w.json && c.Filter == "" {
		return w.line(json.RawMessage(a.Body))
	}
	var list []topic.Info
	if err := a.Decode(&list); err != nil {
		return err
	}
	if w.json {
		return w.line(slices.DeleteFunc(list, func(i topic.Info) bool { return !strings.HasPrefix(i.Address, c.Filter) }))
	}
	return printTopics(w, c.at("", list), c.Filter)
}

// at adds the node to those topics that are asked for.
func (c *topicsCmd) at(node string, list []topic.Info) []topicAt {
	out := make([]topicAt, 0, len(list))
	for _, i := range list {
		if strings.HasPrefix(i.Address, c.Filter) {
			out = append(out, topicAt{i, node})
		}
	}
	return out
}

// printTopics prints a table, with the nodes if these are known.
func printTopics(w *world, list []topicAt, filter string) error {
	if len(list) == 0 {
		if filter == "" {
			return w.printf("nothing is watched\n")
		}
		return w.printf("nothing is watched at %s\n", printable(filter))
	}
	heads := []string{"ADDRESS", "KIND", "WATCHERS", "NODES", "OWNER", "OFFSET", "UPDATES", "PARAMS"}
	nodes := slices.ContainsFunc(list, func(t topicAt) bool { return t.node != "" })
	if nodes {
		heads = slices.Insert(heads, 1, "NODE")
	}
	t := newTable(heads...)
	for _, i := range list {
		at := "-"
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
			cells = slices.Insert(cells, 1, i.node)
		}
		t.add(cells...)
	}
	return t.print(w)
}
