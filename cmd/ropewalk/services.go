package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
)

// servicesCmd lists what is served.
type servicesCmd struct {
	nodeTarget
	Filter string `arg:"" optional:"" help:"Only services whose address begins with this."`
}

// Help is printed below the flags.
func (*servicesCmd) Help() string {
	return `Each node answers for itself under node:, so of these only those of the node that is asked are shown; "ropewalk services
node:" shows all. BUSY are the calls in flight from the node that is asked. TOPIC says what can be
watched: state or events.

Examples:

  ropewalk services
  ropewalk services math:`
}

// Run lists.
func (s *servicesCmd) Run(ctx context.Context, w *world) error {
	var keep func(*route.ServiceInfo) bool
	if s.Filter != "" {
		keep = func(i *route.ServiceInfo) bool { return strings.HasPrefix(i.Name+":"+i.Path, s.Filter) }
	}
	return lists(ctx, w, &nodesTarget{nodeTarget: s.nodeTarget}, "/services", keep, func(told []told[route.ServiceInfo]) error {
		list := make([]route.ServiceInfo, len(told))
		for i, one := range told {
			list[i] = one.of
		}
		if !strings.HasPrefix(s.Filter, nodeapi.Name+":") {
			hideOtherNodes(list)
		}
		return printServices(w, list, s.Filter, time.Now())
	})
}

// hideOtherNodes takes out that each node answers for itself.
func hideOtherNodes(list []route.ServiceInfo) {
	for i := range list {
		if list[i].Name == nodeapi.Name {
			list[i].Servers = slices.DeleteFunc(list[i].Servers, func(s route.ServerInfo) bool { return !s.Local })
		}
	}
}

func printServices(w *world, list []route.ServiceInfo, filter string, now time.Time) error {
	heads := []string{"ADDRESS", "SERVER", "VERSION", "NODE", "BUSY", "SINCE", "DESCRIPTION"}
	topics := slices.ContainsFunc(list, func(s route.ServiceInfo) bool { return s.Topic != nil && len(s.Servers) > 0 })
	if topics {
		heads = slices.Insert(heads, 1, "TOPIC")
	}
	t := newTable(heads...)
	for _, s := range list {
		address := s.Name + ":" + s.Path
		for i, server := range s.Servers {
			if i > 0 {
				address = ""
			}
			cells := []string{
				address, short(server.ID, 12), orDash(server.Version), orDash(server.Node),
				strconv.Itoa(server.InFlight), ago(server.Since, now), server.Description,
			}
			if topics {
				cells = slices.Insert(cells, 1, kindOf(s.Topic))
			}
			t.add(cells...)
		}
	}
	if len(t.rows) == 0 {
		return w.printf("nothing is served at %s\n", printable(filter))
	}
	return t.print(w)
}

// kindOf says as what a route can be watched.
func kindOf(t *route.Topic) string {
	switch {
	case t == nil:
		return "-"
	case t.Events:
		return topic.KindEvents
	default:
		return topic.KindState
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
