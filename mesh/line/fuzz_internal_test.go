package line

import (
	"bytes"
	"testing"
)

// FuzzGreeting throws messages at who accepts, before he knows who is there: only
// who knows the key gets through, whatever is said.
func FuzzGreeting(f *testing.F) {
	self, other := id{1}, id{2}
	key := []byte("a key")
	good := greeting{dialer: other, accepter: self, dialed: nonce{3}}
	f.Add(good.hello(), good.challenge(), good.proof(key, dials))
	f.Add(good.hello(), good.challenge(), good.proof([]byte{}, dials))
	f.Add(good.hello(), good.challenge(), good.proof(key, accepts))
	f.Add([]byte{kindHello}, []byte{kindChallenge}, []byte{kindProof})
	f.Fuzz(func(t *testing.T, hello, challenge, proof []byte) {
		var g greeting
		if err := g.readHello(hello, self); err == nil {
			if g.accepter != self || g.dialer == self || !bytes.Equal(g.hello(), hello) {
				t.Fatalf("took the hello %q", hello)
			}
		}
		c := g
		if c.readChallenge(challenge) == nil && !bytes.Equal(c.challenge(), challenge) {
			t.Fatalf("took the challenge %q", challenge)
		}
		g.accepted = newNonce() // what it was proved for before is another one
		for _, side := range []string{dials, accepts} {
			if g.proves(key, side, proof) == nil {
				t.Fatalf("took the proof %q", proof)
			}
			if err := g.proves(key, side, g.proof(key, side)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A proof is one for one side, of one greeting, with one key.
func TestProof(t *testing.T) {
	t.Parallel()
	key := []byte("a key")
	base := greeting{dialer: id{1}, accepter: id{2}, dialed: nonce{3}, accepted: nonce{4}}
	proof := base.proof(key, dials)
	if err := base.proves(key, dials, proof); err != nil {
		t.Fatal(err)
	}
	others := map[string]greeting{
		"dialer": {id{9}, base.accepter, base.dialed, base.accepted, ""}, "accepter": {base.dialer, id{9}, base.dialed, base.accepted, ""},
		"nonce of who dials":   {base.dialer, base.accepter, nonce{9}, base.accepted, ""},
		"nonce of who accepts": {base.dialer, base.accepter, base.dialed, nonce{9}, ""},
		"turned round":         {base.accepter, base.dialer, base.accepted, base.dialed, ""},
		"word":                 {base.dialer, base.accepter, base.dialed, base.accepted, "x"},
	}
	for name, g := range others {
		if g.proves(key, dials, proof) == nil {
			t.Errorf("it holds with another %s", name)
		}
	}
	for name, k := range map[string][]byte{
		"key": []byte("b key"), "longer key": []byte("a key."), "key, which is empty,": {},
	} {
		if base.proves(k, dials, proof) == nil {
			t.Errorf("it holds with another %s", name)
		}
	}
	if base.proves(key, accepts, proof) == nil {
		t.Error("it holds for the other side")
	}
}
