package session_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/session"
)

func TestApply(t *testing.T) {
	t.Parallel()
	s := session.New("anna", session.Claims{"a": 1.0, "b": 2.0}, session.Claims{"c": 3.0})
	s.Limit = time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		patch          session.Patch
		public, secret session.Claims
	}{
		"ok":               {session.Patch{Set: session.Claims{"d": 4.0}}, session.Claims{"a": 1.0, "b": 2.0, "d": 4.0}, session.Claims{"c": 3.0}},
		"replace":          {session.Patch{Set: session.Claims{"a": 4.0}}, session.Claims{"a": 4.0, "b": 2.0}, session.Claims{"c": 3.0}},
		"delete":           {session.Patch{Delete: []string{"a", "c", "x"}}, session.Claims{"b": 2.0}, session.Claims{}},
		"to secret":        {session.Patch{Secret: session.Claims{"a": 1.0}}, session.Claims{"b": 2.0}, session.Claims{"a": 1.0, "c": 3.0}},
		"to public":        {session.Patch{Set: session.Claims{"c": 1.0}}, session.Claims{"a": 1.0, "b": 2.0, "c": 1.0}, session.Claims{}},
		"delete, set":      {session.Patch{Delete: []string{"a"}, Set: session.Claims{"a": 9.0}}, session.Claims{"a": 9.0, "b": 2.0}, session.Claims{"c": 3.0}},
		"same subject":     {session.Patch{Subject: new("anna")}, session.Claims{"a": 1.0, "b": 2.0}, session.Claims{"c": 3.0}},
		"end is no matter": {session.Patch{End: true}, session.Claims{"a": 1.0, "b": 2.0}, session.Claims{"c": 3.0}},
	} {
		before := fmt.Sprint(s.Public, s.Secret)
		got, err := c.patch.Apply(s)
		if err != nil || fmt.Sprint(got.Public, got.Secret) != fmt.Sprint(c.public, c.secret) {
			t.Errorf("%s: %v, %v, %v", name, got.Public, got.Secret, err)
		}
		if got.ID != s.ID || got.Subject != "anna" || !got.Limit.Equal(s.Limit) || !got.Since.Equal(s.Since) {
			t.Errorf("%s: became %+v", name, got)
		}
		if fmt.Sprint(s.Public, s.Secret) != before {
			t.Fatalf("%s: changed what it was applied to: %v", name, s)
		}
	}
}

func TestApplySubject(t *testing.T) {
	t.Parallel()
	guest, err := session.Patch{Set: session.Claims{"cart": 3.0}}.Apply(session.Anonymous())
	if err != nil || guest.Anonymous() || guest.Authenticated() || guest.Since.IsZero() {
		t.Fatalf("%+v, %v", guest, err)
	}
	guest.Limit, guest.Issuer, guest.Idle = time.Now().Add(time.Minute), "them", time.Minute
	anna, err := session.Patch{Subject: new("anna"), Secret: session.Claims{"pin": 1.0}}.Apply(guest)
	if err != nil || anna.ID == guest.ID || anna.Subject != "anna" || anna.Issuer != "" || !anna.Limit.IsZero() ||
		anna.Public["cart"] != 3.0 || anna.Idle != time.Minute {
		t.Errorf("logged in as %+v, %v", anna, err)
	}
	for name, subject := range map[string]string{"somebody else": "bob", "nobody": ""} {
		next, err := session.Patch{Subject: &subject, Set: session.Claims{"x": 1.0}}.Apply(anna)
		if err != nil || next.ID == anna.ID || next.Subject != subject || len(next.Secret) > 0 || len(next.Public) != 1 {
			t.Errorf("%s: %+v, %v", name, next, err)
		}
	}
}

func TestApplyRenew(t *testing.T) {
	t.Parallel()
	s := session.New("anna", session.Claims{"a": 1.0}, session.Claims{"b": 2.0})
	s.Since, s.Limit, s.Held = s.Since.Add(-time.Hour), time.Now().Add(time.Minute), true
	for name, p := range map[string]session.Patch{"ok": {Renew: true}, "logged in again": {Renew: true, Subject: new("anna")}} {
		got, err := p.Apply(s)
		if err != nil || got.ID == s.ID || got.Subject != "anna" || !got.Since.After(s.Since) || !got.Limit.IsZero() || !got.Held ||
			got.Public["a"] != 1.0 || got.Secret["b"] != 2.0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	guest := session.New("", nil, nil)
	if got, err := (session.Patch{Renew: true}).Apply(guest); err != nil || got.ID != guest.ID {
		t.Errorf("nobody in particular became %+v, %v", got, err)
	}
}

func TestApplyBounds(t *testing.T) {
	t.Parallel()
	s := session.New("anna", nil, nil)
	for name, p := range map[string]session.Patch{
		"idle":       {Idle: math.MaxFloat64},
		"past":       {Idle: -1},
		"deep":       {Set: session.Claims{"a": nested(session.MaxDepth)}},
		"deep below": {Secret: session.Claims{"a": nested(session.MaxDepth)}},
		"both":       {Set: session.Claims{"": 1.0}},
	} {
		got, err := p.Apply(s)
		if tooMuch(t, name, err); got != nil {
			t.Errorf("%s: there is a session", name)
		}
	}
	if got, err := (session.Patch{Idle: 1.5}).Apply(s); err != nil || got.Idle != 1500*time.Millisecond {
		t.Errorf("idle %v, %v", got.Idle, err)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	if p := (session.Patch{Set: session.Claims{}}); !p.Empty() {
		t.Error("nothing is something")
	}
	for _, p := range []session.Patch{
		{Subject: new("")}, {Renew: true}, {Set: session.Claims{"a": nil}}, {Secret: session.Claims{"a": nil}}, {Delete: []string{"a"}}, {Idle: 1}, {End: true},
	} {
		if p.Empty() {
			t.Errorf("%+v is nothing", p)
		}
	}
}

var claims = rapid.Custom(func(t *rapid.T) session.Claims {
	return rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.Map(rapid.IntRange(0, 9), func(n int) any { return float64(n) })).Draw(t, "claims")
})

var patches = rapid.Custom(func(t *rapid.T) session.Patch {
	p := session.Patch{
		Set: claims.Draw(t, "set"), Secret: claims.Draw(t, "secret"), Idle: float64(rapid.IntRange(0, 3).Draw(t, "idle")),
		Delete: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2).Draw(t, "delete"),
	}
	for name := range p.Set { // which of the two wins is not defined
		delete(p.Secret, name)
	}
	return p
})

// Two patches that are merged do what they do one after the other.
func TestMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, q := patches.Draw(t, "p"), patches.Draw(t, "q")
		s := session.New("anna", session.Claims{"a": -1.0}, session.Claims{"b": -1.0})
		one, err := p.Apply(s)
		if err != nil {
			t.Fatal(err)
		}
		if one, err = q.Apply(one); err != nil {
			t.Fatal(err)
		}
		both := session.Patch{Set: maps.Clone(p.Set), Secret: maps.Clone(p.Secret), Delete: p.Delete, Idle: p.Idle}
		both.Merge(q)
		two, err := both.Apply(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(two.Public, two.Secret, two.Idle), fmt.Sprint(one.Public, one.Secret, one.Idle); got != want {
			t.Fatalf("merged: %s\none after the other: %s", got, want)
		}
	})
}

func TestMergeSubject(t *testing.T) {
	t.Parallel()
	var p session.Patch
	p.Merge(session.Patch{Subject: new("anna")})
	p.Merge(session.Patch{Set: session.Claims{"a": 1.0}})
	p.Merge(session.Patch{End: true})
	if p.Subject == nil || *p.Subject != "anna" || p.Set["a"] != 1.0 || !p.End {
		t.Errorf("%+v", p)
	}
}

func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"subject":"anna","set":{"a":[1,{"b":null}]},"secret":{"c":"d"},"delete":["e"],"idle":5,"end":true}`))
	f.Add([]byte(`{"idle":1e400}`))
	f.Add([]byte(`{"subject":null,"set":{"":0}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p session.Patch
		if json.Unmarshal(b, &p) != nil {
			return
		}
		s := session.New("anna", session.Claims{"a": 1.0}, session.Claims{"c": 1.0})
		got, err := p.Apply(s)
		if err != nil {
			return
		}
		if err := got.Check(); err != nil {
			t.Fatalf("a patch gave a bad session: %v", err)
		}
		if got.Subject != s.Subject && (got.ID == s.ID) {
			t.Fatal("somebody else has the same id")
		}
	})
}
