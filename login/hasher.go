package login

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// hasher computes hashes, a few at a time: each takes tens of milliseconds of a
// CPU and megabytes of memory, and everybody may ask for one.
type hasher struct {
	params   Params
	most     uint32 // KiB that a stored hash may ask for
	slots    chan struct{}
	waiting  atomic.Int64
	queue    int64
	dummy    Hash
	computed func()
}

// generous is how much more memory than configured a stored hash may take: the
// table may come from somebody who hashed with more.
const generous = 4

func newHasher(p Passwords, computed func()) *hasher {
	params := p.params()
	h := &hasher{
		params: params, most: max(generous*params.Memory, 64<<10), queue: int64(p.Waiting),
		slots: make(chan struct{}, p.Concurrent), computed: computed,
	}
	// Nobody has the password of this one: its sum is not that of any.
	h.dummy = Hash{Kind: KindArgon2id, Params: params, salt: make([]byte, saltSize), sum: make([]byte, sumSize)}
	return h
}

// turn waits until a hash may be computed; the caller calls done after that.
func (h *hasher) turn(ctx context.Context) (done func(), err error) {
	done = func() { <-h.slots }
	select {
	case h.slots <- struct{}{}:
		return done, nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		e := message.NewError(message.CodeOverloaded, "too many people log in at this moment", "Try again in a few seconds.")
		e.RetryAfter = 2 * time.Second
		return nil, e
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// matches tells whether password has the hash. A hash that is missing or cannot
// be used takes as long, and matches nothing. The error is that of waiting.
func (h *hasher) matches(ctx context.Context, password string, hash *Hash) (bool, error) {
	usable := hash != nil && hash.Params.Memory <= h.most
	if !usable {
		hash = &h.dummy
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	h.computed()
	return hash.Matches(password) && usable, nil
}

// hash makes a hash.
func (h *hasher) hash(ctx context.Context, password string) (Hash, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return Hash{}, err
	}
	defer done()
	h.computed()
	return HashPassword(password, h.params), nil
}
