package nodeapi

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// tapQueue is how many messages a tap holds for a watcher that is slower than
// the traffic. What does not fit is counted, not kept.
const tapQueue = 1024

// Tap is the input of node:/tap.
type Tap struct {
	// Pattern chooses addresses: "math:/**", "*:/decimal/*"; empty is all.
	Pattern string `json:"pattern,omitempty"`
	// Sample is the share of messages to show, from 0 to 1; 0 is all.
	Sample float64 `json:"sample,omitempty" jsonschema:"minimum=0,maximum=1"`
	// Body is how many bytes of each body to show; none by default.
	Body int `json:"body,omitempty" jsonschema:"minimum=0,maximum=65536"`
	// Nodes are whose messages to show: those of all nodes of the mesh, or of
	// this one. Default: all. A message is shown by the node of its sender.
	Nodes string `json:"nodes,omitempty" jsonschema:"enum=all|this"`
}

// thisNode is the word of Tap.Nodes for the node alone.
const thisNode = "this"

// Tapped is one message that passed, a part of node:/tap.
type Tapped struct {
	At    time.Time `json:"at"`
	Node  string    `json:"node"` // the name of the one that saw it
	Verb  string    `json:"verb"`
	To    string    `json:"to"`
	From  string    `json:"from,omitempty"`
	Mid   string    `json:"mid,omitempty"`
	Route string    `json:"route,omitempty"`
	Seq   uint64    `json:"seq,omitempty"`
	Took  float64   `json:"took,omitempty"` // seconds
	Size  int       `json:"size"`           // of the body, in bytes
	Body  string    `json:"body,omitempty"` // redacted and cut
	Code  string    `json:"code,omitempty"` // of an error
	// Missed messages were not shown before this one, because they came too
	// fast.
	Missed uint64 `json:"missed,omitempty"`
}

// TapEnd is the reply of node:/tap. A tap ends when its caller cancels it, so
// nobody normally sees one.
type TapEnd struct{}

// tapping collects what a tap shows.
type tapping struct {
	queue  chan Tapped
	missed atomic.Uint64
}

// add takes a message if there is room; it does not wait.
func (t *tapping) add(m Tapped) {
	select {
	case t.queue <- m:
	default:
		t.missed.Add(1 + m.Missed)
	}
}

func (h *api) tap(ctx context.Context, in Tap, send func(Tapped) error) (TapEnd, error) {
	if err := h.allowed(ctx); err != nil {
		return TapEnd{}, err
	}
	match, err := newFilter(in.Pattern)
	if err != nil {
		return TapEnd{}, err
	}
	t := &tapping{queue: make(chan Tapped, tapQueue)}
	remove := h.Exchange.Tap(func(e exchange.TapEvent) {
		if !match(e) || (in.Sample > 0 && rand.Float64() >= in.Sample) { //nolint:gosec // sampling is no secret
			return
		}
		if len(t.queue) == cap(t.queue) { // before the work of making it fit to be seen
			t.missed.Add(1)
			return
		}
		t.add(h.shown(e, in.Body))
	})
	defer remove()
	if m := h.Mesh(); m != nil && in.Nodes != thisNode {
		others := lane.New(ctx, h.Logger)
		defer others.Close()
		others.Go("node.tap", func(ctx context.Context) { h.tapOthers(ctx, others, m, in, t) })
	}
	for {
		select {
		case <-ctx.Done():
			return TapEnd{}, ctx.Err()
		case <-h.Exchange.Draining(): // which would wait for the watcher
			return TapEnd{}, message.NewError(message.CodeShuttingDown, "the node is stopping", "Tap it again when it is back.")
		case m := <-t.queue:
			if err := h.allowed(ctx); err != nil { // any more
				return TapEnd{}, err
			}
			m.Missed += t.missed.Swap(0)
			if err := send(m); err != nil {
				return TapEnd{}, err
			}
		}
	}
}

func (h *api) shown(e exchange.TapEvent, bodyBytes int) Tapped {
	t := Tapped{
		At: e.At, Node: h.NodeName, Verb: e.Verb.String(), To: redactAddress(e.To), From: e.From, Mid: e.Mid, Route: e.Route,
		Seq: e.Seq, Took: e.Took.Seconds(), Size: len(e.Body),
	}
	if e.Err != nil {
		t.Code = string(e.Err.Code)
	}
	if bodyBytes > 0 {
		t.Body = redact(e.Body, e.ContentType, bodyBytes)
	}
	return t
}

// newFilter returns a function that says whether a tap shows a message. What
// the tap itself causes is never shown: it would feed itself.
func newFilter(pattern string) (func(exchange.TapEvent) bool, error) {
	if pattern == "" {
		pattern = "*:/**"
	}
	want, err := message.ParseStrict(pattern)
	if err != nil {
		return nil, err
	}
	if _, err := route.ParsePattern(want.Path); err != nil {
		return nil, err
	}
	f := filter{name: want.Name, path: want.Path}
	return f.matches, nil
}
