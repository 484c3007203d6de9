package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ropewalk/ropewalk/session"
)

// What a Store may fail with.
var (
	// ErrNotFound is that there is no such session (any more).
	ErrNotFound = errors.New("there is no such session")
	// ErrExists is that there is one with this id already.
	ErrExists = errors.New("there is a session with this id")
	// ErrChanged is that somebody else has changed it.
	ErrChanged = errors.New("the session was changed meanwhile")
	// ErrFull is that the store takes no more.
	ErrFull = errors.New("the store of sessions is full")
)

// Record is what a [Store] keeps of a session. It never changes.
type Record struct {
	// Session is the session. In what a store returns, its Revision is that of
	// the store.
	Session *session.Session
	// Proof is the SHA-256 of the word that the client holds.
	Proof [32]byte
}

// Store keeps sessions by their ids. Methods may be called from any goroutine,
// and may block as long as ctx lets them. Sessions that have expired count as
// not there. Errors other than those above mean that the store is out of reach.
// Every Store passes keepertest.TestStore.
type Store interface {
	// Get returns a session, or ErrNotFound.
	Get(ctx context.Context, id string) (*Record, error)
	// Create puts a new session; ErrExists if there is one with its id, ErrFull.
	// It returns the record with its revision.
	Create(ctx context.Context, r *Record) (*Record, error)
	// Update replaces the session that has the id of r and the revision of
	// r.Session; else it changes nothing and fails with ErrChanged, or with
	// ErrNotFound. It returns the record with its new revision, which is greater.
	Update(ctx context.Context, r *Record) (*Record, error)
	// Delete removes a session; with a revision that is not 0 only if it has
	// that one, else it fails with ErrChanged. That there is none is no error if
	// the revision is 0, and else ErrNotFound.
	Delete(ctx context.Context, id string, revision uint64) error
	// All goes through all sessions in no order. It yields an error at most
	// once, at the end.
	All(ctx context.Context) iter.Seq2[*Record, error]
}

// Watcher is a Store that hears of what other nodes change.
type Watcher interface {
	// Watch calls changed with sessions as they are changed, by anybody, until
	// ctx ends. Of several changes of one session, all but the last may be left
	// out. changed does not block.
	Watch(ctx context.Context, changed func(*Record))
}

// with returns r with another session.
func (r *Record) with(s *session.Session) *Record { return &Record{Session: s, Proof: r.Proof} }

// WithRevision returns r with a revision. It is for implementations of Store.
func (r *Record) WithRevision(n uint64) *Record {
	s := r.Session.Copy()
	s.Revision = n
	return r.with(s)
}

// stored is a Record as JSON.
type stored struct {
	ID      string         `json:"id"`
	Subject string         `json:"sub,omitempty"`
	Issuer  string         `json:"iss,omitempty"`
	Public  session.Claims `json:"pub,omitempty"`
	Secret  session.Claims `json:"sec,omitempty"`
	Since   time.Time      `json:"since,omitzero"`
	Expires time.Time      `json:"exp,omitzero"`
	Limit   time.Time      `json:"lim,omitzero"`
	Idle    time.Duration  `json:"idle,omitempty"`
	Proof   []byte         `json:"proof"`
}

// Encode returns r as JSON, without its revision.
func (r *Record) Encode() ([]byte, error) {
	s := r.Session
	return json.Marshal(stored{
		ID: s.ID, Subject: s.Subject, Issuer: s.Issuer, Public: s.Public, Secret: s.Secret,
		Since: s.Since, Expires: s.Expires, Limit: s.Limit, Idle: s.Idle, Proof: r.Proof[:],
	})
}

// DecodeRecord reads what Encode has made, as the state with a revision.
func DecodeRecord(b []byte, revision uint64) (*Record, error) {
	var v stored
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("read a session: %w", err)
	}
	r := &Record{Session: &session.Session{
		ID: v.ID, Subject: v.Subject, Issuer: v.Issuer, Public: v.Public, Secret: v.Secret,
		Since: v.Since, Expires: v.Expires, Limit: v.Limit, Idle: v.Idle, Held: true, Revision: revision,
	}}
	if v.ID == "" || len(v.Proof) != len(r.Proof) {
		return nil, errors.New("read a session: it has no id or no proof")
	}
	copy(r.Proof[:], v.Proof)
	if err := r.Session.Check(); err != nil {
		return nil, fmt.Errorf("read a session: %w", err)
	}
	return r, nil
}
