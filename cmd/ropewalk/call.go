package main

import (
	"context"
	"slices"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// callCmd calls an address.
type callCmd struct {
	target
	Address string `arg:"" help:"What to call, such as math:/decimal/mul."`
	input
	Strategy string `placeholder:"WORD" help:"How to choose among the servers: first, random, round-robin, least-busy, sticky, prefer-local, prefer-zone, or an object as on the wire."`
	choice
	Idempotent bool `help:"Call again when the connection or the server is lost: calling twice does no harm."`
	Raw        bool `help:"Print only the body of the reply, as it is."`
}

// Help is printed below the flags.
func (*callCmd) Help() string {
	return `Prints one line of JSON for each part and for the reply:

  {"type":"part","body":…}
  {"type":"reply","body":…}
  {"type":"error","error":{"code":…,"message":…,"hint":…}}

Examples:

  ropewalk call math:/decimal/mul '{"a":2,"b":5}'
  ropewalk call report:/long '{"steps":5}'
  echo '"shout"' | ropewalk call text:/up -`
}

// partBuffer is how many parts may wait for a slow terminal.
const partBuffer = 65536

// Run calls.
func (c *callCmd) Run(ctx context.Context, w *world) error {
	err := c.run(ctx, w)
	if err != nil && !c.Raw {
		_ = w.line(item{Type: "error", Error: errorJSON(explained(err))})
	}
	return err
}

func (c *callCmd) run(ctx context.Context, w *world) error {
	if err := checkAddress(c.Address); err != nil {
		return err
	}
	body, err := c.read(w)
	if err != nil {
		return err
	}
	sel, err := selection(c.Strategy)
	if err != nil {
		return err
	}
	c.narrow(&sel)
	opts := slices.Concat(c.target.options(), c.input.options(), []call.Option{call.WithBuffer(partBuffer), call.WithStrategy(sel)})
	if c.Idempotent {
		opts = append(opts, call.WithIdempotent())
	}
	return c.call(ctx, w, body, opts)
}

func (c *callCmd) call(ctx context.Context, w *world, body any, opts []call.Option) error {
	dial := c.dial
	if c.Idempotent {
		dial = c.follow // the second time perhaps elsewhere
	}
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	s := conn.Stream(ctx, c.Address, body, opts...)
	defer func() { _ = s.Close() }()
	for p, err := range s.Parts() {
		if err != nil {
			return err
		}
		if c.Raw {
			continue
		}
		if err := w.line(newItem("part", p.Body, p.ContentType)); err != nil {
			return unwritable(err)
		}
	}
	a, err := s.Answer()
	if err != nil {
		return err
	}
	if c.Raw {
		_, err = w.out.Write(a.Body)
		return unwritable(err)
	}
	return unwritable(w.line(newItem("reply", a.Body, a.ContentType)))
}

// unwritable explains that standard output does not take what is printed.
func unwritable(err error) error {
	if err == nil {
		return nil
	}
	return message.NewError(message.CodeInternal, "standard output: "+err.Error(), "Check where the output goes to.")
}
