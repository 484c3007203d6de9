package sqldb

import "sync"

// Bounds of what is kept by the text of a statement. A program may put into a
// text what others say, so there can be any number of texts.
const (
	// MaxKept is how long a text may be that is kept, in bytes.
	MaxKept = 16 << 10
	// maxTexts and maxBytes are how many there may be in a [Cache], and how long
	// together.
	maxTexts = 1000
	maxBytes = 4 << 20
)

// Cache keeps what is known of texts. The zero Cache is empty. It may be used
// from any goroutine.
type Cache[V any] struct {
	mu    sync.Mutex
	known map[string]V
	bytes int
}

// Get returns what was put in for a text.
func (c *Cache[V]) Get(text string) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok = c.known[text]
	return v, ok
}

// Put keeps v for a text, unless that is too long. If there are too many, all of
// the others are forgotten.
func (c *Cache[V]) Put(text string, v V) {
	if len(text) > MaxKept {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, again := c.known[text]; !again {
		if c.known == nil || len(c.known) == maxTexts || c.bytes+len(text) > maxBytes {
			c.known, c.bytes = map[string]V{}, 0
		}
		c.bytes += len(text)
	}
	c.known[text] = v
}
