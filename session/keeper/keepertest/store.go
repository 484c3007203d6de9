// Package keepertest has the tests that each [keeper.Store] passes.
package keepertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// patience is how long something that has to happen may take.
const patience = 30 * time.Second

// TestStore checks that a store keeps what [keeper.Store] asks for. open is
// called once for each test, and returns two ways to the same empty store, as
// two nodes have them; for the memory of one node they are the same.
func TestStore(t *testing.T, open func(t *testing.T) (a, b keeper.Store)) {
	t.Helper()
	for name, f := range map[string]func(t *testing.T, a, b keeper.Store){
		"keeps what it is given":           keeps,
		"updates the revision it is told":  updates,
		"deletes the revision it is told":  deletes,
		"forgets what has expired":         expires,
		"lists what is there":              lists,
		"lets one of many writers through": contends,
		"takes ids and claims of all kind": strange,
		"ends with its context":            ends,
		"tells what others change":         watches,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			f(t, a, b)
		})
	}
}

// Record returns a record of a session that ends after d.
func Record(subject string, d time.Duration) *keeper.Record {
	s := session.New(subject, session.Claims{"role": "editor", "tags": []any{"a", 1.5, nil}}, session.Claims{"shard": map[string]any{"n": 7.0}})
	now := time.Now().Round(0) // without what only this process knows
	s.Since, s.Expires, s.Limit = now, now.Add(d), now.Add(2*d)
	s.Idle, s.Issuer, s.Held = d, "https://idp.example", true
	return &keeper.Record{Session: s, Proof: sha256.Sum256([]byte(s.ID))}
}

func create(t *testing.T, st keeper.Store, r *keeper.Record) *keeper.Record {
	t.Helper()
	got, err := st.Create(t.Context(), r)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if got.Session.Revision == 0 || !equal(got, r) {
		t.Fatalf("created %+v of %+v", got.Session, r.Session)
	}
	return got
}

func get(t *testing.T, st keeper.Store, id string) *keeper.Record {
	t.Helper()
	r, err := st.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return r
}

// equal tells whether two records are the same but for their revisions.
func equal(a, b *keeper.Record) bool {
	x, y := a.Session, b.Session
	return x.ID == y.ID && x.Subject == y.Subject && x.Issuer == y.Issuer && x.Held == y.Held && x.Idle == y.Idle &&
		reflect.DeepEqual(x.Public, y.Public) && reflect.DeepEqual(x.Secret, y.Secret) && a.Proof == b.Proof &&
		x.Since.Equal(y.Since) && x.Expires.Equal(y.Expires) && x.Limit.Equal(y.Limit)
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error %v, want %v", what, err, target)
	}
}

func keeps(t *testing.T, a, b keeper.Store) {
	t.Helper()
	_, err := a.Get(t.Context(), "nobody")
	want(t, "get nothing", err, keeper.ErrNotFound)
	_, err = a.Update(t.Context(), Record("anna", time.Hour))
	want(t, "update nothing", err, keeper.ErrNotFound)
	r := create(t, a, Record("anna", time.Hour))
	for _, st := range []keeper.Store{a, b} {
		if got := get(t, st, r.Session.ID); !equal(got, r) || got.Session.Revision != r.Session.Revision {
			t.Errorf("got %+v, want %+v", got.Session, r.Session)
		}
	}
	_, err = b.Create(t.Context(), r)
	want(t, "create again", err, keeper.ErrExists)
}

// patched returns r with a claim more.
func patched(t *testing.T, r *keeper.Record, name string) *keeper.Record {
	t.Helper()
	s, err := session.Patch{Set: session.Claims{name: true}}.Apply(r.Session)
	if err != nil {
		t.Fatal(err)
	}
	return &keeper.Record{Session: s, Proof: r.Proof}
}

func updates(t *testing.T, a, b keeper.Store) {
	t.Helper()
	r := create(t, a, Record("anna", time.Hour))
	next, err := b.Update(t.Context(), patched(t, r, "b"))
	if err != nil || next.Session.Revision <= r.Session.Revision {
		t.Fatalf("revision %d after %d, %v", next.Session.Revision, r.Session.Revision, err)
	}
	_, err = a.Update(t.Context(), patched(t, r, "a"))
	want(t, "update an old revision", err, keeper.ErrChanged)
	if got := get(t, a, r.Session.ID); !equal(got, next) || got.Session.Public["b"] != true {
		t.Errorf("got %+v, want %+v", got.Session, next.Session)
	}
	if _, err = a.Update(t.Context(), patched(t, next, "a")); err != nil {
		t.Error(err)
	}
}

func deletes(t *testing.T, a, b keeper.Store) {
	t.Helper()
	r := create(t, a, Record("anna", time.Hour))
	id := r.Session.ID
	next, err := a.Update(t.Context(), patched(t, r, "x"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "delete an old revision", b.Delete(t.Context(), id, r.Session.Revision), keeper.ErrChanged)
	get(t, a, id)
	want(t, "delete", b.Delete(t.Context(), id, next.Session.Revision), nil)
	_, err = a.Get(t.Context(), id)
	want(t, "get what is deleted", err, keeper.ErrNotFound)
	want(t, "delete a revision of nothing", a.Delete(t.Context(), id, next.Session.Revision), keeper.ErrNotFound)
	want(t, "delete nothing", a.Delete(t.Context(), id, 0), nil)
	want(t, "delete what never was", a.Delete(t.Context(), "never", 0), nil)
	_, err = a.Update(t.Context(), patched(t, next, "x"))
	want(t, "update what is deleted", err, keeper.ErrNotFound)
	again := create(t, b, r)
	if again.Session.Revision <= next.Session.Revision {
		t.Errorf("revision %d of one that was created again, the last was %d", again.Session.Revision, next.Session.Revision)
	}
	want(t, "delete any revision", a.Delete(t.Context(), id, 0), nil)
	_, err = b.Get(t.Context(), id)
	want(t, "get what is deleted", err, keeper.ErrNotFound)
}

func expires(t *testing.T, a, b keeper.Store) {
	t.Helper()
	r := create(t, a, Record("anna", 300*time.Millisecond))
	id := r.Session.ID
	eventually(t, "the end", func() bool {
		_, err := b.Get(t.Context(), id)
		return errors.Is(err, keeper.ErrNotFound)
	})
	_, err := a.Update(t.Context(), patched(t, r, "x"))
	want(t, "update what has expired", err, keeper.ErrNotFound)
	want(t, "delete a revision of what has expired", a.Delete(t.Context(), id, r.Session.Revision), keeper.ErrNotFound)
	for r, err := range a.All(t.Context()) {
		t.Errorf("listed %+v, %v", r, err)
	}
	fresh := *r
	fresh.Session = r.Session.Copy()
	fresh.Session.Expires = time.Now().Round(0).Add(time.Hour)
	fresh.Session.Limit = time.Time{}
	create(t, a, &fresh)
}

func lists(t *testing.T, a, b keeper.Store) {
	t.Helper()
	wanted := map[string]bool{}
	for i := range 20 {
		r := create(t, a, Record(fmt.Sprint("user", i), time.Hour))
		wanted[r.Session.ID] = true
		if i%4 == 0 {
			want(t, "delete", b.Delete(t.Context(), r.Session.ID, 0), nil)
			delete(wanted, r.Session.ID)
		}
	}
	got := 0
	for r, err := range b.All(t.Context()) {
		if err != nil || !wanted[r.Session.ID] {
			t.Fatalf("listed %+v, %v", r, err)
		}
		got++
	}
	if got != len(wanted) {
		t.Errorf("listed %d, want %d", got, len(wanted))
	}
	for _, err := range b.All(t.Context()) {
		want(t, "list", err, nil)
		break // one may stop
	}
}

func contends(t *testing.T, a, b keeper.Store) {
	t.Helper()
	r := create(t, a, Record("anna", time.Hour))
	const n = 10
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range n {
		wg.Go(func() {
			_, err := []keeper.Store{a, b}[i%2].Update(t.Context(), patched(t, r, fmt.Sprint("c", i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, keeper.ErrChanged) {
				t.Errorf("update: %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of %d updates of one revision went through, want 1", won, n)
	}
}

func strange(t *testing.T, a, b keeper.Store) {
	t.Helper()
	r := Record("анна \u2028 <script> \"", time.Hour)
	r.Session.Public["ключ"] = strings.Repeat("ж", 4000)
	r.Session.Limit, r.Session.Idle = time.Time{}, 0
	create(t, a, r)
	if got := get(t, b, r.Session.ID); !equal(got, r) {
		t.Errorf("got %+v, want %+v", got.Session, r.Session)
	}
	for _, id := range []string{"", ".", "*", ">", "a.b", "a b", "a\x00b", strings.Repeat("x", 5000)} {
		_, err := a.Get(t.Context(), id)
		want(t, fmt.Sprintf("get %.20q", id), err, keeper.ErrNotFound)
		want(t, fmt.Sprintf("delete %.20q", id), a.Delete(t.Context(), id, 0), nil)
	}
}

func ends(t *testing.T, a, _ keeper.Store) {
	t.Helper()
	create(t, a, Record("anna", time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r, err := range a.All(ctx) {
			if err == nil {
				t.Errorf("listed %s", r.Session.ID)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("a list goes on after its context has ended")
	}
}

func watches(t *testing.T, a, b keeper.Store) {
	t.Helper()
	w, ok := b.(keeper.Watcher)
	if !ok {
		t.Skip("it does not tell")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	heard := make(chan *keeper.Record, 100)
	var last *keeper.Record
	wg.Go(func() {
		w.Watch(ctx, func(r *keeper.Record) {
			select {
			case heard <- r:
			default:
			}
		})
	})
	r := create(t, a, Record("anna", time.Hour))
	eventually(t, "a change", func() bool {
		var err error
		if r, err = a.Update(t.Context(), patched(t, r, "x")); err != nil {
			t.Fatal(err)
		}
		select {
		case last = <-heard:
			return last.Session.ID == r.Session.ID
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
	eventually(t, "the last change", func() bool {
		select {
		case last = <-heard:
		default:
		}
		return equal(last, r) && last.Session.Revision == r.Session.Revision
	})
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
