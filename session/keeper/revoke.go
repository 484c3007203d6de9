package keeper

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// saveTime bounds how long Close waits for the journal.
const saveTime = 5 * time.Second

// loadAgain is how long to wait before a journal is read again.
const loadAgain = time.Second

// Revoke ends sessions before their time: on this node when it returns, on the
// others when they Merge it. It blocks until the journal has it, if there is
// one; if that fails the sessions are ended all the same, and the error says
// that a restart would forget it.
func (k *Keeper) Revoke(ctx context.Context, r Revocation) error {
	n, ok := r.name()
	if !ok {
		return message.NewError(message.CodeInvalidInput, "a revocation names a session, a subject, or all of them", "Set one of the three.")
	}
	now := time.Now()
	switch {
	case n.kind == 's':
		r.Before = time.Time{}
	case r.Before.IsZero():
		// The list counts in milliseconds, and what began in this one is meant.
		r.Before = k.list.after(n, now.Truncate(time.Millisecond).Add(time.Millisecond))
	}
	if r.Until.IsZero() {
		r.Until = later(now, r.Before).Add(time.Duration(k.cfg.Load().Limit) + leeway)
	}
	if err := k.revoke([]Revocation{r}, k.track.revoked); err != nil {
		return err
	}
	var err error
	if n.kind == 's' {
		if e := k.store.Delete(ctx, n.text, 0); e != nil {
			k.log.Debug("an ended session stays in the store until its time", slog.Any("err", e))
		}
	}
	if k.journal != nil {
		err = k.saver.flushed(ctx)
	}
	return err
}

// forget is when nobody can have a session any more that goes on from s.
func (k *Keeper) forget(s *session.Session) time.Time {
	end := later(later(s.Limit, s.Expires), time.Now().Add(time.Duration(k.cfg.Load().Limit)))
	return end.Add(leeway)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// revoke is Revoke without the journal's answer and the store. tell tells the
// connections of this node.
func (k *Keeper) revoke(rs []Revocation, tell func([]Revocation)) error {
	news, left := k.merge(rs, tell)
	if left > 0 {
		return errFullList
	}
	if len(news) == 0 {
		return nil
	}
	k.mu.Lock()
	others := slices.Clone(k.onRevoked)
	k.mu.Unlock()
	for _, f := range others {
		f(news)
	}
	return nil
}

// Merge takes revocations of another node, and returns those that were new. It
// does not block, and no order is needed: nodes that have merged each other's
// have the same list.
func (k *Keeper) Merge(rs []Revocation) (news []Revocation) {
	news, left := k.merge(slices.Clone(rs), k.track.revoked)
	if left > 0 {
		k.log.Warn("the list of revoked sessions is full; shorten sessions.limit, so that revocations are forgotten earlier",
			slog.Int("left_out", left))
	}
	return news
}

func (k *Keeper) merge(rs []Revocation, tell func([]Revocation)) (news []Revocation, left int) {
	news, left = k.list.add(rs, time.Now())
	if len(news) == 0 {
		return news, left
	}
	k.metrics.revocations.Set(float64(k.list.n.Load()))
	k.pruneLater()
	if k.journal != nil {
		k.saver.add(news)
	}
	tell(news)
	return news, left
}

// Revoked tells whether s was ended before its time. It costs a look-up.
func (k *Keeper) Revoked(s *session.Session) bool {
	_, ok := k.list.hits(s)
	return ok
}

// Revocations returns the whole list: for a node that has just come.
func (k *Keeper) Revocations() []Revocation { return k.list.all() }

// OnRevoked has f called with what this node revokes, but not with what it has
// merged: for telling the other nodes. f is called by who revokes, and should
// not block.
func (k *Keeper) OnRevoked(f func([]Revocation)) {
	k.mu.Lock()
	k.onRevoked = append(k.onRevoked, f)
	k.mu.Unlock()
}

// saver hands revocations to the journal.
type saver struct {
	wake   chan struct{}
	unread bool // the journal could not be read yet; only for New and runSaver

	mu      sync.Mutex
	pending []Revocation
	waiting []chan error
}

func (s *saver) add(rs []Revocation) {
	s.mu.Lock()
	s.pending = append(s.pending, rs...)
	s.mu.Unlock()
	s.kick()
}

func (s *saver) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be saved, and who waits for that.
func (s *saver) take() ([]Revocation, []chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rs, w := s.pending, s.waiting
	s.pending, s.waiting = nil, nil
	return rs, w
}

var errNotKept = message.NewError(message.CodeInternal, "the sessions have ended, but a restart of all nodes would forget it",
	"Look at the disk and the rights of the file of revocations; then revoke again.")

// flushed waits until all that was added is saved.
func (s *saver) flushed(ctx context.Context) error {
	done := make(chan error, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, done)
	s.mu.Unlock()
	s.kick()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	e := *errNotKept
	e.Cause = err
	return &e
}

var errClosed = errors.New("the keeper of sessions is closed")

// runSaver saves until ctx ends. What the journal did not take is tried again
// with what comes next.
func (k *Keeper) runSaver(ctx context.Context) {
	again := time.NewTimer(loadAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.saver.wake:
			k.save(ctx)
		case <-again.C:
		}
		if k.saver.unread {
			k.loadAgain(ctx)
			again.Reset(loadAgain)
		}
	}
}

// loadAgain reads a journal that could not be read before.
func (k *Keeper) loadAgain(ctx context.Context) {
	kept, err := k.journal.Load(ctx)
	if k.saver.unread = err != nil; k.saver.unread {
		k.log.Debug("the revocations cannot be read yet", slog.Any("err", err))
		return
	}
	k.Merge(kept)
}

func (k *Keeper) save(ctx context.Context) {
	rs, waiting := k.saver.take()
	var err error
	if len(rs) > 0 {
		if err = k.journal.Append(ctx, rs, k.list.all); err != nil {
			k.log.Error("revocations of sessions are not kept over a restart; look at their file or store", slog.Any("err", err))
			k.saver.mu.Lock()
			k.saver.pending = append(rs, k.saver.pending...)
			k.saver.mu.Unlock()
		}
	}
	for _, w := range waiting {
		w <- err
	}
}

// saveLast saves what is left when the Keeper is closed.
func (k *Keeper) saveLast() {
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	k.save(ctx)
	_, waiting := k.saver.take()
	for _, w := range waiting {
		w <- errClosed
	}
}
