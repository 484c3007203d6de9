package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/internal/wheel"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// tick is how exactly sessions end.
	tick = 100 * time.Millisecond
	// pruneEvery is how often old revocations are forgotten.
	pruneEvery = time.Minute
)

// Codec makes tokens of sessions and sessions of tokens; package session/token
// has one.
type Codec interface {
	// Encode returns a token that tells the whole session.
	Encode(s *session.Session) (string, error)
	// DecodeWait reads a token and checks it. It may ask other servers for keys.
	// Its errors have CodeUnauthenticated, or say that there is no answer yet.
	DecodeWait(ctx context.Context, token string) (*session.Session, error)
}

// Parts are what a Keeper works with.
type Parts struct {
	// Codec is for tokens. Without one there are none, and Config.Form must be
	// "server".
	Codec Codec
	// Store keeps the sessions of form "server". Default: a [Memory].
	Store Store
	// Journal keeps revocations over a restart. nil: they are forgotten when no
	// node is left.
	Journal Journal
	// Logger is where it is told what goes wrong. Default: slog.Default.
	Logger *slog.Logger
	// Registry takes the metrics; nil is none.
	Registry prometheus.Registerer
}

// Keeper keeps the life of sessions on one node. Make one with [New], and Close
// it. Its methods may be called from any goroutine.
//
// Errors are *message.Error: CodeUnauthenticated for a session that does not
// exist (any more), with {"reason":…} in Details, one of those of package
// session/token or malformed, unknown, expired, revoked; CodeInvalidInput for a
// change that would be over the bounds; CodeServiceDown if the store is out of
// reach, and CodeOverloaded if it is full.
type Keeper struct {
	cfg     atomic.Pointer[Config] // with defaults
	codec   Codec
	store   Store
	journal Journal
	log     *slog.Logger
	metrics *metrics
	lane    *lane.Lane
	wheel   *wheel.Wheel
	prune   wheel.Timer
	pruning atomic.Bool // the timer is set
	list    list
	track   tracker
	tell    announcer
	saver   saver
	checks  checks

	mu        sync.Mutex
	onRevoked []func([]Revocation)
}

// New returns a Keeper and reads its journal, which is what it may block for.
func New(ctx context.Context, cfg Config, parts Parts) (*Keeper, error) {
	k := &Keeper{
		codec: parts.Codec, store: parts.Store, journal: parts.Journal, log: parts.Logger,
		wheel: wheel.New(tick), list: list{max: MaxRevocations, marks: make(map[name]mark)},
	}
	if err := k.Configure(cfg); err != nil {
		return nil, err
	}
	if k.store == nil {
		k.store = NewMemory(0, 0)
	}
	if k.log == nil {
		k.log = slog.Default()
	}
	var err error
	if k.metrics, err = newMetrics(parts.Registry); err != nil {
		return nil, err
	}
	if k.journal != nil {
		kept, err := k.journal.Load(ctx)
		if k.saver.unread = errors.Is(err, ErrLater); err != nil && !k.saver.unread {
			return nil, err
		}
		k.list.add(kept, time.Now())
		k.metrics.revocations.Set(float64(k.list.n.Load()))
	}
	k.start(ctx)
	return k, nil
}

func (k *Keeper) start(ctx context.Context) {
	k.lane = lane.New(context.WithoutCancel(ctx), k.log)
	k.track.init(k)
	k.tell.init(k)
	k.saver.wake = make(chan struct{}, 1)
	k.checks.wake = make(chan struct{}, 1)
	k.prune.Owner = wheel.Func(func() {
		k.pruning.Store(false)
		k.list.prune(time.Now())
		k.metrics.revocations.Set(float64(k.list.n.Load()))
		k.pruneLater()
	})
	k.lane.Go("session.wheel", k.wheel.Run)
	k.lane.Go("session.check", k.runChecks)
	if k.journal != nil {
		k.lane.Go("session.journal", k.runSaver)
	}
	if w, ok := k.store.(Watcher); ok {
		k.lane.Go("session.watch", func(ctx context.Context) { w.Watch(ctx, k.heard) })
	}
	k.pruneLater()
}

// pruneLater has old revocations forgotten later, if there are any: a node
// without them is not woken.
func (k *Keeper) pruneLater() {
	if k.list.n.Load() > 0 && k.pruning.CompareAndSwap(false, true) {
		k.wheel.Reset(&k.prune, pruneEvery)
	}
}

// Close ends what the Keeper does in the background. Sessions stay what they
// are.
func (k *Keeper) Close() {
	k.lane.Close()
	if k.journal != nil {
		k.saveLast()
	}
}

// Config returns the configuration with its defaults filled in.
func (k *Keeper) Config() Config { return *k.cfg.Load() }

// Configure changes the configuration. Sessions that there are keep the form
// that they have until they end or change, and take the rest with their next use
// or refresh. Who is older than a new limit is not opened, used or refreshed any
// more.
func (k *Keeper) Configure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.filled()
	if k.codec == nil && cfg.Form == FormToken {
		return errors.New(`form: it is "token", and there are no keys for tokens`)
	}
	k.cfg.Store(&cfg)
	return nil
}

// Open returns the session that a credential is for: a token, or the word of a
// session that the nodes keep. It may block for the store, or for the keys of
// other issuers of tokens.
func (k *Keeper) Open(ctx context.Context, credential string) (*session.Session, error) {
	s, err := k.open(ctx, credential)
	if err == nil {
		err = k.alive(s)
	}
	if err != nil {
		k.metrics.refused.Inc()
		return nil, err
	}
	k.metrics.opened.Inc()
	return s, nil
}

func (k *Keeper) open(ctx context.Context, credential string) (*session.Session, error) {
	if !Opaque(credential) {
		if k.codec == nil {
			return nil, refuse("malformed", "this node takes no tokens")
		}
		s, err := k.codec.DecodeWait(ctx, credential)
		if err != nil {
			return nil, err
		}
		s = s.Copy()
		s.Held = false // only a store may say so
		k.bound(s)     // a revocation is not remembered for longer
		return s, nil
	}
	id, proof, ok := parse(credential)
	if !ok {
		return nil, refuse("malformed", "the name of a session is cut off or has something added")
	}
	r, err := k.store.Get(ctx, id)
	if err != nil {
		return nil, k.storeError(err)
	}
	if !same(&r.Proof, &proof) {
		return nil, refuse("unknown", "there is no such session")
	}
	return r.Session, nil
}

// alive tells whether s goes on.
func (k *Keeper) alive(s *session.Session) error {
	now := time.Now()
	// The limit may be a shorter one by now than when it began.
	over := !s.Anonymous() && !now.Before(s.Since.Add(time.Duration(k.cfg.Load().Limit)))
	if over || s.Expired(now) {
		return refuse("expired", "the session has ended")
	}
	if m, ok := k.list.hits(s); ok {
		if m.why != "" {
			return refuse("revoked", "the session was ended: "+m.why)
		}
		return refuse("revoked", "the session was ended")
	}
	return nil
}

// Begin has a new session begin. The id, the times and the form of s are set
// anew; a Limit that s has stays if it is earlier than that of the
// configuration. The session that is returned is the one to use, and credential
// is for the client.
func (k *Keeper) Begin(ctx context.Context, s *session.Session) (kept *session.Session, credential string, err error) {
	s = s.Copy()
	s.ID, s.Since = session.NewID(), time.Now()
	if err := s.Check(); err != nil {
		return nil, "", err
	}
	k.afterRevocation(s)
	return k.begin(ctx, s)
}

// afterRevocation is for a session that begins now. After a log-out everywhere
// one may log in again, though the clock that told the time of the one be ahead
// of this.
func (k *Keeper) afterRevocation(s *session.Session) {
	for range 2 { // the subject's, and everybody's
		m, ok := k.list.hits(s)
		if before := time.UnixMilli(m.before); ok && before.After(s.Since) && before.Sub(s.Since) <= skew {
			s.Since = before
		}
	}
}

// begin has s go on in the form of the configuration, under a new credential.
func (k *Keeper) begin(ctx context.Context, s *session.Session) (*session.Session, string, error) {
	now := time.Now()
	if s.Idle == 0 {
		s.Idle = time.Duration(k.cfg.Load().Idle)
	}
	k.bound(s)
	s.Expires = k.expiry(s, now)
	if err := k.alive(s); err != nil {
		return nil, "", err
	}
	if k.cfg.Load().Form == FormServer {
		return k.hold(ctx, s)
	}
	s.Held, s.Revision = false, 0
	return k.encode(s)
}

// bound sets the limit of s. What another issuer has said is not made longer.
func (k *Keeper) bound(s *session.Session) {
	limit := s.Since.Add(time.Duration(k.cfg.Load().Limit))
	if s.Limit.IsZero() && s.Issuer != "" {
		s.Limit = s.Expires
	}
	if s.Limit.IsZero() || limit.Before(s.Limit) {
		s.Limit = limit
	}
}

// expiry is when s ends that is used now.
func (k *Keeper) expiry(s *session.Session, now time.Time) time.Time {
	span := s.Idle
	if span == 0 {
		span = time.Duration(k.cfg.Load().Lifetime)
	}
	end := now.Add(span)
	if !s.Limit.IsZero() && s.Limit.Before(end) {
		return s.Limit
	}
	return end
}

func (k *Keeper) encode(s *session.Session) (*session.Session, string, error) {
	token, err := k.codec.Encode(s)
	if err != nil {
		return nil, "", err
	}
	return s, token, nil
}

// hold puts a new session into the store, under a new word.
func (k *Keeper) hold(ctx context.Context, s *session.Session) (*session.Session, string, error) {
	word := newWord()
	id, proof, _ := parse(word)
	s.ID, s.Held, s.Revision = id, true, 0
	r, err := k.store.Create(ctx, &Record{Session: s, Proof: proof})
	if err != nil {
		return nil, "", k.storeError(err)
	}
	return r.Session, word, nil
}

// refuse is the error for a credential that is worth nothing.
func refuse(reason, text string) *message.Error {
	e := message.NewError(message.CodeUnauthenticated, strings.TrimSuffix(text, ": "), "Log in again.")
	e.Details = []byte(`{"reason":"` + reason + `"}`)
	return e
}

// storeError makes an error of what a store has failed with.
func (k *Keeper) storeError(err error) error {
	var e *message.Error
	switch {
	case errors.Is(err, ErrNotFound):
		return refuse("unknown", "there is no such session, or it has ended")
	case errors.Is(err, ErrFull):
		e = message.NewError(message.CodeOverloaded, "there are too many sessions",
			"Give the store of sessions more room, or let sessions end earlier: sessions.idle.")
	case errors.Is(err, ErrChanged):
		e = message.NewError(message.CodeConflict, "the session is changed by too many at once", "")
		e.Retryable = true
	case errors.As(err, &e): // such as one that is too large
		return e
	default:
		k.metrics.storeErrors.Inc()
		k.log.Debug("the store of sessions fails", slog.Any("err", err))
		e = message.NewError(message.CodeServiceDown, "the store of sessions is out of reach", "Try again in a moment.")
	}
	e.Cause = fmt.Errorf("store of sessions: %w", err)
	return e
}
