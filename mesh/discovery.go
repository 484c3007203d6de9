package mesh

import (
	"context"
	"slices"
	"time"
)

// DefaultInterval is how often a node says that it is there. It is part of how
// soon a lost node is noticed, and of what a mesh costs at rest.
const DefaultInterval = time.Second

// Discovery makes nodes known to each other. [Broadcast] is the usual one; a
// plug-in may use what an organization has for that. ropewalktest.TestDiscovery
// is the test that it has to pass.
type Discovery interface {
	// Name is the word for it in configuration and logs.
	Name() string
	// Run spreads the card of this node, at least once an interval, and at once
	// when it has changed, and tells d of the cards of others, until ctx ends.
	// A node of which no card has come for several intervals counts as lost.
	Run(ctx context.Context, d Directory)
	// Trusts tells whether the node of a card that came over the backplane is
	// taken into the mesh. It is called often, and must not block.
	Trusts(c *Card) bool
}

// Directory is what a [Discovery] works with.
type Directory interface {
	// Interval is how often to spread the card.
	Interval() time.Duration
	// Card is what this node has to say now.
	Card() Card
	// Changed returns a channel that is closed when Card has changed.
	Changed() <-chan struct{}
	// Publish spreads the card over the backplane.
	Publish()
	// Seen tells the mesh of a card that came in another way than over the
	// backplane. Cards that make no sense are refused with an error.
	Seen(c Card) error
}

// Broadcast spreads cards over the backplane: whoever can reach it, with the
// secret of the mesh, is a node of the mesh. Its name is "nats", because that is
// what decides who can.
func Broadcast() Discovery { return broadcast{} }

type broadcast struct{}

// Name implements Discovery.
func (broadcast) Name() string { return "nats" }

// Trusts implements Discovery.
func (broadcast) Trusts(*Card) bool { return true }

// Run implements Discovery. All nodes speak at the same time, as well as their
// clocks agree: a process that is woken once for the cards of all costs much
// less than one that is woken for each.
func (broadcast) Run(ctx context.Context, d Directory) {
	var beats <-chan struct{} // until that is closed somebody else keeps the time
	if own, ok := d.(directory); ok {
		beats = own.m.beat(ctx)
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		changed := d.Changed()
		d.Publish()
		if beats == nil {
			timer.Reset(untilBeat(time.Now(), d.Interval()))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-changed:
		case <-beats:
			beats = nil
		}
	}
}

// untilBeat is how long it is until all speak. Half an interval more, because
// timers may fire a little early.
func untilBeat(now time.Time, interval time.Duration) time.Duration {
	return now.Add(interval / 2).Truncate(interval).Add(interval).Sub(now)
}

// beat has the card be spread each interval without a timer, where lines allow
// that, until ctx ends.
func (m *Mesh) beat(ctx context.Context) <-chan struct{} {
	if m.cfg.Lines == nil {
		return nil
	}
	every := m.cfg.Interval
	return m.cfg.Lines.Repeat(untilBeat(time.Now(), every), func() time.Duration {
		if ctx.Err() != nil {
			return 0
		}
		now := time.Now()
		m.look(now, true)
		m.spread(now, func(card []byte) {
			m.lane.Do(func(context.Context) { _ = m.plane.Publish(card) })
		})
		return untilBeat(time.Now(), every)
	})
}

// Static is Broadcast among the nodes with these names; others are not taken
// into the mesh.
func Static(names ...string) Discovery { return static{names: names} }

type static struct {
	broadcast
	names []string
}

// Name implements Discovery.
func (static) Name() string { return "static" }

// Trusts implements Discovery.
func (s static) Trusts(c *Card) bool { return slices.Contains(s.names, c.Name) }

// NoDiscovery leaves the node alone: it neither tells nor hears of others.
func NoDiscovery() Discovery { return none{} }

type none struct{}

// Name implements Discovery.
func (none) Name() string { return "none" }

// Trusts implements Discovery.
func (none) Trusts(*Card) bool { return false }

// Run implements Discovery.
func (none) Run(ctx context.Context, _ Directory) { <-ctx.Done() }
