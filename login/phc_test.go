package login_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/ropewalk/ropewalk/login"
)

// Test vectors of the reference implementation of Argon2.
const (
	vectorID = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	vectorI  = "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"
)

func TestParseHash(t *testing.T) {
	t.Parallel()
	old, _ := bcrypt.GenerateFromPassword([]byte("password"), bcrypt.MinCost)
	for _, c := range []struct {
		name, text, kind string
	}{
		{"argon2id", vectorID, login.KindArgon2id},
		{"argon2i", vectorI, login.KindArgon2i},
		{"bcrypt", string(old), login.KindBcrypt},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := login.ParseHash(c.text)
			if err != nil || h.Kind != c.kind || h.Text() != c.text {
				t.Fatalf("%v, %v", h, err)
			}
			if !h.Matches("password") || h.Matches("Password") || h.Matches("") {
				t.Error("it takes another password than its own")
			}
			if !h.Weaker(login.Params{Memory: 512, Passes: 2, Lanes: 1}) {
				t.Error("it is as good as one of today")
			}
			if s := fmt.Sprintf("%v %+v %#v %s", h, h, h, h); strings.Contains(s, "c29t") || strings.Contains(s, "105") {
				t.Errorf("it prints itself: %s", s)
			}
		})
	}
	for _, text := range []string{
		"", "$", "password", "$argon2id$", "$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		strings.Replace(vectorID, "v=19", "v=16", 1),
		strings.Replace(vectorID, "m=256", "m=4294967295", 1),
		strings.Replace(vectorID, "m=256", "m=0256", 1),
		strings.Replace(vectorID, "m=256", "m=-1", 1),
		strings.Replace(vectorID, "t=2", "t=0", 1),
		strings.Replace(vectorID, "t=2", "t=1000000", 1),
		strings.Replace(vectorID, "p=1", "p=255", 1),
		strings.Replace(vectorID, "p=1", "p=64", 1), // more lanes than the memory allows
		strings.Replace(vectorID, "m=256,t=2", "t=2,m=256", 1),
		strings.Replace(vectorID, "c29tZXNhbHQ", "c29t", 1),
		strings.Replace(vectorID, "c29tZXNhbHQ", "c29tZXNhbHQ=", 1),
		strings.Replace(vectorID, "c29tZXNhbHQ", "c29tZ\nXNhbHQ", 1),
		vectorID + "$", vectorID + "=", vectorID[:len(vectorID)-30],
		"$2a$31$" + string(old[7:]), "$2a$04$short", "$2", strings.Repeat("$2a$04$", 100),
	} {
		if h, err := login.ParseHash(text); err == nil {
			t.Errorf("%q is taken for %v", text, h)
		} else if len(text) > 10 && strings.Contains(err.Error(), text[5:]) {
			t.Errorf("the error shows it: %v", err)
		}
	}
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	a, b := login.HashPassword("e\u0301", login.Params{}), login.HashPassword("\u00e9", login.Params{})
	if a.Text() == b.Text() {
		t.Error("both have one salt")
	}
	if !a.Matches("\u00e9") || !b.Matches("e\u0301") {
		t.Error("an accent written in two ways makes two passwords")
	}
	if !strings.HasPrefix(a.Text(), "$argon2id$v=19$m=19456,t=2,p=1$") || a.Weaker(a.Params) {
		t.Errorf("the defaults are %+v", a.Params)
	}
	if (login.Hash{}).Matches("") {
		t.Error("nothing matches nothing")
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range []string{vectorID, vectorI, "", "$2a$04$abcdefghijklmnopqrstuuSbtQ9NNmyDDSJEDUHtcWjFNlk.vZ1qK", "$argon2id$v=19$m=8,t=1,p=1$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := login.ParseHash(text)
		if err != nil {
			return
		}
		if h.Text() != text {
			t.Errorf("%q is written as %q", text, h.Text())
		}
		p := h.Params
		if h.Kind != login.KindBcrypt && (p.Memory < 8*uint32(p.Lanes) || p.Memory > 1<<20 || p.Passes < 1 || p.Passes > 64) {
			t.Errorf("%q has %+v", text, p)
		}
	})
}
