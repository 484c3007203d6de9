package keeper_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

func revoke(t testing.TB, k *keeper.Keeper, r keeper.Revocation) {
	t.Helper()
	if err := k.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// TestLogOutEverywhere ends all sessions of a subject on one node; the other
// node hears of it.
func TestLogOutEverywhere(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		other := start(t, k.Config(), keeper.Parts{})
		k.OnRevoked(func(rs []keeper.Revocation) {
			if news := other.Merge(rs); len(news) != len(rs) {
				t.Errorf("merged %d of %d", len(news), len(rs))
			}
			if news := k.Merge(rs); len(news) != 0 {
				t.Errorf("%d news come back", len(news))
			}
		})
		_, one := begin(t, k, "anna")
		there, _ := begin(t, other, "anna")
		bob, bobs := begin(t, k, "bob")
		revoke(t, k, keeper.Revocation{Subject: "anna", Why: "asked for"})
		_, err := k.Open(t.Context(), one)
		wantReason(t, err, "revoked")
		if !strings.Contains(err.Error(), "asked for") {
			t.Errorf("%v does not say why", err)
		}
		if !other.Revoked(there) || other.Revoked(bob) || k.Revoked(bob) {
			t.Error("the other node ends other sessions than those of anna")
		}
		if _, err := k.Open(t.Context(), bobs); err != nil {
			t.Errorf("bob's: %v", err)
		}
		// She logs in again at once, without a tick of the clock, here and there.
		for _, n := range []*keeper.Keeper{k, other} {
			s, cred := begin(t, n, "anna")
			if _, err := n.Open(t.Context(), cred); err != nil || n.Revoked(s) {
				t.Errorf("the next log-in: %v", err)
			}
			s, _, err := n.Change(t.Context(), session.Anonymous(), session.Patch{Subject: new("anna")})
			if err != nil || n.Revoked(s) {
				t.Errorf("the next log-in: %v", err)
			}
		}
		// And is ended again, at once.
		s, _ := begin(t, k, "anna")
		revoke(t, k, keeper.Revocation{Subject: "anna"})
		if !k.Revoked(s) {
			t.Error("the second log-out is lost")
		}
	})
}

func TestRevokeAll(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, cred := begin(t, k, "anna")
		guest, _, err := k.Change(t.Context(), session.Anonymous(), session.Patch{Set: session.Claims{"a": 1.0}})
		if err != nil {
			t.Fatal(err)
		}
		revoke(t, k, keeper.Revocation{All: true, Why: "the key was stolen"})
		if _, err := k.Open(t.Context(), cred); err == nil || !k.Revoked(s) || !k.Revoked(guest) || k.Revoked(session.Anonymous()) {
			t.Errorf("not all and nobody: %v", err)
		}
		if s, _ := begin(t, k, "anna"); k.Revoked(s) {
			t.Error("nobody can log in any more")
		}
	})
}

// TestLockedOut has nobody log in before a time to come.
func TestLockedOut(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		revoke(t, k, keeper.Revocation{Subject: "anna", Before: time.Now().Add(time.Hour), Why: "locked"})
		_, _, err := k.Begin(t.Context(), session.New("anna", nil, nil))
		wantReason(t, err, "revoked")
		_, _, err = k.Change(t.Context(), session.Anonymous(), session.Patch{Subject: new("anna")})
		wantReason(t, err, "revoked")
		time.Sleep(time.Hour)
		begin(t, k, "anna")
	})
}

func TestRevokeNothing(t *testing.T) {
	t.Parallel()
	k := start(t, keeper.Config{}, keeper.Parts{})
	for _, r := range []keeper.Revocation{
		{}, {Session: "a", Subject: "b"}, {Session: "a", All: true}, {Subject: "a", All: true},
		{Session: strings.Repeat("x", 1000)}, {Subject: strings.Repeat("x", 1000)},
	} {
		wantCode(t, k.Revoke(t.Context(), r), message.CodeInvalidInput)
		r.Until = time.Now().Add(time.Hour)
		if news := k.Merge([]keeper.Revocation{r}); len(news) > 0 {
			t.Errorf("merged %+v", news)
		}
	}
	old := keeper.Revocation{Session: "a", Until: time.Now()}
	if news := k.Merge([]keeper.Revocation{old}); len(news) > 0 || len(k.Revocations()) > 0 {
		t.Errorf("merged %+v that is over", news)
	}
}

// TestForgets has revocations go when no session can be left that they are
// about.
func TestForgets(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{Limit: seconds(3600), Lifetime: seconds(600), Idle: seconds(600)}, func(t *testing.T, k *keeper.Keeper) {
		s, cred := begin(t, k, "anna")
		revoke(t, k, keeper.Revocation{Subject: "anna"})
		time.Sleep(30 * time.Minute)
		if err := k.End(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if n := len(k.Revocations()); n != 2 {
			t.Fatalf("%d revocations, want 2", n)
		}
		time.Sleep(34 * time.Minute)
		if n := len(k.Revocations()); n != 1 {
			t.Errorf("%d revocations after the limit, want 1", n)
		}
		if _, err := k.Open(t.Context(), cred); err == nil {
			t.Error("it came back")
		}
		time.Sleep(time.Hour)
		if n := len(k.Revocations()); n != 0 {
			t.Errorf("%d revocations in the end, want 0", n)
		}
		revoke(t, k, keeper.Revocation{Subject: "bob"}) // and all over again
		time.Sleep(2 * time.Hour)
		if n := len(k.Revocations()); n != 0 {
			t.Errorf("%d revocations in the end, want 0", n)
		}
	})
}

var revocations = rapid.Custom(func(t *rapid.T) keeper.Revocation {
	base := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(name string) time.Time {
		return base.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, name)) * time.Second)
	}
	r := keeper.Revocation{Until: at("until"), Why: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "why")}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		r.Session = rapid.SampledFrom([]string{"s", "t"}).Draw(t, "session")
	case 1:
		r.Subject, r.Before = rapid.SampledFrom([]string{"s", "t"}).Draw(t, "subject"), at("before")
	default:
		r.All, r.Before = true, at("before")
	}
	return r
})

func sorted(k *keeper.Keeper) []keeper.Revocation {
	all := k.Revocations()
	slices.SortFunc(all, func(a, b keeper.Revocation) int {
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Subject, b.Subject))
	})
	return all
}

// Nodes that have heard of the same revocations, in any order, in any portions
// and as often as it pleases, have the same list; also by way of each other.
func TestMergeConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOfN(revocations, 1, 12).Draw(rt, "list")
		a, b, c := start(t, keeper.Config{}, keeper.Parts{}), start(t, keeper.Config{}, keeper.Parts{}), start(t, keeper.Config{}, keeper.Parts{})
		defer a.Close()
		defer b.Close()
		defer c.Close()
		a.Merge(list)
		for _, r := range rapid.Permutation(append(list, list...)).Draw(rt, "order") {
			c.Merge(b.Merge([]keeper.Revocation{r})) // c hears only what was new for b
		}
		if got, want := fmt.Sprint(sorted(b)), fmt.Sprint(sorted(a)); got != want {
			rt.Fatalf("one by one: %s\nat once: %s", got, want)
		}
		if got, want := fmt.Sprint(sorted(c)), fmt.Sprint(sorted(a)); got != want {
			rt.Fatalf("by another node: %s\nat once: %s", got, want)
		}
		if news := a.Merge(b.Revocations()); len(news) > 0 {
			rt.Fatalf("%+v is news though the lists are the same", news)
		}
	})
}

func TestJournalFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "revocations.jsonl")
	run := func() *keeper.Keeper { return start(t, keeper.Config{}, keeper.Parts{Journal: keeper.NewFile(path)}) }
	k := run()
	_, cred := begin(t, k, "anna")
	revoke(t, k, keeper.Revocation{Subject: "anna", Why: "line\nbreak"})
	if b, err := os.ReadFile(path); err != nil || strings.Count(string(b), "\n") != 1 {
		t.Fatalf("the file is %q, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("rights %v, %v", info.Mode(), err)
	}
	k.Merge([]keeper.Revocation{{Session: "far", Until: time.Now().Add(time.Hour)}})
	k.Close() // which saves what was merged
	// The machine went down while a line was written.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"session":"half`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	k = run()
	if n := len(k.Revocations()); n != 2 {
		t.Errorf("%d revocations after a restart, want 2", n)
	}
	_, err = k.Open(t.Context(), cred)
	wantReason(t, err, "revoked")
	revoke(t, k, keeper.Revocation{Session: "one more"})
	k.Close()
	if n := len(run().Revocations()); n != 3 {
		t.Errorf("%d revocations after two restarts, want 3", n)
	}
}

// TestJournalIsWrittenAnew revokes the same again and again.
func TestJournalIsWrittenAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "revocations.jsonl")
	f := keeper.NewFile(path)
	until := time.Now().Add(time.Hour)
	all := func() []keeper.Revocation { return []keeper.Revocation{{Session: "a", Until: until}} }
	batch := slices.Repeat(all(), 100)
	for range 50 {
		if err := f.Append(t.Context(), batch, all); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if n := strings.Count(string(b), "\n"); err != nil || n > 1100 {
		t.Errorf("%d lines for one revocation, %v", n, err)
	}
	if list, err := f.Load(t.Context()); err != nil || len(list) == 0 {
		t.Errorf("%d, %v", len(list), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// bad is a journal that fails as it is told.
type bad struct {
	load, append error
	list         []keeper.Revocation
}

func (b *bad) Load(context.Context) ([]keeper.Revocation, error) {
	if err := b.load; err != nil {
		b.load = nil
		return nil, err
	}
	return b.list, nil
}

func (b *bad) Append(context.Context, []keeper.Revocation, func() []keeper.Revocation) error {
	return b.append
}

func TestJournalFails(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	if _, err := keeper.New(t.Context(), keeper.Config{}, keeper.Parts{Codec: plain{}, Journal: &bad{load: full}}); !errors.Is(err, full) {
		t.Errorf("began without its revocations: %v", err)
	}
	k := start(t, keeper.Config{}, keeper.Parts{Journal: &bad{append: full}})
	err := k.Revoke(t.Context(), keeper.Revocation{Session: "a"})
	if wantCode(t, err, message.CodeInternal); !errors.Is(err, full) || !k.Revoked(&session.Session{ID: "a"}) {
		t.Errorf("error %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		j := &bad{load: keeper.ErrLater, list: []keeper.Revocation{{Session: "a", Until: time.Now().Add(time.Hour)}}}
		k := start(t, keeper.Config{}, keeper.Parts{Journal: j})
		if len(k.Revocations()) > 0 {
			t.Error("read too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(k.Revocations()) != 1 {
			t.Error("not read later")
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"session":"a","until":"2100-01-01T00:00:00Z"}` + "\n{\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "j")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j := keeper.NewFile(path)
		list, err := j.Load(t.Context())
		if err != nil {
			return // times that JSON has no words for
		}
		again, err := j.Load(t.Context())
		if err != nil || len(again) != len(list) {
			t.Fatalf("%d lines, then %d, %v", len(list), len(again), err)
		}
	})
}

func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{})
	s, word := begin(t, k, "anna")
	revoke(t, k, keeper.Revocation{Subject: "bob"})
	revoke(t, k, keeper.Revocation{Session: "another"})
	revoke(t, k, keeper.Revocation{All: true, Before: time.Now().Add(-time.Hour)})
	now := time.Now()
	ctx := t.Context()
	most := map[string]float64{"Open of a session in memory": 1} // its id
	for what, f := range map[string]func(){
		"Revoked": func() {
			if k.Revoked(s) {
				t.Error("revoked")
			}
		},
		"Open of a session in memory": func() {
			if _, err := k.Open(ctx, word); err != nil {
				t.Error(err)
			}
		},
		"Stale": func() { k.Stale(s, now) },
		"Touch that is too early": func() {
			if _, _, err := k.Touch(ctx, s); err != nil {
				t.Error(err)
			}
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n > most[what] {
			t.Errorf("%s: %v allocations, want %v", what, n, most[what])
		}
	}
}

func BenchmarkRevoked(b *testing.B) {
	k := start(b, keeper.Config{}, keeper.Parts{})
	list := make([]keeper.Revocation, 100_000)
	for i := range list {
		list[i] = keeper.Revocation{Session: session.NewID(), Until: time.Now().Add(time.Hour)}
	}
	k.Merge(list)
	s, _ := begin(b, k, "anna")
	b.ReportAllocs()
	for b.Loop() {
		k.Revoked(s)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := start(b, keeper.Config{Form: keeper.FormServer}, keeper.Parts{})
	_, word := begin(b, k, "anna")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(b.Context(), word); err != nil {
			b.Fatal(err)
		}
	}
}
