package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

const (
	// announceAfter is how long changes are collected before they are announced:
	// a service comes with many routes, and many services come at once.
	announceAfter = 5 * time.Millisecond
	// announceSize is about how large one announcement gets, in bytes.
	announceSize = 128 << 10
	// maxAnnouncement bounds what is taken from another node: one seat may have
	// a description of 64 KiB, written as JSON.
	maxAnnouncement = 1 << 20
	// maxInfo is the largest description that is announced, in bytes of JSON.
	maxInfo = maxAnnouncement - 2*announceSize
	// ownService is what a draining node still serves.
	ownService = "node"
)

// seatKey is a server of a route.
type seatKey struct{ server, name, pattern string }

// announcement is what a node tells another of what it serves, as the JSON of a
// frame. The first ones of a link are all; then come changes.
type announcement struct {
	// Infos are shared by many seats.
	Infos []wireInfo `json:"infos,omitempty"`
	Add   []wireSeat `json:"add,omitempty"`
	Drop  []wireSeat `json:"drop,omitempty"`
}

// wireSeat is one server of a route.
type wireSeat struct {
	Server  string `json:"s"`
	Name    string `json:"n"`
	Pattern string `json:"p"`
	Info    int    `json:"i,omitempty"` // place in Infos
}

// wireInfo is route.Info without what works only here.
type wireInfo struct {
	Version     string          `json:"version,omitempty"`
	Description string          `json:"description,omitempty"`
	In          json.RawMessage `json:"in,omitempty"`
	Out         json.RawMessage `json:"out,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	Idempotent  bool            `json:"idempotent,omitempty"`
	Since       time.Time       `json:"since"`
	Topic       *route.Topic    `json:"topic,omitempty"`
	Own         bool            `json:"own,omitempty"`
}

func toWire(i *route.Info) wireInfo {
	return wireInfo{
		Version: i.Version, Description: i.Description, In: i.In, Out: i.Out, Metadata: i.Metadata,
		Idempotent: i.Idempotent, Since: i.Since, Topic: i.Topic, Own: i.Own,
	}
}

func (w *wireInfo) info() route.Info {
	return route.Info{
		Version: w.Version, Description: w.Description, In: w.In, Out: w.Out, Metadata: w.Metadata,
		Idempotent: w.Idempotent, Since: w.Since, Topic: w.Topic, Own: w.Own,
	}
}

func sameInfo(a, b *route.Info) bool {
	return a.Version == b.Version && a.Description == b.Description && a.Idempotent == b.Idempotent && a.Since.Equal(b.Since) &&
		a.Topic.Equal(b.Topic) && a.Own == b.Own &&
		bytes.Equal(a.In, b.In) && bytes.Equal(a.Out, b.Out) && bytes.Equal(a.Metadata, b.Metadata)
}

// runAnnouncer tells the other nodes of changes in what this one serves.
func (m *Mesh) runAnnouncer(ctx context.Context) {
	timer := time.NewTimer(announceAfter)
	defer timer.Stop()
	for {
		_, changed := m.cfg.Table.Version()
		m.announce()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-m.renew:
			continue
		}
		timer.Reset(announceAfter)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// announce finds out what changed since the last time, and tells every node.
func (m *Mesh) announce() {
	m.regMu.Lock()
	defer m.regMu.Unlock()
	now := m.seats()
	var add []route.Seat
	var drop []wireSeat
	for key, s := range now {
		if old, ok := m.announced[key]; !ok || !sameInfo(&old.Info, &s.Info) {
			add = append(add, s)
		}
	}
	for key := range m.announced {
		if _, ok := now[key]; !ok {
			drop = append(drop, wireSeat{Server: key.server, Name: key.name, Pattern: key.pattern})
		}
	}
	if len(add) == 0 && len(drop) == 0 {
		return
	}
	m.announced = now
	m.routes.Store(int64(len(now)))
	nodes := m.links(true)
	for _, a := range announcements(add, drop) {
		b := m.encode(a)
		for _, n := range nodes {
			n.announce(b)
		}
	}
}

// encode writes an announcement as all nodes get it. What cannot be written is
// an empty one.
func (m *Mesh) encode(a *announcement) []byte {
	b, err := json.Marshal(a)
	if err != nil {
		m.log.Error("cannot announce what this node serves", "err", err)
		return []byte("{}")
	}
	return b
}

// seats is what this node serves for the others.
func (m *Mesh) seats() map[seatKey]route.Seat {
	draining := m.draining.Load()
	out := make(map[seatKey]route.Seat, len(m.announced))
	for _, s := range m.cfg.Table.Local() {
		if draining && s.Server == m.cfg.ID && s.Name != ownService {
			continue // those of connections leave with them
		}
		out[seatKey{s.Server, s.Name, s.Pattern.String()}] = s
	}
	return out
}

// introduce tells a new node all that is served here. From then on it gets the
// changes.
func (m *Mesh) introduce(n *Node) {
	m.regMu.Lock()
	defer m.regMu.Unlock()
	all := make([]route.Seat, 0, len(m.announced))
	for _, s := range m.announced {
		all = append(all, s)
	}
	list := announcements(all, nil)
	if len(list) == 0 {
		list = append(list, &announcement{}) // so that it hears of this node
	}
	for _, a := range list {
		n.announce(m.encode(a))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n.introduced = true
}

// announcements puts changes into as many announcements as they need.
func announcements(add []route.Seat, drop []wireSeat) []*announcement {
	slices.SortFunc(add, func(a, b route.Seat) int { return a.Info.Since.Compare(b.Info.Since) })
	var list []*announcement
	var a *announcement
	size := announceSize
	place := make(map[string]int) // of infos in a
	next := func(n int) {
		if size+n > announceSize || a == nil {
			a, size = new(announcement), 0
			list = append(list, a)
			clear(place)
		}
		size += n
	}
	for _, d := range drop {
		next(len(d.Server) + len(d.Name) + len(d.Pattern) + 32)
		a.Drop = append(a.Drop, d)
	}
	for i := range add {
		s := &add[i]
		w := toWire(&s.Info)
		key, err := json.Marshal(w)
		// A schema or metadata that is not JSON was refused when it was served; what
		// connections say is less than maxInfo.
		if err != nil || len(key) > maxInfo {
			w = wireInfo{Version: w.Version, Idempotent: w.Idempotent, Since: w.Since, Topic: w.Topic, Own: w.Own}
			key, _ = json.Marshal(w) //nolint:errchkjson // texts always marshal
		}
		next(len(s.Server) + len(s.Name) + len(s.Pattern.String()) + 48)
		at, ok := place[string(key)]
		if !ok {
			next(len(key))
			at = len(a.Infos)
			place[string(key)] = at
			a.Infos = append(a.Infos, w)
		}
		a.Add = append(a.Add, wireSeat{Server: s.Server, Name: s.Name, Pattern: s.Pattern.String(), Info: at})
	}
	return list
}

// routes handles the frame of an announcement. n.inMu is held.
func (n *Node) routes(frame []byte) {
	var a announcement
	if len(frame) > maxAnnouncement || json.Unmarshal(frame, &a) != nil {
		n.mesh.metrics.malformed.Inc()
		n.Lose("it announced what it serves in a way that cannot be read")
		return
	}
	h := n.mesh.cfg.Handler
	for _, d := range a.Drop {
		key := seatKey{d.Server, d.Name, d.Pattern}
		p, ok := n.serves[key]
		if !ok {
			continue
		}
		delete(n.serves, key)
		h.Unserved(n, route.Seat{Server: d.Server, Name: d.Name, Pattern: p})
	}
	for _, s := range a.Add {
		p, err := route.ParsePattern(s.Pattern)
		if err != nil || s.Info < 0 || s.Info >= len(a.Infos) || len(n.serves) >= n.mesh.cfg.MaxRoutes {
			n.mesh.metrics.malformed.Inc()
			continue
		}
		if err := h.Served(n, route.Seat{Server: s.Server, Name: s.Name, Pattern: p, Info: a.Infos[s.Info].info()}); err != nil {
			n.mesh.log.Warn("a route of another node cannot be used", "node", n.Card().Name, "route", s.Name+":"+s.Pattern, "err", err)
			continue
		}
		n.serves[seatKey{s.Server, s.Name, s.Pattern}] = p
	}
	n.told.Store(true)
}
