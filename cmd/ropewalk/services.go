package main

import (
	"context"
	"encoding/json"
	"slices"
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
	a, err := s.ask(ctx, "/services", nil)
	if err != nil {
		return err
	}
	if w.json && s.Filter == "" {
		return w.line(json.RawMessage(a.Body))
	}
	var list []route.ServiceInfo
	if err := a.Decode(&list); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(i route.ServiceInfo) bool { return !strings.HasPrefix(i.Name+":"+i.Path, s.Filter) })
	if w.json {
		return w.line(list)
	}
	return printServices(w, list, s.Filter, time.Now())
}

func printServices(w *world, list []route.ServiceInfo, filter string, now time.Time) error {
	t := newTable("ADDRESS", "SERVER", "VERSION", "WHERE", "BUSY", "SINCE", "DESCRIPTION")
	for _, s := range list {
		address := s.Name + ":" + s.Path
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
