//go:build linux

package floor

import (
	"fmt"
	"strconv"

	"github.com/ropewalk/ropewalk/bench/internal/ws"
	"github.com/ropewalk/ropewalk/message"
)

// message passes one message on.
func (s *Floor) message(c *conn, frame []byte) error {
	m := &s.msg
	m.Reset()
	if err := message.DecodeSplit(frame, m); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	m.From = append(s.mid[:0], c.id...)
	s.mid = m.From
	switch m.EffectiveVerb() {
	case message.VerbCall:
		s.call(c, m)
	case message.VerbReply, message.VerbError:
		s.answer(m)
	case message.VerbServe:
		s.served[string(m.To)] = c
		s.send(c, &message.Message{Verb: message.VerbReply, Rmid: m.Mid})
	case message.VerbSubscribe:
		s.subscribe(c, m)
	case message.VerbPublish:
		s.publish(c, m)
	default: // the bench sends nothing else
	}
	return nil
}

// call forwards a call to who serves its address, under a mid of ours.
func (s *Floor) call(c *conn, m *message.Message) {
	by := s.served[string(m.To)]
	if by == nil {
		s.send(c, &message.Message{
			Verb: message.VerbError, Rmid: m.Mid,
			Body: []byte(`{"code":"no_service","message":"nobody serves that"}`),
		})
		return
	}
	slot := len(s.calls)
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.calls = append(s.calls, call{})
	}
	under := &s.calls[slot]
	under.caller = c
	under.mid = append(under.mid[:0], m.Mid...)
	s.back = strconv.AppendInt(s.back[:0], int64(slot), 10)
	m.Mid = s.back
	s.send(by, m)
}

// answer sends an answer to who asked.
func (s *Floor) answer(m *message.Message) {
	slot, err := strconv.Atoi(string(m.Rmid))
	if err != nil || slot < 0 || slot >= len(s.calls) || s.calls[slot].caller == nil {
		return
	}
	under := &s.calls[slot]
	m.Rmid = under.mid
	if under.caller.fd >= 0 {
		s.send(under.caller, m)
	}
	under.caller = nil
	s.free = append(s.free, slot)
}

// send puts a message behind those that wait for the end of the batch.
func (s *Floor) send(c *conn, m *message.Message) {
	s.buffer(c)
	start := len(c.out)
	c.out = append(c.out, "room"...) // ws.Room bytes
	c.out = ws.Fill(message.AppendSplit(c.out, m), start, ws.Binary)
}
