package keeper

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
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

// Who is to lose all sessions loses them, however many others log out.
func TestFullListHasRoomForSubjects(t *testing.T) {
	t.Parallel()
	l := list{max: 20, marks: make(map[name]mark)}
	now := time.Now()
	until := now.Add(time.Hour)
	for range 20 {
		l.add([]Revocation{{Session: session.NewID(), Until: until}}, now)
	}
	if n := len(l.all()); n != 18 {
		t.Errorf("%d sessions are in the list", n)
	}
	news, left := l.add([]Revocation{{Subject: "eve", Before: now, Until: until}, {All: true, Before: now, Until: until}}, now)
	if len(news) != 2 || left != 0 {
		t.Errorf("%d were taken, %d were not", len(news), left)
	}
}
