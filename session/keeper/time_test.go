package keeper_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

func TestSliding(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{Idle: seconds(100), Limit: seconds(1000), Lifetime: seconds(500)}, func(t *testing.T, k *keeper.Keeper) {
		s, cred := begin(t, k, "anna")
		writes := 0
		use := func(d time.Duration) {
			t.Helper()
			time.Sleep(d)
			next, c, err := k.Touch(t.Context(), s)
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(s.Since), err)
			}
			if next != s {
				writes++
			}
			if c != "" {
				cred = c
			}
			s = next
		}
		for range 99 {
			use(time.Second)
		}
		if writes > 10 || writes < 8 {
			t.Errorf("%d writes in an idle time, want 10 at most", writes)
		}
		for range 10 {
			use(89 * time.Second)
		}
		if at := s.Since.Add(1000 * time.Second); !s.Expires.Equal(at) {
			t.Errorf("expires %v after it began, want its limit", s.Expires.Sub(s.Since))
		}
		time.Sleep(5 * time.Second)
		if next, c, err := k.Refresh(t.Context(), s); err != nil || next.Expires.After(s.Expires) || c != "" {
			t.Errorf("refreshed beyond the limit: %v, %v", next, err)
		}
		time.Sleep(6 * time.Second)
		if _, err := k.Open(t.Context(), cred); err == nil {
			t.Error("open beyond its limit")
		}
		if _, _, err := k.Refresh(t.Context(), s); err == nil {
			t.Error("refreshed after its end")
		}
		if _, _, err := k.Change(t.Context(), s, session.Patch{Set: session.Claims{"a": 1.0}}); err == nil {
			t.Error("changed after its end")
		}
	})
}

func TestIdleOfASession(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, _ := begin(t, k, "anna")
		s, _, err := k.Change(t.Context(), s, session.Patch{Idle: 10})
		if err != nil || s.Idle != 10*time.Second || time.Until(s.Expires) != 10*time.Second {
			t.Fatalf("idle %v, expires in %v, %v", s.Idle, time.Until(s.Expires), err)
		}
		if k.Stale(s, time.Now()) || !k.Stale(s, time.Now().Add(time.Second)) {
			t.Error("Stale does not know when a use is worth telling")
		}
		_, _, err = k.Change(t.Context(), s, session.Patch{Idle: 1e300})
		wantCode(t, err, message.CodeInvalidInput)
		_, _, err = k.Change(t.Context(), s, session.Patch{Idle: -1})
		wantCode(t, err, message.CodeInvalidInput)
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{Lifetime: seconds(100), Idle: 0}, func(t *testing.T, k *keeper.Keeper) {
		s, old := begin(t, k, "anna")
		time.Sleep(50 * time.Second)
		next, cred, err := k.Refresh(t.Context(), s)
		if err != nil || !next.Expires.After(s.Expires) || next.ID != s.ID || (cred == "") != s.Held {
			t.Fatalf("refreshed %v with %q, %v", next, cred, err)
		}
		if err := k.Revoke(t.Context(), keeper.Revocation{Session: s.ID}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []string{old, cred} { // replay of a rotated token, too
			if _, err := k.Open(t.Context(), c); err == nil {
				t.Error("a revoked session was opened")
			}
		}
		if _, _, err := k.Refresh(t.Context(), next); err == nil {
			t.Error("a revoked session was refreshed")
		}
		if got, c, err := k.Refresh(t.Context(), session.Anonymous()); err != nil || c != "" || !got.Anonymous() {
			t.Error("nobody's session was refreshed")
		}
	})
}

// TestTokensEndAtTheLimit opens tokens that say that they are good for longer than
// the limit: a revocation is remembered for as long as that alone.
func TestTokensEndAtTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := start(t, keeper.Config{Lifetime: seconds(100), Limit: seconds(1000)}, keeper.Parts{})
		s := session.New("anna", nil, nil)
		s.Expires = s.Since.Add(365 * 24 * time.Hour)
		year, err := plain{}.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open(t.Context(), year)
		if err != nil || got.Ends().Sub(got.Since) > 1000*time.Second {
			t.Fatalf("it ends after %v: %v", got.Ends().Sub(got.Since), err)
		}
		if err := k.Revoke(t.Context(), keeper.Revocation{Subject: "anna"}); err != nil {
			t.Fatal(err)
		}
		_, err = k.Open(t.Context(), year)
		wantReason(t, err, "revoked")
		time.Sleep(time.Hour)
		if n := len(k.Revocations()); n != 0 {
			t.Fatalf("%d revocations are still remembered", n)
		}
		_, err = k.Open(t.Context(), year)
		wantReason(t, err, "expired")
	})
}

// TestShorterLimit lowers the limit: what the nodes keep ends by it, too.
func TestShorterLimit(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{Lifetime: seconds(5000), Idle: seconds(5000), Limit: seconds(10_000)}, func(t *testing.T, k *keeper.Keeper) {
		_, cred := begin(t, k, "anna")
		cfg := k.Config()
		cfg.Lifetime, cfg.Idle, cfg.Limit = seconds(100), seconds(100), seconds(1000)
		if err := k.Configure(cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(t.Context(), cred); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Second)
		_, err := k.Open(t.Context(), cred)
		wantReason(t, err, "expired")
	})
}

// TestRenew has somebody prove again who they are: a thief who has the credential
// of before has nothing of it, nor that one any more.
func TestRenew(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, stolen := begin(t, k, "anna")
		next, cred, err := k.Change(t.Context(), s, session.Patch{Subject: new("anna"), Renew: true, Set: session.Claims{"fresh": true}})
		if err != nil || next.ID == s.ID || cred == "" || next.Public["role"] != "editor" {
			t.Fatalf("%+v, %v", next, err)
		}
		if got, err := k.Open(t.Context(), stolen); err == nil {
			t.Errorf("the old credential opens %+v", got)
		}
		if got, err := k.Open(t.Context(), cred); err != nil || got.Public["fresh"] != true {
			t.Error(got, err)
		}
	})
}
