package exchange

import "github.com/ropewalk/ropewalk/message"

// Sharer is a Link that can send one encoded message to many. Without it a
// broadcast is encoded, and kept in memory, once for each client.
type Sharer interface {
	Link
	// DeliverShared is Deliver of a message that goes to several links
	// unchanged. It encodes m unless s has it already in the form of this link.
	DeliverShared(m *message.Message, s *Shared) error
}

// Shared holds the encoded forms of one message. Links choose what they keep
// here, by the number of their form; Release is called when all have sent it.
type Shared [2]Encoded

// Release gives the encoded forms back.
func (s *Shared) Release() {
	for i := range s {
		if s[i].Frame != nil {
			s[i].Frame.Release()
		}
		s[i] = Encoded{}
	}
}

// Encoded is one form of a message, or the error of making it.
type Encoded struct {
	Frame interface{ Release() }
	Err   error
}

// sharing is a message on its way to many.
type sharing struct {
	x      *Exchange
	m      *draft
	shared Shared
}

func (s *sharing) deliver(l Link) {
	if sharer, ok := l.(Sharer); ok {
		_ = sharer.DeliverShared(&s.m.Message, &s.shared)
		return
	}
	_ = l.Deliver(&s.m.Message)
}

func (s *sharing) release() {
	s.shared.Release()
	s.x.giveBack(s.m)
}
