package exchange

import (
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// asker is who a call's answers go to: a peer, a caller inside the process, or
// a gather that the call is a leg of.
type asker interface {
	// answer takes one part, reply or error. It is called in order, under the
	// call's lock; a.body is valid only until it returns. It must not block.
	answer(c *Call, a answer) error
	// ended is told, outside the lock, that the final answer was given.
	ended(c *Call)
	// relief returns a channel that is closed when a part of c that was refused
	// with CodeOverloaded is worth another try.
	relief(c *Call) <-chan struct{}
}

// prompt is embedded by askers that always take parts, and for which nothing is
// left to do when the final answer was given.
type prompt struct{}

func (prompt) ended(*Call) {}

func (prompt) relief(*Call) <-chan struct{} { return nil }

// answer is what an asker gets. It is passed by value so that giving it costs
// no allocation.
type answer struct {
	verb        message.Verb
	seq         uint64
	body        []byte
	contentType string
	err         *message.Error // of VerbError
	patch       []byte         // of the caller's session, to another node
	stamp       *route.Stamp   // of a content or event
	fault       bool           // body is that of an error, in place of a content
	stable      bool           // body and stamp are never written to again
	patient     bool           // whoever gives this part can wait
}
