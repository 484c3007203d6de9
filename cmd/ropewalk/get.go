package main

import (
	"context"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/call"
)

// getCmd prints the content of a topic.
type getCmd struct {
	target
	Address string `arg:"" help:"Of what, such as json:/shop/prices.json."`
	filter
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long the answer may take. Default: ${default}."`
}

// Help is printed below the flags.
func (*getCmd) Help() string {
	return `Prints the content as it is: JSON with a line break after it, anything else byte by byte. With --json it is a line of JSON that
says more, epoch and offset if somebody watches the topic:

  {"type":"content","contentType":…,"body":…,"address":…,"epoch":…,"offset":…}

Examples:

  ropewalk get json:/shop/prices.json
  ropewalk get query:/shop/open.sql -p dept=food
  ropewalk get file:/shop/logo.png > logo.png`
}

// Run gets.
func (c *getCmd) Run(ctx context.Context, w *world) error {
	u, err := getContent(ctx, &c.target, c.Address, &c.filter, c.Timeout)
	if err != nil {
		return err
	}
	if w.json {
		return unwritable(w.line(newWatched("content", u)))
	}
	body := slices.Clip(u.Body)
	if u.ContentType == "" {
		body = append(body, '\n')
	}
	_, err = w.out.Write(body)
	return unwritable(err)
}

// getContent gets a content for a verb.
func getContent(ctx context.Context, t *target, address string, f *filter, timeout time.Duration) (*call.Update, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	params, err := f.read()
	if err != nil {
		return nil, err
	}
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.Get(ctx, address, append(t.options(), call.WithParams(params), call.WithTimeout(timeout))...)
}
