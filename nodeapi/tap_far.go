package nodeapi

import (
	"context"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// tapTime is more than any node lets a call last: a tap on another node ends
	// when it is canceled, or is opened again.
	tapTime = 24 * time.Hour
	// tapAgain is how long a node is left alone whose tap has ended by itself.
	tapAgain = time.Second
)

// tapOthers taps every other node of the mesh for as long as it is there, until
// ctx ends.
func (h *api) tapOthers(ctx context.Context, own *lane.Lane, m *mesh.Mesh, in Tap, t *tapping) {
	in.Nodes = thisNode
	open := make(map[string]struct{})
	ended := make(chan string)
	for {
		_, changed := m.Changes()
		for _, n := range m.Nodes() {
			if _, ok := open[n.ID]; ok || n.Self || n.State == mesh.Lost {
				continue
			}
			open[n.ID] = struct{}{}
			own.Go("node.tap.far", func(ctx context.Context) {
				h.tapFar(ctx, n.ID, in, t)
				select {
				case ended <- n.ID:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case id := <-ended:
			delete(open, id)
		case <-changed:
		}
	}
}

// tapFar shows the messages of one other node until that tap ends, and then
// waits a little.
func (h *api) tapFar(ctx context.Context, id string, in Tap, t *tapping) {
	h.own.Add(1) // the exchange counts this call, too
	defer h.own.Add(-1)
	s := call.Streamed[Tapped, TapEnd](ctx, h.Exchange.Local(), id+"@"+Name+":/tap", in, call.WithTimeout(tapTime), call.WithBuffer(tapQueue))
	defer func() { _ = s.Close() }()
	var why error
	for m, err := range s.Parts() {
		if why = err; err != nil {
			break
		}
		t.add(m)
	}
	if message.CodeOf(why) == message.CodeNodeLost {
		return
	}
	pause := time.NewTimer(tapAgain)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
}
