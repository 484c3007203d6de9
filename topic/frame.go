package topic

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

// frame is a content or event while it is delivered: as the watchers of a topic get
// it, encoded once for all who get it in one form.
type frame struct {
	m      message.Message
	shared exchange.Shared
}

//nolint:gochecknoglobals // a pool is only useful when it is shared
var frames = sync.Pool{New: func() any { return new(frame) }}

// newFrame returns an update of a topic. It is put back by done.
func (t *topic) newFrame(r *record, epoch []byte) *frame {
	f := t.newNote(message.VerbUpdate, epoch, r.offset)
	m := r.rest()
	f.m.Body, f.m.Publisher, f.m.Fault = r.body, m.publisher, m.fault
	if m.to != "" {
		f.m.To = []byte(m.to)
	}
	if m.contentType != "" {
		f.m.ContentType = []byte(m.contentType)
	}
	return f
}

// newNote is newFrame of what is no update.
func (t *topic) newNote(v message.Verb, epoch []byte, offset uint64) *frame {
	f := frames.Get().(*frame) //nolint:forcetypeassert // nothing else is put
	f.m.Verb, f.m.Topic, f.m.Epoch, f.m.Offset = v, t.id, epoch, offset
	return f
}

// done puts a frame back. Nobody delivers it any more.
func (f *frame) done() {
	f.shared.Release()
	f.m = message.Message{}
	frames.Put(f)
}

// sharers is from how many watchers on the encoded forms of past events are kept
// when one of them needs them: others will, too.
const sharers = 4

// forms are encoded forms of past events, by offset: of those for which somebody
// came late. Where nobody does it is empty.
type forms struct {
	list []form
	mem  *memory // counts them
}

type form struct {
	offset uint64
	size   int // that it counts
	shared exchange.Shared
}

// formRoom is what an encoded form takes besides the bytes of the event.
const formRoom = 200

// at is that of an offset; found tells whether there is one.
func (s *forms) at(offset uint64) (i int, found bool) {
	return slices.BinarySearchFunc(s.list, offset, func(f form, offset uint64) int { return cmp.Compare(f.offset, offset) })
}

// take returns what is known of an offset, and forgets it.
func (s *forms) take(offset uint64) (known exchange.Shared) {
	if i, found := s.at(offset); found {
		known, s.list[i].shared = s.list[i].shared, exchange.Shared{}
	}
	return known
}

// keep remembers what is known of an event.
func (s *forms) keep(r *record, known exchange.Shared) {
	i, found := s.at(r.offset)
	if !found {
		s.list = slices.Insert(s.list, i, form{offset: r.offset, size: len(r.body) + formRoom})
		s.mem.add(s.list[i].size)
	}
	s.list[i].shared = known
}

// trim forgets what is not after an offset.
func (s *forms) trim(floor uint64) {
	n := 0
	for n < len(s.list) && s.list[n].offset <= floor {
		s.list[n].shared.Release()
		s.mem.add(-s.list[n].size)
		n++
	}
	if s.list = slices.Delete(s.list, 0, n); len(s.list) == 0 {
		s.list = nil
	}
}
