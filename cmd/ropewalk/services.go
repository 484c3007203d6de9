package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

// servicesCmd lists what is served.
type servicesCmd struct {
	target
	Filter string `arg:"" optional:"" help:"Only services whose address begins with this."`
}

// Run lists.
func (s *servicesCmd) Run(ctx context.Context, w *world) error {
	return show(ctx, w, &s.target, "/services", nil, func(list []route.ServiceInfo) error {
		return printServices(w, list, s.Filter, time.Now())
	})
}

func printServices(w *world, list []route.ServiceInfo, filter string, now time.Time) error {
	t := newTable("ADDRESS", "SERVER", "VERSION", "WHERE", "BUSY", "SINCE", "DESCRIPTION")
	for _, s := range list {
		address := s.Name + ":" + s.Path
		if !strings.HasPrefix(address, filter) {
			continue
		}
		for i, server := range s.Servers {
			if i > 0 {
				address = ""
			}
			where := "far"
			if server.Local {
				where = "here"
			}
			t.add(address, short(server.ID, 12), orDash(server.Version), where,
				strconv.Itoa(server.InFlight), ago(server.Since, now), server.Description)
		}
	}
	if len(t.rows) == 0 {
		return w.printf("nothing is served at %s\n", printable(filter))
	}
	return t.print(w)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
