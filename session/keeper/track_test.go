package keeper_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// at moves the clock of a bubble to d after start.
func at(start time.Time, d time.Duration) {
	time.Sleep(time.Until(start.Add(d)))
	synctest.Wait()
}

func want(t *testing.T, e *events, kinds string) {
	t.Helper()
	synctest.Wait()
	if got := e.take(); got != kinds {
		t.Errorf("told %q, want %q", got, kinds)
	}
}

func TestWarnsAndExpires(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{Lifetime: seconds(600), Idle: seconds(600), Warn: seconds(60)}, func(t *testing.T, k *keeper.Keeper) {
		s, _ := begin(t, k, "anna")
		now := time.Now()
		var e events
		l := k.Track(s, e.add)
		defer l.Stop()
		at(now, 539*time.Second)
		want(t, &e, "")
		at(now, 541*time.Second)
		want(t, &e, "ending")
		next, _, err := k.Touch(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		l.Set(next)
		if e.take(); s.Held && next.Revision <= s.Revision {
			t.Error("a use is no change")
		}
		at(now, 1079*time.Second)
		want(t, &e, "")
		at(now, 1082*time.Second)
		want(t, &e, "ending")
		at(now, 1140*time.Second)
		want(t, &e, "")
		at(now, 1142*time.Second)
		want(t, &e, "expired")
		at(now, 5000*time.Second)
		want(t, &e, "")
	})
}

// TestWarnsOfTheLimit has a session that is used all the time: it still ends.
func TestWarnsOfTheLimit(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{Lifetime: seconds(600), Idle: seconds(600), Limit: seconds(1000), Warn: seconds(100)}, func(t *testing.T, k *keeper.Keeper) {
		s, _ := begin(t, k, "anna")
		now := time.Now()
		var e events
		l := k.Track(s, e.add)
		defer l.Stop()
		for i := range 89 {
			at(now, time.Duration(i)*10*time.Second)
			next, _, err := k.Touch(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			s = next
			l.Set(s)
		}
		e.take()
		at(now, 901*time.Second)
		want(t, &e, "ending")
		at(now, 1001*time.Second)
		want(t, &e, "expired")
	})
}

// TestShortSessions has a warning that is longer than the session.
func TestShortSessions(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, _, err := k.Change(t.Context(), session.Anonymous(), session.Patch{Subject: new("anna"), Idle: 8})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		var e events
		defer k.Track(s, e.add).Stop()
		at(now, 5*time.Second)
		want(t, &e, "")
		at(now, 6500*time.Millisecond)
		want(t, &e, "ending")
		at(now, 8500*time.Millisecond)
		want(t, &e, "expired")
	})
}

func TestTellsOfRevocation(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		anna, _ := begin(t, k, "anna")
		bob, _ := begin(t, k, "bob")
		var one, two, other, nobody events
		defer k.Track(anna, one.add).Stop()
		l := k.Track(anna, two.add) // another tab
		defer l.Stop()
		defer k.Track(bob, other.add).Stop()
		defer k.Track(session.Anonymous(), nobody.add).Stop()
		revoke(t, k, keeper.Revocation{Subject: "anna", Why: "asked for"})
		if len(one.list) == 0 || one.list[0].Why != "asked for" || one.list[0].Session.ID != anna.ID {
			t.Errorf("told %+v", one.list)
		}
		want(t, &one, "revoked")
		want(t, &two, "revoked")
		want(t, &other, "")
		next, _ := begin(t, k, "anna")
		l.Set(next)
		want(t, &two, "")
		k.Merge([]keeper.Revocation{{Session: next.ID, Until: time.Now().Add(time.Hour)}})
		want(t, &two, "revoked")
		want(t, &one, "")
		// Too late for Merge to tell, but not for Track.
		var late events
		defer k.Track(next, late.add).Stop()
		want(t, &late, "revoked")
		revoke(t, k, keeper.Revocation{All: true})
		want(t, &other, "revoked")
		want(t, &nobody, "")
	})
}

// TestSharedSession has two tabs and two nodes with one session that the nodes
// keep: each hears of the changes and the uses of the others.
func TestSharedSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := keeper.Config{Form: keeper.FormServer, Idle: seconds(600), Warn: seconds(60)}
		store := keeper.NewMemory(0, 0)
		k, far := start(t, cfg, keeper.Parts{Store: store}), start(t, cfg, keeper.Parts{Store: store})
		s, _ := begin(t, k, "anna")
		now := time.Now()
		var one, two, there events
		l := k.Track(s, one.add)
		defer l.Stop()
		defer k.Track(s, two.add).Stop()
		defer far.Track(s, there.add).Stop()
		next, _, err := k.Change(t.Context(), s, session.Patch{Set: session.Claims{"lang": "de"}})
		if err != nil {
			t.Fatal(err)
		}
		l.Set(next) // who changes it is told nothing
		l.Set(s)    // and an older state changes nothing
		at(now, time.Second)
		want(t, &one, "")
		if len(two.list) != 1 || two.list[0].Session != next {
			t.Errorf("told %+v", two.list)
		}
		want(t, &two, "changed")
		want(t, &there, "") // this store does not tell other nodes
		at(now, 500*time.Second)
		if _, _, err := k.Touch(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		at(now, 501*time.Second)
		want(t, &one, "changed") // it was not set
		want(t, &two, "changed")
		at(now, 650*time.Second) // the far node would have let it expire
		want(t, &one, "")
		want(t, &there, "changed")
		at(now, 1041*time.Second)
		want(t, &one, "ending")
		want(t, &two, "ending")
		want(t, &there, "ending")
		at(now, 1101*time.Second)
		want(t, &one, "expired")
		want(t, &there, "expired")
	})
}

// TestStoreOutOfReachAtTheEnd lets a session end by what is known here.
func TestStoreOutOfReachAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: broken{}})
		now := time.Now()
		s := session.New("anna", nil, nil)
		s.Held, s.Idle, s.Expires, s.Revision = true, 100*time.Second, now.Add(100*time.Second), 1
		var e events
		defer k.Track(s, e.add).Stop()
		at(now, 76*time.Second)
		want(t, &e, "ending")
		at(now, 101*time.Second)
		want(t, &e, "expired")
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		k := start(t, keeper.Config{}, keeper.Parts{Registry: reg})
		s, _ := begin(t, k, "anna")
		var e events
		l := k.Track(s, e.add)
		m := k.Track(s, e.add)
		l.Stop()
		l.Stop()
		l.Set(s)
		if n := testutil.ToFloat64(gather(t, reg, "ropewalk_sessions_live")); n != 1 {
			t.Errorf("%v live sessions, want 1", n)
		}
		m.Set(session.Anonymous())
		revoke(t, k, keeper.Revocation{Session: s.ID})
		time.Sleep(24 * time.Hour)
		want(t, &e, "")
		m.Stop()
		k.Close()
		k.Close()
	})
}

// TestTrackRaces lets many connections come, go and change while sessions are
// revoked; the race detector looks on.
func TestTrackRaces(t *testing.T) {
	t.Parallel()
	k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{})
	var told atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 30 {
				s, _, err := k.Begin(t.Context(), session.New(fmt.Sprint("u", j%3), nil, nil))
				if message.CodeOf(err) == message.CodeUnauthenticated {
					continue // its subject was revoked while it began
				}
				if err != nil {
					t.Error(err)
					return
				}
				l := k.Track(s, func(keeper.Event) { told.Add(1) })
				next, _, err := k.Change(t.Context(), s, session.Patch{Set: session.Claims{"n": float64(j)}})
				if err == nil {
					l.Set(next)
				}
				switch i % 4 {
				case 0:
					_ = k.Revoke(t.Context(), keeper.Revocation{Subject: s.Subject})
				case 1:
					_ = k.End(t.Context(), s)
				case 2:
					k.Merge([]keeper.Revocation{{Session: s.ID, Until: time.Now().Add(time.Hour)}})
				}
				if j%2 == 0 {
					l.Stop()
				} else {
					defer l.Stop()
				}
			}
		})
	}
	wg.Wait()
	if told.Load() == 0 {
		t.Error("nobody was told anything")
	}
}

// TestManyLiveSessions has what a hundred thousand connections cost: no
// goroutine each, and little memory.
func TestManyLiveSessions(t *testing.T) { //nolint:paralleltest // it measures memory
	const n = 100_000
	k := start(t, keeper.Config{}, keeper.Parts{})
	sessions := make([]*session.Session, n)
	for i := range sessions {
		s := session.New("anna", nil, nil)
		s.Expires = time.Now().Add(time.Hour)
		sessions[i] = s
	}
	live := make([]*keeper.Live, n)
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i, s := range sessions {
		live[i] = k.Track(s, nothing)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / n; each > 300 {
		t.Errorf("%d bytes for each live session, want 300 at most", each)
	}
	if g := runtime.NumGoroutine(); g > goroutines+10 {
		t.Errorf("%d goroutines more", g-goroutines)
	}
	for _, l := range live {
		l.Stop()
	}
}

func nothing(keeper.Event) {}

func BenchmarkTrackStop(b *testing.B) {
	k := start(b, keeper.Config{}, keeper.Parts{})
	for range 100_000 {
		s := session.New("anna", nil, nil)
		s.Expires = time.Now().Add(time.Hour)
		k.Track(s, nothing)
	}
	s, _ := begin(b, k, "anna")
	b.ReportAllocs()
	for b.Loop() {
		k.Track(s, nothing).Stop()
	}
}

// BenchmarkRevokeSubject looks at a hundred thousand live sessions.
func BenchmarkRevokeSubject(b *testing.B) {
	k := start(b, keeper.Config{}, keeper.Parts{})
	for i := range 100_000 {
		s := session.New(fmt.Sprint("user", i), nil, nil)
		s.Expires = time.Now().Add(time.Hour)
		k.Track(s, nothing)
	}
	i := 0
	for b.Loop() {
		i++
		if err := k.Revoke(context.Background(), keeper.Revocation{Subject: fmt.Sprint("nobody", i)}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTellsOfLogIn has one of two tabs log in: that one is told nothing, and the
// other that the session they had has ended.
func TestTellsOfLogIn(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		guest, credential, err := k.Change(t.Context(), session.Anonymous(), session.Patch{Set: session.Claims{"cart": 3.0}})
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.Open(t.Context(), credential)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		var one, two events
		l := k.Track(guest, one.add)
		defer l.Stop()
		defer k.Track(again, two.add).Stop()
		next, _, err := k.Change(t.Context(), guest, session.Patch{Subject: new("anna")})
		if err != nil {
			t.Fatal(err)
		}
		l.Set(next)
		at(now, time.Second)
		want(t, &one, "")
		want(t, &two, "revoked")
		revoke(t, k, keeper.Revocation{Subject: "anna"})
		want(t, &one, "revoked")
	})
}
