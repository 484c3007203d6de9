package natskv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// DefaultBucket is the bucket of a store without a name.
	DefaultBucket = "ropewalk_sessions"
	// DefaultReplicas is how many servers keep a copy if there are as many: one
	// may be away, and nothing is lost.
	DefaultReplicas = 3
	// DefaultMaxBytes bounds a bucket: half a million sessions of 2 KiB.
	DefaultMaxBytes = 1 << 30
	// reach is how long a method waits for the servers if its context does not
	// say so.
	reach = 5 * time.Second
	// repeats is the time in which JetStream knows a message that came twice.
	repeats = 2 * time.Minute
	// retry is how long to wait before the servers are looked for again.
	retry = 500 * time.Millisecond
)

// Config says how a bucket is made. The zero value is a good one, but for the
// missing secret.
type Config struct {
	// Bucket is its name: letters, digits, - and _. Default: ropewalk_sessions.
	Bucket string
	// Replicas is how many servers keep a copy, 1 to 5. If there are fewer servers
	// when the bucket is made, it is one, and more as soon as there are enough.
	// Default: 3.
	Replicas int
	// MaxAge is how long an entry stays that nobody writes: the longest time that
	// a session lasts. 0 is for ever.
	MaxAge time.Duration
	// MaxBytes bounds the bucket on disk. Default: 1 GiB.
	MaxBytes int64
	// Secret seals the values; all nodes need the same. "" leaves them readable
	// for who may read the bucket.
	Secret string
}

var goodBucket = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (c Config) filled() (Config, error) {
	if c.Bucket == "" {
		c.Bucket = DefaultBucket
	}
	if c.Replicas == 0 {
		c.Replicas = DefaultReplicas
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	switch {
	case !goodBucket.MatchString(c.Bucket):
		return c, fmt.Errorf("%q is no name of a bucket; it takes letters, digits, - and _", c.Bucket)
	case c.Replicas < 1 || c.Replicas > 5:
		return c, fmt.Errorf("%d replicas; it takes 1 to 5", c.Replicas)
	}
	return c, nil
}

// Source returns the way to JetStream, or why there is none yet. It does not
// block for long. The JetStream that it returns is used until the next call.
type Source func() (jetstream.JetStream, error)

// bucket is a key-value bucket that is looked for when it is needed.
type bucket struct {
	cfg    Config
	source Source

	mu sync.Mutex
	kv jetstream.KeyValue
}

// open returns the bucket, and makes it if there is none.
func (b *bucket) open(ctx context.Context) (jetstream.KeyValue, error) {
	b.mu.Lock()
	kv := b.kv
	b.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	js, err := b.source()
	if err != nil {
		return nil, err
	}
	if err := b.make(ctx, js); err != nil {
		return nil, fmt.Errorf("make the bucket %s: %w", b.cfg.Bucket, err)
	}
	if kv, err = js.KeyValue(ctx, b.cfg.Bucket); err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", b.cfg.Bucket, err)
	}
	b.mu.Lock()
	b.kv = kv
	b.mu.Unlock()
	return kv, nil
}

// failed looks at what a method has failed with: the next one makes the bucket
// again if it is gone.
func (b *bucket) failed(err error) {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) {
		b.mu.Lock()
		b.kv = nil
		b.mu.Unlock()
	}
}

// stream is the bucket as JetStream has it.
func (b *bucket) stream(replicas int) jetstream.StreamConfig {
	window := repeats
	if b.cfg.MaxAge > 0 {
		window = min(window, b.cfg.MaxAge)
	}
	return jetstream.StreamConfig{
		Name: "KV_" + b.cfg.Bucket, Subjects: []string{"$KV." + b.cfg.Bucket + ".>"},
		Description:       "sessions of Ropewalk",
		MaxMsgsPerSubject: 1, MaxAge: b.cfg.MaxAge, MaxBytes: b.cfg.MaxBytes, MaxMsgs: -1, MaxConsumers: -1,
		Storage: jetstream.FileStorage, Replicas: replicas, Discard: jetstream.DiscardNew, Duplicates: window,
		AllowRollup: true, DenyDelete: true,
		AllowDirect: false, // a copy that lags must not answer
	}
}

// make has the bucket be there, with as many copies as there can be.
func (b *bucket) make(ctx context.Context, js jetstream.JetStream) error {
	want := b.stream(b.cfg.Replicas)
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		if tooFew(err) {
			_, err = js.CreateStream(ctx, b.stream(1))
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was quicker
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	have := s.CachedInfo().Config
	if have.Replicas >= want.Replicas && have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes {
		return nil
	}
	want.Replicas = max(want.Replicas, have.Replicas)
	if _, err = js.UpdateStream(ctx, want); err != nil { // there may be too few servers still
		want.Replicas = have.Replicas
		if have.MaxAge != want.MaxAge || have.MaxBytes != want.MaxBytes {
			_, err = js.UpdateStream(ctx, want)
			return err
		}
	}
	return nil
}

// What JetStream says when there are not as many servers as copies.
const (
	codeNoPeers      = 10005
	codeNotClustered = 10074
	codeFullBytes    = 10077
	codeNoResources  = 10023
)

func tooFew(err error) bool {
	return coded(err, codeNoPeers) || coded(err, codeNotClustered) || coded(err, codeNoResources)
}

func coded(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// limited bounds ctx, if it is not bounded.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, reach)
}
