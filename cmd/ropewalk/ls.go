package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// lsCmd lists a directory of contents.
type lsCmd struct {
	target
	Address string        `arg:"" optional:"" default:"json:/" help:"Which directory, such as json:/shop. Default: ${default}."`
	Depth   int           `default:"1" placeholder:"N" help:"How many levels of directories; 0 for all. Default: ${default}."`
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long the answer may take. Default: ${default}."`
}

// Help is printed below the flags.
func (*lsCmd) Help() string {
	return `The listing is the content of the address with a slash at the end: "ropewalk watch json:/shop/" shows it whenever it changes.

Examples:

  ropewalk ls
  ropewalk ls json:/shop --depth 0`
}

// listed is a file or directory of a listing.
type listed struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Size     *int64    `json:"size"`
	Modified string    `json:"modified"`
	Children []*listed `json:"children"`
}

// Run lists.
func (c *lsCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(c.Address); err != nil {
		return err
	}
	address := c.Address
	if path, query, ok := strings.Cut(address, "?"); !strings.HasSuffix(path, "/") {
		if address = path + "/"; ok {
			address += "?" + query
		}
	}
	var f filter
	if c.Depth > 0 {
		f.Param = map[string]string{"depth": strconv.Itoa(c.Depth)}
	}
	u, err := getContent(ctx, &c.target, address, &f, c.Timeout)
	if message.CodeOf(err) == message.CodeNotFound && address != c.Address {
		e := *message.AsError(err)
		e.Message = "there is no directory " + c.Address
		e.Hint = fmt.Sprintf("If it is a file, \"ropewalk get %s\" prints it.", c.Address)
		err = &e
	}
	if err != nil {
		return err
	}
	if w.json {
		return unwritable(w.line(json.RawMessage(u.Body)))
	}
	return unwritable(c.print(w, u))
}

func (c *lsCmd) print(w *world, u *call.Update) error {
	var top listed
	if u.ContentType != "" || json.Unmarshal(u.Body, &top) != nil || top.Type == "" {
		return message.NewError(message.CodeBadContent, c.Address+" has a content that is not a listing", `Look at it with "ropewalk get".`)
	}
	t := newTable("NAME", "SIZE", "CHANGED")
	addListed(t, top.Children, "", time.Now())
	if len(t.rows) == 0 {
		return w.printf("there is nothing in %s\n", printable(c.Address))
	}
	return t.print(w)
}

func addListed(t *table, list []*listed, indent string, now time.Time) {
	for _, e := range list {
		name, size, changed := e.Name, "-", "-"
		if e.Type != "file" {
			name += "/"
		}
		if e.Size != nil {
			size = bytesOf(*e.Size)
		}
		if at, err := time.Parse(time.RFC3339Nano, e.Modified); err == nil {
			changed = ago(at, now) + " ago"
		}
		t.add(indent+name, size, changed)
		addListed(t, e.Children, indent+"  ", now)
	}
}

// bytesOf writes a size for people.
func bytesOf(n int64) string {
	switch {
	case n < 10_000:
		return strconv.FormatInt(n, 10)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	default:
		return fmt.Sprintf("%d MB", n/1_000_000)
	}
}
