package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// publishCmd gives a topic a content or an event.
type publishCmd struct {
	target
	Address string `arg:"" help:"To what, such as json:/shop/prices.json or log:/orders."`
	input
	Delete bool `help:"Delete the content."`
}

// Help is printed below the flags.
func (*publishCmd) Help() string {
	return `Makes the body the content of the topic, or an event of it, and ends when that is done: stored, and on its way to all who
watch. What the topic answers is printed: rows affected, of a query that writes.

Examples:

  ropewalk publish json:/shop/prices.json '{"rope":3}'
  ropewalk publish json:/shop/prices.json @prices.json
  ropewalk publish query:/shop/add.sql '{"name":"rope"}'
  ropewalk publish file:/shop/logo.png @logo.png
  ropewalk publish json:/shop/prices.json --delete`
}

// Run publishes.
func (c *publishCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(c.Address); err != nil {
		return err
	}
	body, err := c.content(w)
	switch {
	case err != nil:
		return err
	case c.Delete && body != nil:
		return usage("there is a body, and --delete", "Leave one of them out.")
	case !c.Delete && body == nil:
		return usage("there is nothing to publish", "Write JSON after the address, @FILE or -; to delete the content write --delete.")
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	a, err := conn.Publish(ctx, c.Address, body, slices.Concat(c.target.options(), c.input.options())...)
	if err != nil {
		return err
	}
	return unwritable(c.print(w, a))
}

// content is the body: that of any message, or a file of any kind.
func (c *publishCmd) content(w *world) (any, error) {
	name, isFile := strings.CutPrefix(c.Body, "@")
	if !isFile || c.ContentType != "" || filepath.Ext(name) == ".json" {
		return c.read(w)
	}
	b, err := os.ReadFile(name)
	switch {
	case err == nil && len(b) == 0:
		return nil, usage(name+" is empty, and an empty content cannot be published", "To have no content any more write --delete.")
	case err != nil || message.ValidJSON(b):
		return c.read(w) // which says what is wrong
	}
	return b, nil
}

func (c *publishCmd) print(w *world, a *call.Answer) error {
	if w.json {
		return w.line(struct {
			Published string `json:"published"`
			Deleted   bool   `json:"deleted,omitempty"`
			item
		}{c.Address, c.Delete, newItem("reply", a.Body, a.ContentType)})
	}
	done := "published to"
	if c.Delete {
		done = "deleted"
	}
	text := ""
	if a.ContentType == "" && len(a.Body) > 0 && string(a.Body) != "null" && json.Valid(a.Body) {
		text = ": " + oneLine(compact(a.Body))
	}
	return w.printf("%s %s%s\n", done, printable(strings.TrimSpace(c.Address)), text)
}
