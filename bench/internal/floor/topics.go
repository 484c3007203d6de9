//go:build linux

package floor

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/ropewalk/ropewalk/bench/internal/ws"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// keeps is how many events of a topic are kept for who comes back.
	keeps = 64
	// epoch is that of all topics: they live as long as the process.
	epoch = "floor"
)

// topic is who watches at an address, and what was published last.
type topic struct {
	id       []byte
	offset   uint64
	watchers []*conn
	past     [keeps][]byte // frames, by offset modulo keeps
}

// topic returns that at an address.
func (s *Floor) topic(to []byte) *topic {
	t := s.topics[string(to)]
	if t == nil {
		t = &topic{id: strconv.AppendInt(nil, int64(len(s.topics)+1), 36)}
		s.topics[string(to)] = t
	}
	return t
}

// subscribe has a connection watch, from after where it was on.
func (s *Floor) subscribe(c *conn, m *message.Message) {
	t := s.topic(m.To)
	var body struct {
		Recover *struct {
			Offset uint64 `json:"offset"`
		} `json:"recover"`
	}
	after := t.offset
	if len(m.Body) > 0 && json.Unmarshal(m.Body, &body) == nil && body.Recover != nil {
		after = max(body.Recover.Offset, t.offset-min(t.offset, keeps))
	}
	t.watchers = append(t.watchers, c)
	c.topics = append(c.topics, t)
	s.send(c, &message.Message{Verb: message.VerbReply, Rmid: m.Mid, Topic: t.id, Epoch: []byte(epoch), Offset: after})
	for ; after < t.offset; after++ {
		c.out = append(c.out, t.past[(after+1)%keeps]...)
	}
}

// publish gives all who watch an event: one frame, for each behind what waits.
func (s *Floor) publish(c *conn, m *message.Message) {
	t := s.topic(m.To)
	t.offset++
	frame := t.past[t.offset%keeps]
	frame = append(frame[:0], "room"...) // ws.Room bytes
	frame = ws.Fill(message.AppendSplit(frame, &message.Message{
		Verb: message.VerbUpdate, Topic: t.id, Epoch: []byte(epoch), Offset: t.offset, Body: m.Body,
	}), 0, ws.Binary)
	t.past[t.offset%keeps] = frame
	for _, w := range t.watchers {
		s.buffer(w)
		w.out = append(w.out, frame...)
	}
	s.send(c, &message.Message{Verb: message.VerbReply, Rmid: m.Mid, Offset: t.offset})
}

// unwatch forgets what a connection watched.
func (s *Floor) unwatch(c *conn) {
	for _, t := range c.topics {
		t.watchers = slices.DeleteFunc(t.watchers, func(o *conn) bool { return o == c })
	}
}
