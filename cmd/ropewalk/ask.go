package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

// nodeTarget is the node that a verb is about.
type nodeTarget struct {
	target
	Node string `xor:"node" placeholder:"NODE" help:"The node of the mesh that is asked, by name or id. Default: the one at --url."`
}

// nodesTarget are the nodes that a verb is about.
type nodesTarget struct {
	nodeTarget
	All bool `xor:"node" help:"Ask all nodes of the mesh."`
}

// minID is how much of an id has to be given at least, so that it is not taken
// for a name.
const minID = 4

// askAllTime is how long all nodes together may take to answer.
const askAllTime = 10 * time.Second

// listNodes asks for the nodes of the mesh.
func (t *target) listNodes(ctx context.Context, c *client.Client) ([]nodeapi.NodeStatus, error) {
	return call.Do[[]nodeapi.NodeStatus](ctx, c, "node:/nodes", nil, t.options()...)
}

// locate returns what to write in front of node: to reach the node that was
// named.
func (t *nodeTarget) locate(ctx context.Context, c *client.Client) (string, error) {
	if t.Node == "" {
		return "", nil
	}
	list, err := t.listNodes(ctx, c)
	if err != nil {
		return "", err
	}
	n, err := findNode(list, t.Node)
	if err != nil {
		return "", err
	}
	return n.ID + "@", nil
}

// findNode finds a node by its name, its id, or how its id begins.
func findNode(list []nodeapi.NodeStatus, word string) (*nodeapi.NodeStatus, error) {
	var there, lost []*nodeapi.NodeStatus
	for i := range list {
		n := &list[i]
		if n.Name != word && (len(word) < minID || !strings.HasPrefix(n.ID, word)) {
			continue
		}
		if n.State == mesh.Lost {
			lost = append(lost, n)
		} else {
			there = append(there, n)
		}
	}
	switch {
	case len(there) == 1:
		return there[0], nil
	case len(there) > 1:
		ids := make([]string, len(there))
		for i, n := range there {
			ids[i] = n.ID
		}
		return nil, message.NewError(message.CodeConflict, fmt.Sprintf("%d nodes are called %s", len(there), word),
			"Name one by its id: "+strings.Join(ids, ", ")+".")
	case len(lost) > 0:
		return nil, message.NewError(message.CodeNodeLost, fmt.Sprintf("the node %s was lost %s ago", word, ago(lost[0].Since, time.Now())),
			`"ropewalk nodes" shows which nodes are there.`)
	}
	names := make([]string, 0, len(list))
	for _, n := range list {
		if n.State != mesh.Lost {
			names = append(names, n.Name)
		}
	}
	return nil, message.NewError(message.CodeNotFound, fmt.Sprintf("there is no node %s in the mesh", word),
		"The nodes are called: "+strings.Join(slices.Compact(names), ", ")+".")
}

// ask calls a path of the service of the node that was named.
func (t *nodeTarget) ask(ctx context.Context, path string, in any) (*call.Answer, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	at, err := t.locate(ctx, c)
	if err != nil {
		return nil, err
	}
	return c.Call(ctx, at+"node:"+path, in, t.options()...)
}

// show asks a path of the service of the node that was named, and prints the
// answer: as it is for programs, else with output.
func show[T any](ctx context.Context, w *world, t *nodeTarget, path string, in any, output func(T) error) error {
	a, err := t.ask(ctx, path, in)
	if err != nil {
		return err
	}
	if w.json {
		return w.line(json.RawMessage(a.Body))
	}
	var v T
	if err := a.Decode(&v); err != nil {
		return err
	}
	return output(v)
}

// nodeAnswer is what one of many nodes answered.
type nodeAnswer struct {
	Node  string          `json:"node"` // name
	ID    string          `json:"id"`
	Body  json.RawMessage `json:"body,omitempty"`
	Error json.RawMessage `json:"error,omitempty"`

	err *message.Error
}

// askAll calls a path of the service of every node. The answers are in the order
// of the names.
func (t *nodesTarget) askAll(ctx context.Context, path string, in any) ([]nodeAnswer, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	list, err := t.listNodes(ctx, c)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(list))
	for i := range list {
		names[list[i].ID] = list[i].Name
	}
	opts := append(t.options(), call.WithTimeout(askAllTime), call.WithStrategy(route.Selection{By: route.ByAll}))
	a, err := c.Call(ctx, "node:"+path, in, opts...)
	if err != nil {
		return nil, err
	}
	g, err := call.DecodeGathered(a.Body)
	if err != nil {
		return nil, err
	}
	out := make([]nodeAnswer, 0, g.Servers)
	for _, a := range g.Answers {
		n := nodeAnswer{Node: cmp.Or(names[a.ID], a.Node, a.ID), ID: a.ID, Body: a.Body, err: a.Err}
		if a.Err != nil {
			n.Body, n.Error = nil, errorJSON(a.Err)
		}
		out = append(out, n)
	}
	for _, s := range g.Missing {
		e := message.NewError(message.CodeDeadlineExceeded, "there was no answer in time", "Look for the node with \"ropewalk nodes\".")
		out = append(out, nodeAnswer{Node: cmp.Or(names[s.ID], s.Node, s.ID), ID: s.ID, Error: errorJSON(e), err: e})
	}
	slices.SortFunc(out, func(a, b nodeAnswer) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// showAll is show for every node; output is given what equal answers have in
// common once. Nodes that answered with an error are an error.
func showAll[T any](ctx context.Context, w *world, t *nodesTarget, path string, in any, output func(T) error) error {
	if !t.All {
		return show(ctx, w, &t.nodeTarget, path, in, output)
	}
	list, err := t.askAll(ctx, path, in)
	if err != nil {
		return err
	}
	if w.json {
		if err := w.line(list); err != nil {
			return err
		}
		return failedNodes(list)
	}
	for i, a := range list {
		same := func(b nodeAnswer) bool { return b.err == nil && string(b.Body) == string(a.Body) }
		if a.err != nil || slices.ContainsFunc(list[:i], same) {
			continue
		}
		var names []string
		for _, b := range list[i:] {
			if same(b) {
				names = append(names, b.Node)
			}
		}
		if err := w.printf("%s\n", w.paint(bold, printable(strings.Join(names, ", "))+":")); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal(a.Body, &v); err != nil {
			return err
		}
		if err := output(v); err != nil {
			return err
		}
	}
	return failedNodes(list)
}

// told is one of a list, and the name of the node that tells of it, if several
// were asked.
type told[T any] struct {
	of   T
	node string
}

// lists asks for a list, one node or all, and prints those that are kept: as they
// came for programs, else with output.
func lists[T any](ctx context.Context, w *world, t *nodesTarget, path string, keep func(*T) bool, output func([]told[T]) error) error {
	var answers []nodeAnswer
	if t.All {
		var err error
		if answers, err = t.askAll(ctx, path, nil); err != nil {
			return err
		}
	} else {
		a, err := t.ask(ctx, path, nil)
		if err != nil {
			return err
		}
		answers = []nodeAnswer{{Body: a.Body}}
	}
	var all []told[T]
	for i := range answers {
		a := &answers[i]
		if a.err != nil {
			continue
		}
		var list []T
		err := json.Unmarshal(a.Body, &list)
		if err == nil && keep != nil {
			list = slices.DeleteFunc(list, func(v T) bool { return !keep(&v) })
			a.Body, err = json.Marshal(list)
		}
		if err != nil {
			return err
		}
		for _, v := range list {
			all = append(all, told[T]{v, a.Node})
		}
	}
	var err error
	switch {
	case w.json && t.All:
		err = w.line(answers)
	case w.json:
		err = w.line(answers[0].Body)
	default:
		err = output(all)
	}
	if err != nil {
		return err
	}
	return failedNodes(answers)
}

// failedNodes says which nodes answered with an error, and with which.
func failedNodes(list []nodeAnswer) error {
	var failed []string
	var first *message.Error
	for _, a := range list {
		if a.err == nil {
			continue
		}
		failed = append(failed, a.Node)
		if first == nil {
			first = a.err
		}
	}
	if first == nil {
		return nil
	}
	e := *first
	e.Message = strings.Join(failed, ", ") + ": " + first.Message
	return &e
}
