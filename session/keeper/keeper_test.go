package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ropewalk/ropewalk/message"
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

func TestBounds(t *testing.T) {
	t.Parallel()
	each(t, keeper.Config{}, func(t *testing.T, k *keeper.Keeper) {
		s, cred := begin(t, k, "anna")
		big := session.Claims{"big": strings.Repeat("x", session.MaxSize)}
		_, _, err := k.Change(t.Context(), s, session.Patch{Set: big})
		wantCode(t, err, message.CodeInvalidInput)
		_, _, err = k.Begin(t.Context(), session.New("bob", big, nil))
		wantCode(t, err, message.CodeInvalidInput)
		if got, err := k.Open(t.Context(), cred); err != nil || len(got.Public) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestFullStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: keeper.NewMemory(3, 0)})
		for range 3 {
			begin(t, k, "anna")
		}
		_, _, err := k.Begin(t.Context(), session.New("bob", nil, nil))
		wantCode(t, err, message.CodeOverloaded)
		time.Sleep(time.Hour)
		begin(t, k, "bob")
	})
}

// broken is a store that is out of reach.
type broken struct{ keeper.Store }

var errBroken = errors.New("the disk has a hole at secret-place")

func (broken) Get(context.Context, string) (*keeper.Record, error) { return nil, errBroken }

func (broken) Create(context.Context, *keeper.Record) (*keeper.Record, error) { return nil, errBroken }

func (broken) Delete(context.Context, string, uint64) error { return errBroken }

func (broken) All(context.Context) iter.Seq2[*keeper.Record, error] {
	return func(yield func(*keeper.Record, error) bool) { yield(nil, errBroken) }
}

func TestStoreOutOfReach(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	k := start(t, keeper.Config{Form: keeper.FormServer}, keeper.Parts{Store: broken{}, Registry: reg})
	_, _, err := k.Begin(t.Context(), session.New("anna", nil, nil))
	wantCode(t, err, message.CodeServiceDown)
	if b := message.AppendError(nil, errAs(err)); strings.Contains(string(b), "secret-place") {
		t.Errorf("the client sees %s", b)
	}
	_, err = k.Open(t.Context(), "rws_"+strings.Repeat("a", 43))
	wantCode(t, err, message.CodeServiceDown)
	_, err = k.List(t.Context(), keeper.Filter{})
	wantCode(t, err, message.CodeServiceDown)
	// A log-out counts although the store does not hear of it.
	s := &session.Session{ID: "a", Held: true}
	if err := k.End(t.Context(), s); err != nil || !k.Revoked(s) {
		t.Errorf("not ended: %v", err)
	}
	if got := testutil.ToFloat64(gather(t, reg, "ropewalk_session_store_errors_total")); got != 3 {
		t.Errorf("%v store errors, want 3", got)
	}
}

func errAs(err error) *message.Error {
	var e *message.Error
	errors.As(err, &e)
	return e
}

// gather returns a metric of a registry as a collector of its own.
func gather(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x", Help: "X."})
			g.Set(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			return g
		}
	}
	t.Fatalf("there is no metric %s", name)
	return nil
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
