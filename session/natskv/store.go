package natskv

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/session/keeper"
)

// Store is a [keeper.Store] in a bucket. Make one with [New]; it has nothing to
// be closed. Its methods wait five seconds for the servers if their context has
// no end.
type Store struct {
	bucket bucket
	sealer sealer
	log    *slog.Logger
}

// New returns a store. A nil logger means [slog.Default].
func New(source Source, cfg Config, log *slog.Logger) (*Store, error) {
	cfg, err := cfg.filled()
	if err != nil {
		return nil, err
	}
	seal, err := newSealer(cfg.Secret, cfg.Bucket)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.Default()
	}
	return &Store{bucket: bucket{cfg: cfg, source: source}, sealer: seal, log: log}, nil
}

// Ready looks whether the servers are there, and makes the bucket.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err := s.bucket.open(ctx)
	return err
}

// Get implements keeper.Store.
func (s *Store) Get(ctx context.Context, id string) (*keeper.Record, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	kv, err := s.bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	r, _, err := s.get(ctx, kv, id)
	return r, err
}

// get returns a session, and the revision of its entry even if it has expired.
func (s *Store) get(ctx context.Context, kv jetstream.KeyValue, id string) (*keeper.Record, uint64, error) {
	e, err := kv.Get(ctx, id)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return nil, 0, keeper.ErrNotFound
	case err != nil:
		s.bucket.failed(err)
		return nil, 0, err
	}
	r := s.read(e)
	if r == nil {
		return nil, e.Revision(), keeper.ErrNotFound
	}
	return r, e.Revision(), nil
}

// read returns what an entry is worth: nil if it has expired, or cannot be read.
func (s *Store) read(e jetstream.KeyValueEntry) *keeper.Record {
	b, err := s.sealer.open(e.Key(), e.Value())
	var r *keeper.Record
	if err == nil {
		r, err = keeper.DecodeRecord(b, e.Revision())
	}
	if err == nil && r.Session.ID != e.Key() {
		err = errSealed
	}
	if err != nil {
		s.log.Warn("a session in the store cannot be read; do all nodes have the same secret?",
			slog.String("session", e.Key()), slog.Any("err", err))
		return nil
	}
	if r.Session.Expired(time.Now()) {
		return nil
	}
	return r
}

// Create implements keeper.Store.
func (s *Store) Create(ctx context.Context, r *keeper.Record) (*keeper.Record, error) {
	return s.write(ctx, r, func(ctx context.Context, kv jetstream.KeyValue, id string, value []byte) (uint64, error) {
		rev, err := kv.Create(ctx, id, value)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return rev, err
		}
		// One that has expired counts as not there.
		_, old, err := s.get(ctx, kv, id)
		if !errors.Is(err, keeper.ErrNotFound) || old == 0 {
			return 0, errors.Join(keeper.ErrExists, err)
		}
		if rev, err = kv.Update(ctx, id, value, old); errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			err = keeper.ErrExists
		}
		return rev, err
	})
}

// Update implements keeper.Store.
func (s *Store) Update(ctx context.Context, r *keeper.Record) (*keeper.Record, error) {
	return s.write(ctx, r, func(ctx context.Context, kv jetstream.KeyValue, id string, value []byte) (uint64, error) {
		if r.Session.Revision == 0 || r.Session.Expired(time.Now()) {
			return 0, s.missed(ctx, kv, id)
		}
		rev, err := kv.Update(ctx, id, value, r.Session.Revision)
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			err = s.missed(ctx, kv, id)
		}
		return rev, err
	})
}

// missed tells why a write did not find the revision that it was for.
func (s *Store) missed(ctx context.Context, kv jetstream.KeyValue, id string) error {
	if _, _, err := s.get(ctx, kv, id); err != nil {
		return err
	}
	return keeper.ErrChanged
}

func (s *Store) write(ctx context.Context, r *keeper.Record,
	do func(ctx context.Context, kv jetstream.KeyValue, id string, value []byte) (uint64, error),
) (*keeper.Record, error) {
	b, err := r.Encode()
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	kv, err := s.bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	id := r.Session.ID
	rev, err := do(ctx, kv, id, s.sealer.seal(id, b))
	switch {
	case err == nil:
		return r.WithRevision(rev), nil
	case coded(err, codeFullBytes):
		return nil, keeper.ErrFull
	}
	s.bucket.failed(err)
	return nil, err
}

// Delete implements keeper.Store.
func (s *Store) Delete(ctx context.Context, id string, revision uint64) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	kv, err := s.bucket.open(ctx)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, old, err := s.get(ctx, kv, id)
		if old == 0 { // no marker for what is not there
			if errors.Is(err, keeper.ErrNotFound) {
				err = nil
			}
			return err
		}
		err = kv.Delete(ctx, id)
		s.bucket.failed(err)
		return err
	}
	if _, _, err := s.get(ctx, kv, id); err != nil {
		return err
	}
	err = kv.Delete(ctx, id, jetstream.LastRevision(revision))
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return s.missed(ctx, kv, id)
	}
	s.bucket.failed(err)
	return err
}

// All implements keeper.Store.
func (s *Store) All(ctx context.Context) iter.Seq2[*keeper.Record, error] {
	return func(yield func(*keeper.Record, error) bool) {
		ctx, cancel := limited(ctx)
		defer cancel()
		if err := s.each(ctx, func(r *keeper.Record) bool { return yield(r, nil) }); err != nil {
			s.bucket.failed(err)
			yield(nil, err)
		}
	}
}

// each goes through all sessions while f returns true.
func (s *Store) each(ctx context.Context, f func(*keeper.Record) bool) error {
	kv, err := s.bucket.open(ctx)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer w.Stop() //nolint:errcheck // the server ends it when nobody listens
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok || e == nil { // nil is the end of what is there
				return ctx.Err()
			}
			if r := s.read(e); r != nil && !f(r) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Watch implements keeper.Watcher.
func (s *Store) Watch(ctx context.Context, changed func(*keeper.Record)) {
	for ctx.Err() == nil {
		s.watch(ctx, changed)
		t := time.NewTimer(retry)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// watch hears until it cannot any more.
func (s *Store) watch(ctx context.Context, changed func(*keeper.Record)) {
	opening, cancel := limited(ctx)
	defer cancel()
	kv, err := s.bucket.open(opening)
	if err != nil {
		return
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes(), jetstream.UpdatesOnly())
	if err != nil {
		s.bucket.failed(err)
		return
	}
	defer w.Stop() //nolint:errcheck // the server ends it when nobody listens
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return
			}
			if e == nil {
				continue
			}
			if r := s.read(e); r != nil {
				changed(r)
			}
		case <-ctx.Done():
			return
		}
	}
}

var (
	_ keeper.Store   = (*Store)(nil)
	_ keeper.Watcher = (*Store)(nil)
)
