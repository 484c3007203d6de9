package keeper_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
)

var _ keeper.Codec = (*token.Codec)(nil)

// TestWithTokens has the life of a session in real tokens.
func TestWithTokens(t *testing.T) {
	t.Parallel()
	codec, err := token.New(token.Config{Secret: strings.Repeat("not a secret ", 3)}, token.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(codec.Close)
	k := start(t, keeper.Config{Lifetime: seconds(600), Idle: seconds(300)}, keeper.Parts{Codec: codec})
	other := start(t, keeper.Config{}, keeper.Parts{Codec: codec}) // a reconnect to another node
	guest, first, err := k.Change(t.Context(), session.Anonymous(), session.Patch{Set: session.Claims{"cart": 3.0}})
	if err != nil {
		t.Fatal(err)
	}
	anna, tok, err := k.Change(t.Context(), guest, session.Patch{Subject: new("anna"), Secret: session.Claims{"pin": "planted-secret"}})
	if err != nil || strings.Contains(tok, "planted-secret") {
		t.Fatal(err)
	}
	other.Merge(k.Revocations())
	_, err = other.Open(t.Context(), first)
	wantReason(t, err, "revoked")
	s, err := other.Open(t.Context(), tok)
	if err != nil || s.ID != anna.ID || s.Secret["pin"] != "planted-secret" || s.Idle != anna.Idle ||
		s.Limit.UnixMilli() != anna.Limit.UnixMilli() || s.Since.UnixMilli() != anna.Since.UnixMilli() {
		t.Fatalf("opened %+v of %+v, %v", s, anna, err)
	}
	if s, _, err = other.Change(t.Context(), s, session.Patch{Delete: []string{"pin"}}); err != nil || len(s.Secret) > 0 {
		t.Errorf("%v, %v", s, err)
	}
	for range 5 { // out and in again at once, without waiting for the clock
		revoke(t, k, keeper.Revocation{Subject: "anna"})
		_, err = k.Open(t.Context(), tok)
		wantReason(t, err, "revoked")
		if _, tok = begin(t, k, "anna"); tok == "" {
			t.Fatal("there is no token")
		}
		if _, err := k.Open(t.Context(), tok); err != nil {
			t.Fatalf("logged in again: %v", err)
		}
	}
	_, err = k.Open(t.Context(), tok[:len(tok)-3]+"abc")
	wantReason(t, err, "signature")
}
