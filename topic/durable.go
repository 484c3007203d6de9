package topic

import (
	"encoding/json"

	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// Durable answers for a route of event topics that outlive nodes; package
// topic/natslog has one.
type Durable interface {
	// AddTo has a service answer for the route by the log.
	AddTo(s *service.Service)
	// Close ends what it has under way, and waits for that.
	Close()
}

// Begin is the part by which a server that numbers its events itself says, in a
// subscribe, that the history that follows is complete from after an offset. It
// comes before all else.
func Begin(epoch string, offset uint64) route.Body {
	return route.Body{Stamp: &route.Stamp{Epoch: epoch, Offset: offset, Topic: markFrom}}
}

// Armed is the part by which such a server says that the history was told, up to
// the newest offset that there is, and that every event after it will come.
func Armed(epoch string, offset uint64) route.Body {
	return route.Body{Stamp: &route.Stamp{Epoch: epoch, Offset: offset, Topic: markArmed}}
}

// PublisherOf is who publishes, as watchers are told.
func PublisherOf(req *route.Request) []byte {
	b, _ := json.Marshal(struct { //nolint:errchkjson // two strings
		Client  string `json:"client,omitempty"`
		Subject string `json:"subject,omitempty"`
	}{req.Peer.ID(), req.Session().Subject})
	return b
}

// Bounds are those of a history, with what is given by default.
func Bounds(h route.History) route.History { return bounds(h) }
