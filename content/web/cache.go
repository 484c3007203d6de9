package web

import (
	"container/list"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
)

// cache keeps answers for their validators, up to a number of bytes; those that
// were not used for the longest time go first.
type cache struct {
	limit int

	mu    sync.Mutex
	size  int
	all   map[string]*list.Element // of *cached
	order *list.List               // the last used first
}

// cached is an answer. It is not changed.
type cached struct {
	key     string
	content content.Content
	// from is the URL that has sent it, behind redirects perhaps: what the validators
	// belong to.
	from           string
	etag, modified string
	fresh          time.Time // until when it need not be asked for again
}

// overhead is about what an answer costs beyond its bytes.
const overhead = 512

func (c *cached) size() int { return overhead + len(c.key) + len(c.from) + len(c.content.Body) }

func newCache(limit int) cache {
	return cache{limit: limit, all: make(map[string]*list.Element), order: list.New()}
}

func (c *cache) get(key string) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.all[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return value(e)
}

func (c *cache) put(v *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.all[v.key])
	if v.size() > c.limit {
		return
	}
	c.all[v.key] = c.order.PushFront(v)
	for c.size += v.size(); c.size > c.limit; {
		c.remove(c.order.Back())
	}
}

func (c *cache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.all[key])
}

// remove forgets an element, which may be nil.
func (c *cache) remove(e *list.Element) {
	if e == nil {
		return
	}
	v := value(e)
	c.order.Remove(e)
	delete(c.all, v.key)
	c.size -= v.size()
}

func value(e *list.Element) *cached {
	v, _ := e.Value.(*cached)
	return v
}

// maxFresh is how long an answer is believed to be good at most, whatever it
// says.
const maxFresh = 24 * time.Hour

// validators are sent to the URL that they are of.
func (c *cached) validators(h http.Header, to string) {
	if c == nil || c.from != to {
		return
	}
	if c.etag != "" {
		h.Set("If-None-Match", c.etag)
	}
	if c.modified != "" {
		h.Set("If-Modified-Since", c.modified)
	}
}

// freshness returns for how long an answer need not be asked for again, and
// whether it may be kept at all.
func freshness(h http.Header) (age time.Duration, keep bool) {
	keep = true
	check := false
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
		switch name {
		case "no-store":
			keep = false
		case "no-cache":
			check = true
		case "max-age":
			if n, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil && n > 0 {
				age = time.Duration(min(n, int(maxFresh/time.Second))) * time.Second
			}
		}
	}
	if n, err := strconv.Atoi(h.Get("Age")); err == nil && n > 0 {
		age -= time.Duration(min(n, int(maxFresh/time.Second))) * time.Second
	}
	if check || !keep {
		age = 0
	}
	return max(0, age), keep
}
