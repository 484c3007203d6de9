package keeper

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// TestFullList has no room for another revocation: who asks for one is told, and
// those that there are stay.
func TestFullList(t *testing.T) {
	t.Parallel()
	k, err := New(t.Context(), Config{Form: FormServer}, Parts{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	k.list.max = 2
	for _, id := range []string{"a", "b", "a"} {
		if err := k.Revoke(t.Context(), Revocation{Session: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Revoke(t.Context(), Revocation{Session: "c"}); message.CodeOf(err) != message.CodeOverloaded {
		t.Errorf("error %v, want that the list is full", err)
	}
	until := time.Now().Add(24 * time.Hour)
	news := k.Merge([]Revocation{{Session: "a", Until: until}, {Session: "d", Until: until}})
	if len(news) != 1 || news[0].Session != "a" || len(k.Revocations()) != 2 {
		t.Errorf("merged %+v into %+v", news, k.Revocations())
	}
}
