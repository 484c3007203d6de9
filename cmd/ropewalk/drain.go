package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// drainCmd has a node take no new calls.
type drainCmd struct {
	target
	Name   string        `arg:"" name:"node" help:"Which, by name or id; \"ropewalk nodes\" lists them."`
	Undo   bool          `xor:"do" help:"Have it take calls again."`
	Wait   bool          `xor:"do" help:"Wait until no call is in flight there."`
	Within time.Duration `placeholder:"TIME" help:"Wait no longer than this; exit with 4 if that was not enough. Default: as long as it takes."`
}

// Help is printed below the flags.
func (*drainCmd) Help() string {
	return `A draining node takes no new calls from other nodes and asks its clients to go elsewhere; it goes on with what is in
flight, and for clients that stay. Then it can be stopped, and nobody notices. Stopping a node with SIGTERM does the
same by itself.

Examples:

  ropewalk drain shop-2 --wait
  ropewalk drain shop-2 --undo`
}

// drainEach is how often a node is asked whether it has finished.
const drainEach = 200 * time.Millisecond

// Run drains.
func (d *drainCmd) Run(ctx context.Context, w *world) error {
	c, err := d.follow(ctx) // it may be the node that drains
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	list, err := d.listNodes(ctx, c)
	if err != nil {
		return err
	}
	n, err := findNode(list, d.Name)
	if err != nil {
		return err
	}
	on := !d.Undo
	got, err := d.tell(ctx, c, n.ID, nodeapi.Drain{On: &on})
	if err != nil {
		return err
	}
	if d.Wait {
		if got, err = d.wait(ctx, w, c, got); err != nil {
			return err
		}
	}
	return d.report(w, got)
}

// tell drains, or asks how far it is.
func (d *drainCmd) tell(ctx context.Context, c *client.Client, id string, in nodeapi.Drain) (nodeapi.Drained, error) {
	opts := append(d.options(), call.WithIdempotent())
	return call.Do[nodeapi.Drained](ctx, c, id+"@node:/drain", in, opts...)
}

// wait returns when nothing is in flight at the node.
func (d *drainCmd) wait(ctx context.Context, w *world, c *client.Client, got nodeapi.Drained) (nodeapi.Drained, error) {
	if d.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Within)
		defer cancel()
	}
	if got.InFlight > 0 && !w.json {
		fmt.Fprintf(w.err, "waiting for %s\n", some(got.InFlight, "call"))
	}
	ticker := time.NewTicker(drainEach)
	defer ticker.Stop()
	for got.InFlight > 0 {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		if ctx.Err() == nil {
			next, err := d.tell(ctx, c, got.ID, nodeapi.Drain{})
			if err != nil && ctx.Err() == nil {
				return got, err
			}
			if err == nil {
				got = next
			}
		}
		switch {
		case got.InFlight == 0:
		case context.Cause(ctx) == context.DeadlineExceeded: //nolint:errorlint // ours
			return got, message.NewError(message.CodeDeadlineExceeded, fmt.Sprintf("%s drains, but has %s in flight still", got.Name, some(got.InFlight, "call")),
				"Wait longer with --within, or stop it all the same.")
		case ctx.Err() != nil:
			return got, fail(exitInterrupted, nil)
		}
	}
	return got, nil
}

// some counts things.
func some(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprintf("%d %s", n, of)
}

func (d *drainCmd) report(w *world, got nodeapi.Drained) error {
	switch {
	case w.json:
		return w.line(got)
	case d.Undo:
		return w.printf("%s takes calls again\n", printable(got.Name))
	}
	line := fmt.Sprintf("%s drains: %s in flight, %s connected", printable(got.Name), some(got.InFlight, "call"), some(got.Clients, "client"))
	if got.InFlight == 0 {
		line += "; it can be stopped"
	}
	return w.printf("%s\n", line)
}
