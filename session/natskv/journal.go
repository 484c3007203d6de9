package natskv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/session/keeper"
)

// Journal is a [keeper.Journal] in a bucket of its own, which all nodes share:
// Config.Bucket and "_revoked". Make one with [NewJournal].
type Journal struct {
	bucket bucket
	sealer sealer
	log    *slog.Logger
}

// NewJournal returns a journal. A nil logger means [slog.Default].
func NewJournal(source Source, cfg Config, log *slog.Logger) (*Journal, error) {
	cfg, err := cfg.filled()
	if err != nil {
		return nil, err
	}
	cfg.Bucket += "_revoked"
	seal, err := newSealer(cfg.Secret, cfg.Bucket)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.Default()
	}
	return &Journal{bucket: bucket{cfg: cfg, source: source}, sealer: seal, log: log}, nil
}

// Load implements keeper.Journal. It fails with [keeper.ErrLater] while the
// servers are out of reach.
func (j *Journal) Load(ctx context.Context) ([]keeper.Revocation, error) {
	out, err := j.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keeper.ErrLater, err)
	}
	return out, nil
}

func (j *Journal) load(ctx context.Context) ([]keeper.Revocation, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	kv, err := j.bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		j.bucket.failed(err)
		return nil, err
	}
	defer w.Stop() //nolint:errcheck // the server ends it when nobody listens
	var out []keeper.Revocation
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok || e == nil {
				return out, ctx.Err()
			}
			if r, err := j.read(e); err == nil {
				out = append(out, r)
			} else {
				j.log.Warn("a revocation in the store cannot be read; do all nodes have the same secret?", slog.Any("err", err))
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (j *Journal) read(e jetstream.KeyValueEntry) (r keeper.Revocation, err error) {
	b, err := j.sealer.open(e.Key(), e.Value())
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// Append implements keeper.Journal. Of two nodes that revoke the same thing at
// the same time the one that is written first may be lost; the other is as good.
func (j *Journal) Append(ctx context.Context, news []keeper.Revocation, _ func() []keeper.Revocation) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	kv, err := j.bucket.open(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range news {
		r := &news[i]
		if !now.Before(r.Until) {
			continue
		}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		key := keyOf(r)
		if _, err := kv.Put(ctx, key, j.sealer.seal(key, b)); err != nil {
			j.bucket.failed(err)
			return fmt.Errorf("keep revocations: %w", errors.Join(err, ctx.Err()))
		}
	}
	return nil
}

// keyOf is the key of a revocation: subjects have letters that keys must not
// have, and are nobody's business.
func keyOf(r *keeper.Revocation) string {
	h := sha256.Sum256([]byte(r.Session + "\x00" + r.Subject))
	return hex.EncodeToString(h[:])
}

var _ keeper.Journal = (*Journal)(nil)
