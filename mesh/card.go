package mesh

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ropewalk/ropewalk/message"
)

// Protocol is the version of what nodes say to each other. Nodes with another
// one are not taken into the mesh.
const Protocol = 1

// Bounds of a [Card].
const (
	maxCard  = 64 << 10
	maxName  = 255
	maxURLs  = 16
	maxLabel = 64 // labels, and bytes of the name of one
	maxText  = 1024
)

// State is how ready a node is to work.
type State string

// The states.
const (
	// Alive takes calls.
	Alive State = "alive"
	// Draining finishes what it has, and serves other nodes nothing new.
	Draining State = "draining"
	// Lost was not heard of for too long. No node says that of itself.
	Lost State = "lost"
)

// Card is what a node says about itself, again and again.
type Card struct {
	// Protocol is [Protocol].
	Protocol int `json:"protocol"`
	// ID is the node's id: 32 hex digits, new at each start.
	ID string `json:"id"`
	// Name is what people call it. Names should be unique; ids are.
	Name string `json:"name"`
	// Version is that of the program.
	Version string `json:"version,omitempty"`
	// State is alive or draining.
	State State `json:"state"`
	// Started is when the node started.
	Started time.Time `json:"started"`
	// Labels are free. "zone" is used for routing.
	Labels map[string]string `json:"labels,omitempty"`
	// URLs are where clients can connect.
	URLs []string `json:"urls,omitempty"`
	// Addr is where nodes can connect, as HOST:PORT; "" if they cannot.
	Addr string `json:"addr,omitempty"`
	// LineAddr is where nodes can make lines to this one, as HOST:PORT; "" if they
	// cannot.
	LineAddr string `json:"lineAddr,omitempty"`
	// LineWord is what who makes a line to this node has to know besides the secret
	// of the mesh: at random, and told to nobody but nodes. So nobody else gets a
	// line where the mesh has no secret because only its machine can reach it, but
	// the listeners can be reached from elsewhere through a proxy.
	LineWord string `json:"lineWord,omitempty"`
	// Clients and Routes are how many there are.
	Clients int `json:"clients,omitempty"`
	Routes  int `json:"routes,omitempty"`
	// Frame is the largest message that the node takes, in bytes; 0 stands for
	// [DefaultMaxFrame].
	Frame int `json:"frame,omitempty"`
	// Hears are the tags of the nodes that this one hears, one after another,
	// so that each knows whether it gets through.
	Hears string `json:"hears,omitempty"`
}

// Zone is the label zone.
func (c *Card) Zone() string { return c.Labels["zone"] }

// frame is the largest message that the node takes, in bytes.
func (c *Card) frame() int {
	if c.Frame > 0 {
		return c.Frame
	}
	return DefaultMaxFrame
}

// hears tells whether the node hears the one with a tag.
func (c *Card) hears(tag string) bool {
	for h := c.Hears; len(h) >= len(tag); h = h[len(tag):] {
		if h[:len(tag)] == tag {
			return true
		}
	}
	return false
}

// decodeCard reads a card that came from somebody.
func decodeCard(b []byte) (*Card, error) {
	if len(b) > maxCard {
		return nil, fmt.Errorf("a card of %d bytes", len(b))
	}
	c := new(Card)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("read the card of a node: %w", err)
	}
	return c, c.check()
}

// cards are the last card of each node with the bytes it came in: most cards
// say what the one before has said, and need not be read again.
type cards struct {
	mu   sync.Mutex
	last map[nodeID]heardCard
}

type heardCard struct {
	raw  []byte
	card *Card
}

// decode reads a card that came from a node. It must not be changed.
func (c *cards) decode(from nodeID, b []byte) (*Card, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.last[from]
	if known && bytes.Equal(last.raw, b) {
		return last.card, nil
	}
	card, err := decodeCard(b)
	if err != nil {
		return nil, err
	}
	if card.ID != from.String() {
		return nil, fmt.Errorf("a card of node %s came from %s", card.ID, from)
	}
	if c.last == nil || !known && len(c.last) >= maxMembers {
		c.last = make(map[nodeID]heardCard)
	}
	c.last[from] = heardCard{append(last.raw[:0], b...), card}
	return card, nil
}

// check tells whether a card can be believed.
func (c *Card) check() error {
	_, err := parseID(c.ID)
	switch {
	case err != nil:
		return err
	case c.Name == "" || len(c.Name) > maxName || strings.ContainsFunc(c.Name, unsafeRune):
		return fmt.Errorf("the name %.64q of node %s", c.Name, c.ID)
	case c.State != Alive && c.State != Draining:
		return fmt.Errorf("the state %.64q of node %s", c.State, c.ID)
	case len(c.URLs) > maxURLs || len(c.Labels) > maxLabel:
		return fmt.Errorf("too many labels or addresses of node %s", c.ID)
	case len(c.Version) > maxText || len(c.Addr) > maxText || len(c.LineAddr) > maxText || len(c.LineWord) > maxText || len(c.Hears)%message.TagLen != 0,
		strings.ContainsFunc(c.Version+c.Addr+c.LineAddr, unsafeRune):
		return fmt.Errorf("a field of the card of node %s", c.ID)
	}
	for _, u := range c.URLs {
		if len(u) > maxText || strings.ContainsFunc(u, unsafeRune) {
			return fmt.Errorf("an address %.64q of node %s", u, c.ID)
		}
	}
	for k, v := range c.Labels {
		if k == "" || len(k) > maxLabel || len(v) > maxText || strings.ContainsFunc(k+v, unsafeRune) {
			return fmt.Errorf("a label %.64q of node %s", k, c.ID)
		}
	}
	return nil
}

// unsafeRune would let a card write into other lines of a log or table.
func unsafeRune(r rune) bool { return !unicode.IsPrint(r) }

// nodeID is the id of a node as packets carry it.
type nodeID [16]byte

func (id nodeID) String() string { return hex.EncodeToString(id[:]) }

func parseID(s string) (id nodeID, err error) {
	if len(s) != 2*len(id) || strings.ToLower(s) != s {
		return id, fmt.Errorf("%.64q is not the id of a node", s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, fmt.Errorf("%.64q is not the id of a node", s)
	}
	return id, nil
}
