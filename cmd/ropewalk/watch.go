package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// filter is how the content of a topic is filtered on the command line.
type filter struct {
	Params string            `placeholder:"JSON" help:"Filter the content: an object, such as '{\"dept\":\"food\"}'."`
	Param  map[string]string `short:"p" placeholder:"NAME=VALUE" mapsep:"none" help:"One of the params; a VALUE that is no JSON is a text. May be given more than once."`
}

// read returns the params, or nil if there are none.
func (f *filter) read() (any, error) {
	params := map[string]json.RawMessage{}
	if f.Params != "" {
		if err := json.Unmarshal([]byte(f.Params), &params); err != nil {
			return nil, usage("--params is not a JSON object", `Put it into single quotes, as in --params '{"dept":"food"}'.`)
		}
	}
	for name, value := range f.Param {
		raw := []byte(value)
		if !message.ValidJSON(raw) {
			raw = strconv.AppendQuote(nil, value)
			if !message.ValidJSON(raw) {
				return nil, usage("--param "+name+": the value is neither JSON nor a plain text", "Use --params for what needs escapes.")
			}
		}
		params[name] = raw
	}
	if len(params) == 0 {
		return nil, nil //nolint:nilnil // none
	}
	return params, nil
}

// watchCmd shows what a topic holds and every change of it.
type watchCmd struct {
	link
	Address string `arg:"" help:"What to watch: json:/shop/prices.json, or of event topics also a pattern, such as 'prices:/**'."`
	filter
	History int           `placeholder:"N" help:"Of an event topic: begin with the last N events, as far as they are kept."`
	Since   string        `placeholder:"EPOCH:OFFSET" help:"Begin after what was seen last, as --json prints it. Of an event topic: with all that came since then."`
	Count   int           `short:"n" placeholder:"N" help:"End after this many contents or events."`
	Delta   bool          `help:"Have changes of large contents travel as differences; what is shown is the same."`
	Raw     bool          `help:"Print only the contents or events, each with a line break."`
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long the first answer may take. Default: ${default}."`
}

// Help is printed below the flags.
func (*watchCmd) Help() string {
	return `Prints the content, and again whenever it changes: time, offset, content. Stop it with Ctrl-C. What else happens is said on
standard error: that there is no content now and why, that events were missed, that the connection was lost and is there
again; it goes on by itself, at any node of the mesh. With --json all that comes is a line on standard output:

  {"type":"content","address":…,"epoch":…,"offset":…,"body":…}
  {"type":"event",…}
  {"type":"fault",…,"error":{"code":…,"message":…,"hint":…}}
  {"type":"gap",…}

Examples:

  ropewalk watch json:/shop/prices.json
  ropewalk watch query:/shop/open.sql -p dept=food
  ropewalk watch 'prices:/**' --history 10 --json`
}

// Run shows what comes until ctx ends.
func (c *watchCmd) Run(ctx context.Context, w *world) error {
	opts, err := c.settings()
	if err != nil {
		return err
	}
	conn, err := c.follow(ctx, client.WithOnState(c.states(w)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	watch := conn.Watch(ctx, c.Address, opts...)
	defer func() { _ = watch.Close() }()
	if err := c.ready(ctx, watch); err != nil {
		return c.ended(ctx, err)
	}
	left := c.Count
	for u, err := range watch.Updates() {
		if err != nil {
			return c.ended(ctx, err)
		}
		if err := c.print(w, watch, &u); err != nil {
			return unwritable(err)
		}
		if u.Gap || u.Fault != nil || c.Count == 0 {
			continue
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}

func (c *watchCmd) settings() ([]call.WatchOption, error) {
	if err := checkAddress(c.Address); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		return nil, usage("--timeout has to be more than 0", "Leave it out for the default.")
	}
	params, err := c.read()
	if err != nil {
		return nil, err
	}
	opts := []call.WatchOption{call.WithParams(params), call.WithHistory(c.History), call.WithBuffer(partBuffer)}
	if c.Delta {
		opts = append(opts, call.WithDelta())
	}
	if c.Since != "" {
		epoch, offset, _ := strings.Cut(c.Since, ":")
		n, err := strconv.ParseUint(offset, 10, 64)
		if err != nil || epoch == "" {
			return nil, usage("--since is not EPOCH:OFFSET", "Take both from a line that --json has printed, as in --since 5f1c:42.")
		}
		opts = append(opts, call.WithRecover(call.Position{Epoch: epoch, Offset: n}))
	}
	return opts, nil
}

// states says on standard error when the connection is lost and when it is back.
func (*watchCmd) states(w *world) func(client.State) {
	was, lost := client.Offline, false
	return func(s client.State) {
		switch {
		case s == client.Offline && was == client.Online:
			lost = true
			w.warnf("the connection to the node is lost; trying again")
		case s == client.Online && lost:
			lost = false
			w.warnf("connected again")
		}
		if s == client.Online || s == client.Offline {
			was = s
		}
	}
}

// ready waits until the node has said what it has.
func (c *watchCmd) ready(ctx context.Context, watch *call.Watch) error {
	within, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return watch.Ready(within)
}

// ended is why the watch is over: for who has seen enough nothing to say.
func (*watchCmd) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fail(exitInterrupted, nil)
	}
	return err
}

// watched is what comes as it is printed for programs. A body with a content type
// is base64, as on the wire.
type watched struct {
	item

	Address   string          `json:"address"`
	Epoch     string          `json:"epoch,omitempty"`
	Offset    *uint64         `json:"offset,omitempty"` // with the epoch
	Publisher json.RawMessage `json:"publisher,omitempty"`
}

func newWatched(kind string, u *call.Update) watched {
	o := watched{item: newItem(kind, u.Body, u.ContentType), Address: u.Address}
	if u.Epoch != "" {
		o.Epoch, o.Offset = u.Epoch, &u.Offset
	}
	if message.ValidJSON(u.Publisher) {
		o.Publisher = u.Publisher
	}
	if u.Fault != nil {
		o.Error = errorJSON(u.Fault)
	}
	return o
}

func (c *watchCmd) print(w *world, watch *call.Watch, u *call.Update) error {
	if w.json {
		kind := "content"
		switch {
		case u.Gap:
			kind = "gap"
		case u.Fault != nil:
			kind = "fault"
		case watch.Events():
			kind = "event"
		}
		return w.line(newWatched(kind, u))
	}
	switch {
	case u.Gap:
		w.warnf("events were missed; the next one comes after %d", u.Offset)
		return nil
	case u.Fault != nil:
		w.warnf("there is no content now: %s (%s)", u.Fault.Message, u.Fault.Code)
		if u.Fault.Hint != "" {
			fmt.Fprintf(w.err, "  %s\n", printable(u.Fault.Hint))
		}
		return nil
	case c.Raw:
		_, err := w.out.Write(append(slices.Clip(u.Body), '\n'))
		return err
	}
	text := []string{time.Now().Format("15:04:05.000"), w.paint(dim, fmt.Sprintf("%5d", u.Offset))}
	if u.Address != c.Address {
		text = append(text, w.paint(cyan, printable(u.Address)))
	}
	return w.printf("%s\n", strings.Join(append(text, shown(u)), "  "))
}

// shown is a content in one line for a person.
func shown(u *call.Update) string {
	switch {
	case u.ContentType == "" && message.ValidJSON(u.Body):
		return oneLine(compact(u.Body))
	case strings.HasPrefix(u.ContentType, "text/") && utf8.Valid(u.Body):
		return oneLine(string(u.Body))
	default:
		return fmt.Sprintf("%d bytes of %s", len(u.Body), printable(u.ContentType))
	}
}

// compact takes the blanks out of JSON.
func compact(b []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return string(b)
	}
	return out.String()
}
