package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// tapCmd shows messages as they pass.
type tapCmd struct {
	nodeTarget
	Pattern string  `arg:"" optional:"" default:"*:/**" help:"Which addresses, such as 'math:/**'; all if left out."`
	Sample  float64 `default:"1" placeholder:"SHARE" help:"Show only this share of the messages: 0.1 is every tenth or so."`
	Body    int     `default:"200" placeholder:"BYTES" help:"Show this much of each body; 0 for none. Default: ${default}. Values of fields such as password and token are masked."`

	first   string `kong:"-"` // node that was seen
	several bool   `kong:"-"` // there are more
}

// Help is printed below the flags.
func (*tapCmd) Help() string {
	return `Shows the messages of all nodes of the mesh, each at the node of its sender, or with --node those of one. Stop it with
Ctrl-C. Nobody waits for a tap: what could not be shown in time is counted.

Examples:

  ropewalk tap
  ropewalk tap 'math:/**' --sample 0.1 --json
  ropewalk tap --node shop-2`
}

// tapTime is more than any node lets a call last; a node that ends a tap is
// asked again.
const tapTime = 24 * time.Hour

// Run shows messages until ctx ends.
func (t *tapCmd) Run(ctx context.Context, w *world) error {
	if t.Sample <= 0 || t.Sample > 1 {
		return usage("--sample is a share: more than 0, at most 1", "Write --sample 0.1 for every tenth message.")
	}
	if err := checkAddress(t.Pattern); err != nil {
		return err
	}
	dial := t.dial
	if t.Node == "" {
		dial = t.follow // any node shows the messages of all
	}
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	at, err := t.locate(ctx, c)
	if err != nil {
		return err
	}
	if !w.json {
		fmt.Fprintf(w.err, "watching %s on %s; stop with Ctrl-C\n", t.Pattern, cmp.Or(t.Node, t.place()))
	}
	for {
		err := t.watch(ctx, w, c, at)
		if ctx.Err() != nil {
			return fail(exitInterrupted, nil) // what everybody does who has seen enough
		}
		switch message.CodeOf(err) {
		case message.CodeDeadlineExceeded:
		case message.CodeConnectionLost, message.CodeShuttingDown:
			if t.Node != "" || !t.isBack(ctx, c) {
				return err
			}
			w.warnf("the connection to the node was lost, and is there again; what passed meanwhile was not shown")
		default:
			return err
		}
	}
}

// isBack waits a little until the client is connected again, perhaps to another
// node.
func (t *tapCmd) isBack(ctx context.Context, c *client.Client) bool {
	opts := append(t.options(), call.WithTimeout(t.ConnectTimeout), call.WithIdempotent())
	_, err := c.Call(ctx, "node:/info", nil, opts...)
	return err == nil
}

func (t *tapCmd) watch(ctx context.Context, w *world, c *client.Client, at string) error {
	opts := append(t.options(), call.WithTimeout(tapTime), call.WithBuffer(partBuffer))
	in := nodeapi.Tap{Pattern: t.Pattern, Sample: t.Sample, Body: t.Body}
	if t.Node != "" {
		in.Nodes = "this"
	}
	s := c.Stream(ctx, at+"node:/tap", in, opts...)
	defer func() { _ = s.Close() }()
	for p, err := range s.Parts() {
		if err != nil {
			return err
		}
		if err := t.print(w, p); err != nil {
			return err
		}
	}
	_, err := s.Answer()
	return err
}

func (t *tapCmd) print(w *world, p call.Part) error {
	if w.json {
		return unwritable(w.line(json.RawMessage(p.Body)))
	}
	var m nodeapi.Tapped
	if err := p.Decode(&m); err != nil {
		return err
	}
	if t.first == "" {
		t.first = m.Node
	}
	t.several = t.several || m.Node != t.first
	return unwritable(printTapped(w, &m, t.several))
}

// printTapped prints one message, with the node that saw it if there are
// several.
func printTapped(w *world, m *nodeapi.Tapped, several bool) error {
	if m.Missed > 0 {
		w.warnf("%d messages came too fast to be shown; --sample shows fewer", m.Missed)
	}
	verb, look := m.Verb, cyan
	switch m.Verb {
	case "reply":
		look = green
	case "error":
		look = red
	case "part":
		verb, look = fmt.Sprintf("part %d", m.Seq), dim
	}
	text := []string{m.At.Local().Format("15:04:05.000"), w.paint(look, fmt.Sprintf("%-7s", verb))}
	if several {
		text = append(text, w.paint(dim, printable(m.Node)))
	}
	text = append(text, printable(way(m)))
	if m.Took > 0 {
		text = append(text, brief(time.Duration(m.Took*float64(time.Second))))
	}
	if m.Code != "" {
		text = append(text, w.paint(red, printable(m.Code)))
	}
	switch {
	case m.Body != "":
		text = append(text, w.paint(dim, printable(m.Body)))
	case m.Size > 0:
		text = append(text, fmt.Sprintf("%d bytes", m.Size))
	}
	return w.printf("%s\n", strings.Join(text, "  "))
}

// way says from where to where, without the parts of addresses that are always
// the same.
func way(m *nodeapi.Tapped) string {
	end := func(a string) string {
		id, rest, ok := strings.Cut(a, "@")
		if !ok {
			return a
		}
		return short(id, 12) + "@" + strings.TrimSuffix(rest, ":/")
	}
	if m.Route != "" && m.Verb != "call" && m.Verb != "send" {
		return fmt.Sprintf("%s → %s", m.Route, end(m.To))
	}
	return fmt.Sprintf("%s → %s", end(m.From), m.To)
}
