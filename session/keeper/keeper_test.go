package keeper_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// each runs a test with sessions of both forms, in a bubble.
func each(t *testing.T, cfg keeper.Config, f func(t *testing.T, k *keeper.Keeper)) {
	t.Helper()
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := cfg
				cfg.Form = form
				k := start(t, cfg, keeper.Parts{})
				f(t, k)
			})
		})
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, cred := begin(t, k, "anna")
		if s.Held != (k.Config().Form == keeper.FormServer) || keeper.Opaque(cred) != s.Held {
			t.Errorf("held %v, credential %.5s…", s.Held, cred)
		}
		got, err := k.Open(t.Context(), cred)
		if err != nil || got.Subject != "anna" || got.ID != s.ID || got.Public["role"] != "editor" || got.Secret["shard"] != 7.0 {
			t.Fatalf("opened %+v, %v", got, err)
		}
		next, cred2, err := k.Change(t.Context(), got, session.Patch{Set: session.Claims{"lang": "de"}, Delete: []string{"shard"}})
		if err != nil || next.ID != s.ID || (cred2 == "") != s.Held {
			t.Fatalf("changed to %+v with credential %q, %v", next, cred2, err)
		}
		if cred2 == "" {
			cred2 = cred
		}
		got, err = k.Open(t.Context(), cred2)
		if err != nil || got.Public["lang"] != "de" || len(got.Secret) != 0 {
			t.Fatalf("opened %+v, %v", got, err)
		}
		ended, cred3, err := k.Change(t.Context(), got, session.Patch{End: true})
		if err != nil || !ended.Anonymous() || cred3 != "" {
			t.Fatalf("ended as %+v, %v", ended, err)
		}
		_, err = k.Open(t.Context(), cred2)
		if s.Held {
			wantReason(t, err, "unknown")
		} else {
			wantReason(t, err, "revoked")
		}
		if !k.Revoked(got) {
			t.Error("connections that have it do not learn that it has ended")
		}
		if err := k.End(t.Context(), got); err != nil {
			t.Errorf("ended twice: %v", err)
		}
		if err := k.End(t.Context(), session.Anonymous()); err != nil {
			t.Errorf("ended nobody's: %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		_, cred := begin(t, k, "anna")
		for name, c := range map[string]struct{ credential, reason string }{
			"nothing":   {"", "malformed"},
			"no token":  {"t.%%%", "malformed"},
			"short":     {"rws_abc", "malformed"},
			"long":      {"rws_" + strings.Repeat("a", 1<<20), "malformed"},
			"made up":   {"rws_" + strings.Repeat("a", 43), "unknown"},
			"with more": {"rws_" + strings.Repeat("a", 43) + "=", "malformed"},
		} {
			if _, err := k.Open(t.Context(), c.credential); err == nil {
				t.Errorf("%s was taken", name)
			} else {
				wantReason(t, err, c.reason)
			}
		}
		time.Sleep(k.Config().MaxAge())
		_, err := k.Open(t.Context(), cred)
		if k.Config().Form == keeper.FormServer {
			wantReason(t, err, "unknown")
		} else {
			wantReason(t, err, "expired")
		}
	})
}

// TestFixation logs in on a session that an attacker knows: the attacker is not
// logged in, whatever the form, and his credential is worth nothing.
func TestFixation(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		guest, planted, err := k.Change(t.Context(), session.Anonymous(), session.Patch{Set: session.Claims{"cart": 3.0}})
		if err != nil || guest.Authenticated() || guest.Anonymous() {
			t.Fatalf("guest %+v, %v", guest, err)
		}
		anna, cred, err := k.Change(t.Context(), guest, session.Patch{Subject: new("anna"), Secret: session.Claims{"shard": 1.0}})
		if err != nil || anna.Subject != "anna" || anna.ID == guest.ID || cred == "" || cred == planted || anna.Public["cart"] != 3.0 {
			t.Fatalf("logged in as %+v, %v", anna, err)
		}
		if s, err := k.Open(t.Context(), planted); err == nil {
			t.Fatalf("the planted credential opens %+v", s)
		}
		if _, _, err := k.Change(t.Context(), guest, session.Patch{Set: session.Claims{"x": 1.0}}); err == nil {
			t.Error("the planted session was changed")
		}
		if _, _, err := k.Refresh(t.Context(), guest); err == nil {
			t.Error("the planted session was refreshed")
		}
		// Somebody else logs in on the same connection: nothing of anna is left.
		bob, cred2, err := k.Change(t.Context(), anna, session.Patch{Subject: new("bob"), Set: session.Claims{"lang": "de"}})
		if err != nil || bob.Subject != "bob" || len(bob.Secret) > 0 || len(bob.Public) != 1 || cred2 == "" {
			t.Fatalf("logged in as %+v, %v", bob, err)
		}
		if _, err := k.Open(t.Context(), cred); err == nil {
			t.Error("anna's credential is still good")
		}
		out, cred3, err := k.Change(t.Context(), bob, session.Patch{Subject: new("")})
		if err != nil || out.Authenticated() || len(out.Public) > 0 || cred3 == "" {
			t.Fatalf("logged out as %+v, %v", out, err)
		}
		if _, err := k.Open(t.Context(), cred2); err == nil {
			t.Error("bob's credential is still good")
		}
		if _, err := k.Open(t.Context(), cred3); err != nil {
			t.Error(err)
		}
	})
}

// TestOtherIssuer has a session of a token that another issuer has made: what
// it said of the end holds, however it goes on here.
func TestOtherIssuer(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		end := time.Now().Add(5 * time.Minute)
		token, _ := plain{}.Encode(&session.Session{
			ID: "theirs", Subject: "idp|anna", Issuer: "https://idp", Since: time.Now(), Expires: end, Limit: time.UnixMilli(0),
		})
		s, err := k.Open(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		next, cred, err := k.Change(t.Context(), s, session.Patch{Set: session.Claims{"lang": "de"}})
		if err != nil || cred == "" || next.Expires.After(end) || next.Issuer != "https://idp" {
			t.Fatalf("changed to %+v, %v", next, err)
		}
		time.Sleep(4 * time.Minute)
		if next, _, err = k.Refresh(t.Context(), next); err != nil || next.Expires.After(end) {
			t.Errorf("refreshed to %v, %v", next.Expires, err)
		}
		time.Sleep(time.Minute)
		if _, err := k.Open(t.Context(), cred); err == nil {
			t.Error("open after the end that its issuer gave it")
		}
	})
}

// TestConcurrentChanges changes one held session over many connections at once:
// no change is lost.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	store := keeper.NewMemory(0, 0)
	nodes := []*keeper.Keeper{
		start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: store}),
		start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: store}),
	}
	s, cred := begin(t, nodes[0], "anna")
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			next, _, err := nodes[i%2].Change(t.Context(), s, session.Patch{Set: session.Claims{fmt.Sprint("c", i): float64(i)}})
			if err != nil || next.Public[fmt.Sprint("c", i)] != float64(i) {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	got, err := nodes[1].Open(t.Context(), cred)
	if err != nil || len(got.Public) != n+1 {
		t.Errorf("%d claims, %v", len(got.Public), err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		var first *session.Session
		for i := range 5 {
			s, _ := begin(t, k, []string{"anna", "bob"}[i%2])
			defer k.Track(s, func(keeper.Event) {}).Stop()
			if i == 0 {
				first = s
			}
			time.Sleep(time.Second)
		}
		for name, c := range map[string]struct {
			filter keeper.Filter
			want   int
		}{
			"all": {keeper.Filter{}, 5}, "of anna": {keeper.Filter{Subject: "anna"}, 3}, "of nobody": {keeper.Filter{Subject: "x"}, 0},
			"one": {keeper.Filter{Session: first.ID}, 1}, "no such": {keeper.Filter{Session: "x"}, 0}, "few": {keeper.Filter{Limit: 2}, 2},
		} {
			list, err := k.List(t.Context(), c.filter)
			if err != nil || len(list) != c.want {
				t.Errorf("%s: %d sessions, %v, want %d", name, len(list), err, c.want)
			}
		}
		list, _ := k.List(t.Context(), keeper.Filter{})
		if list[0].ID != first.ID || list[0].Held != first.Held || list[0].Public["role"] != "editor" {
			t.Errorf("first is %+v", list[0])
		}
		if err := k.Revoke(t.Context(), keeper.Revocation{Subject: "anna"}); err != nil {
			t.Fatal(err)
		}
		if list, _ := k.List(t.Context(), keeper.Filter{}); len(list) != 2 {
			t.Errorf("%d sessions after a log-out everywhere, want 2", len(list))
		}
	})
}

// TestProof has a record with the right id and the proof of another word.
func TestProof(t *testing.T) {
	t.Parallel()
	store := keeper.NewMemory(0, 0)
	k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: store})
	s, word := begin(t, k, "anna")
	r, err := store.Get(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Update(t.Context(), &keeper.Record{Session: r.Session, Proof: [32]byte{1}}); err != nil {
		t.Fatal(err)
	}
	_, err = k.Open(t.Context(), word)
	wantReason(t, err, "unknown")
	b, err := r.Encode()
	if err != nil || strings.Contains(string(b), word[4:]) {
		t.Errorf("the store has the word of the client: %s, %v", b, err)
	}
}
