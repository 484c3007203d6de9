package main

import (
	"context"
	"slices"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/route"
)

// sendCmd sends a message to which no answer is expected.
type sendCmd struct {
	target
	Address string `arg:"" help:"To whom: 2945p8eigxz0c4k7qd5tu@client:/ for one client, '*@client:/' for all, or a service."`
	input
	Type string `placeholder:"WORD" help:"The application's word for the message."`
	choice
	NoAck bool `help:"Do not wait until the message was handed over."`
}

// Help is printed below the flags.
func (*sendCmd) Help() string {
	return `Clients and their ids are listed by "ropewalk clients".

Examples:

  ropewalk send 2945p8eigxz0c4k7qd5tu@client:/ '"hello"'
  ropewalk send '*@client:/' '{"note":"back in five minutes"}'`
}

// Run sends.
func (s *sendCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(s.Address); err != nil {
		return err
	}
	body, err := s.read(w)
	if err != nil {
		return err
	}
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	var sel route.Selection
	s.narrow(&sel)
	opts := slices.Concat(s.target.options(), s.input.options(), []call.Option{call.WithStrategy(sel)})
	if !s.NoAck {
		opts = append(opts, call.WithAck())
	}
	if s.Type != "" {
		opts = append(opts, call.WithType(s.Type))
	}
	err = c.Send(ctx, s.Address, body, opts...)
	// Close waits until the message is out.
	if closeErr := c.Close(); err == nil && s.NoAck {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if w.json {
		return w.line(map[string]any{"sent": s.Address, "acknowledged": !s.NoAck})
	}
	if s.NoAck {
		return w.printf("sent to %s\n", printable(s.Address))
	}
	return w.printf("handed over to %s\n", printable(s.Address))
}
