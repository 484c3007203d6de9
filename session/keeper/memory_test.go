package keeper_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/keeper/keepertest"
)

func TestMemoryIsAStore(t *testing.T) {
	t.Parallel()
	keepertest.TestStore(t, func(*testing.T) (a, b keeper.Store) {
		m := keeper.NewMemory(0, 0)
		return m, m
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := keeper.NewMemory(0, 100_000)
	r := keepertest.Record("anna", time.Hour)
	r.Session.Public = session.Claims{"big": strings.Repeat("x", 10_000)}
	var first *keeper.Record
	n := 0
	for {
		r = keepertest.Record("anna", time.Hour)
		r.Session.Public = session.Claims{"big": strings.Repeat("x", 10_000)}
		got, err := m.Create(t.Context(), r)
		if errors.Is(err, keeper.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n++; first == nil {
			first = got
		}
	}
	if n != 9 {
		t.Errorf("%d sessions of 10 KB in 100 KB", n)
	}
	s := first.Session.Copy()
	s.Public = session.Claims{"big": strings.Repeat("x", 16_000)}
	if _, err := m.Update(t.Context(), &keeper.Record{Session: s}); !errors.Is(err, keeper.ErrFull) {
		t.Errorf("grown beyond the bytes: %v", err)
	}
	s.Public = session.Claims{"small": true}
	if _, err := m.Update(t.Context(), &keeper.Record{Session: s}); err != nil {
		t.Errorf("made smaller: %v", err)
	}
	if err := m.Delete(t.Context(), first.Session.ID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create(t.Context(), r); err != nil {
		t.Errorf("after one was deleted: %v", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	b, err := keepertest.Record("anna", time.Hour).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"id":"a","proof":"AA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := keeper.DecodeRecord(b, 7)
		if err != nil {
			return
		}
		if err := r.Session.Check(); err != nil || !r.Session.Held || r.Session.Revision != 7 {
			t.Fatalf("%+v, %v", r.Session, err)
		}
		b, err = r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := keeper.DecodeRecord(b, 7); err != nil || again.Session.ID != r.Session.ID || again.Proof != r.Proof {
			t.Fatalf("again %+v, %v", again, err)
		}
	})
}
