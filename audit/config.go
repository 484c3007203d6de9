package audit

import (
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// Config says where the audit log goes. The zero Config writes none.
type Config struct {
	// File takes the audit log, one JSON object a line; only the owner of the
	// file can read it. Default: none.
	File string `json:"file,omitempty" path:"file"`
	// MaxSize is how large File becomes, in bytes, before it is renamed to File.1
	// and a new one is begun. Default: 64 MiB.
	MaxSize int64 `json:"maxSize,omitempty"`
	// Keep is how many of the renamed files there are; older ones are removed.
	// Default: 9.
	Keep int `json:"keep,omitempty"`
	// Log has the events in the node's log as well, at level info. Default: false.
	Log bool `json:"log,omitempty"`
	// Fold is for how long refusals of the same kind to the same one are counted
	// rather than written, so that nobody fills the disk by being refused.
	// Default: 1m.
	Fold duration.Duration `json:"fold,omitzero"`
	// Queue is how many events may wait to be written; more are dropped, and how
	// many is written as soon as there is room. Default: 4096.
	Queue int `json:"queue,omitempty"`
}

// Defaults of [Config].
const (
	// DefaultMaxSize is what tools read in one go.
	DefaultMaxSize = 64 << 20
	// DefaultKeep makes ten files with the one that is written: 640 MiB.
	DefaultKeep = 9
	// DefaultFold is short enough that who looks at the log sees an attack
	// while it goes on.
	DefaultFold = time.Minute
	// DefaultQueue is what a disk writes in a few milliseconds.
	DefaultQueue = 4096
)

// minSize keeps files larger than a single event.
const minSize = 4 << 10

// maxQueue bounds the memory of events that wait; each may have a few KiB.
const maxQueue = 1 << 17

// maxKeep is how many files can be renamed without anybody waiting.
const maxKeep = 1000

// Off tells whether nothing is to be written.
func (c *Config) Off() bool { return c.File == "" && !c.Log }

// Validate says what is wrong with the configuration: an *message.Error whose
// Path is the field.
func (c *Config) Validate() error {
	switch {
	case c.MaxSize < 0 || c.MaxSize > 0 && c.MaxSize < minSize:
		return invalid("maxSize", fmt.Sprintf("%d bytes are not enough for a file", c.MaxSize), fmt.Sprintf("Set at least %d.", minSize))
	case c.Keep < 0 || c.Keep > maxKeep:
		return invalid("keep", fmt.Sprintf("%d files cannot be kept", c.Keep), fmt.Sprintf("Set 1 to %d.", maxKeep))
	case c.Fold < 0:
		return invalid("fold", "a time cannot be negative", "Write it like 1m.")
	case c.Queue < 0 || c.Queue > maxQueue:
		return invalid("queue", fmt.Sprintf("%d events cannot wait", c.Queue), fmt.Sprintf("Set 1 to %d.", maxQueue))
	}
	return nil
}

func invalid(field, text, hint string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, text, hint)
	e.Path = field
	return e
}

// or is n, or other if it is 0.
func or[N int | int64](n, other N) N {
	if n == 0 {
		return other
	}
	return n
}
