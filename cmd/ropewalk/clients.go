package main

import (
	"context"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
)

// clientsCmd lists who is connected.
type clientsCmd struct {
	target
}

// Run lists.
func (c *clientsCmd) Run(ctx context.Context, w *world) error {
	return show(ctx, w, &c.target, "/clients", nil, func(list []exchange.ClientInfo) error {
		return printClients(w, list, time.Now())
	})
}

func printClients(w *world, list []exchange.ClientInfo, now time.Time) error {
	t := newTable("CLIENT", "LISTENER", "TRANSPORT", "ADDRESS", "SINCE", "CALLING", "ANSWERING", "SERVES", "STATE")
	for _, c := range list {
		state := "open"
		if c.Draining {
			state = "draining"
		}
		t.add(c.ID, c.Listener, c.Transport, c.RemoteAddr, ago(c.Since, now),
			strconv.Itoa(c.Calling), strconv.Itoa(c.Answering), strconv.Itoa(c.Serves), state)
	}
	return t.print(w)
}
