package exchange

import (
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// TapEvent is what a tap sees of one message.
type TapEvent struct {
	At   time.Time
	Verb message.Verb
	To   string
	From string
	Mid  string
	// Called is the address of the call, of its answers; they go To its caller.
	Called string
	Route  string
	Seq    uint64
	Took   time.Duration // of final answers: since the call was read
	// Body is valid until the tap's function returns.
	Body        []byte
	ContentType string
	Err         *message.Error
}

// Tap sees the messages of a node as they pass.
type Tap struct{ f func(TapEvent) }

// Tap has f told of every request and answer until the returned function is
// called. f runs on the message path, must not block, and may be called from
// several goroutines at once. While there is no tap it costs nothing.
func (x *Exchange) Tap(f func(TapEvent)) (remove func()) {
	t := &Tap{f: f}
	x.changeTaps(func(taps []*Tap) []*Tap { return append(taps, t) })
	return func() {
		x.changeTaps(func(taps []*Tap) []*Tap {
			for i := range taps {
				if taps[i] == t {
					return append(taps[:i], taps[i+1:]...)
				}
			}
			return taps
		})
	}
}

func (x *Exchange) changeTaps(change func([]*Tap) []*Tap) {
	x.tapsMu.Lock()
	defer x.tapsMu.Unlock()
	var taps []*Tap
	if old := x.taps.Load(); old != nil {
		taps = append(taps, *old...)
	}
	taps = change(taps)
	if len(taps) == 0 {
		x.taps.Store(nil)
		return
	}
	x.taps.Store(&taps)
}

func (x *Exchange) tapped() bool { return x.taps.Load() != nil }

func (x *Exchange) tap(e TapEvent) {
	if taps := x.taps.Load(); taps != nil {
		for _, t := range *taps {
			t.f(e)
		}
	}
}

func (x *Exchange) tapRequest(req *route.Request) {
	m := &req.Message
	x.tap(TapEvent{
		At: req.Received, Verb: m.EffectiveVerb(), To: string(m.To), From: string(m.From), Mid: string(m.Mid),
		Body: m.Body, ContentType: string(m.ContentType),
	})
}

// tapAnswer is called with c.mu held.
func (x *Exchange) tapAnswer(c *Call, a answer) {
	now := time.Now()
	in, called := &c.state.req.Message, c.state.to
	if c.settled { // it may have had wildcards
		called = in.To
	}
	e := TapEvent{
		At: now, Verb: a.verb, To: string(in.From), From: string(c.address()), Mid: string(in.Mid),
		Called: string(called), Route: c.route, Seq: a.seq, Body: a.body, ContentType: a.contentType, Err: a.err,
	}
	if a.verb != message.VerbPart {
		e.Took = now.Sub(c.received)
	}
	x.tap(e)
}
