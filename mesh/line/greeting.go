package line

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// Protocol is the sub-protocol of the WebSocket.
const Protocol = "ropewalk.mesh.v1"

// version is that of the greeting and of what follows it.
const version = 1

// The first byte of the messages of a greeting.
const (
	kindHello     = 'h' // version, id of who dials, id of who is dialed, nonce
	kindChallenge = 'c' // nonce
	kindProof     = 'p' // HMAC
)

const (
	idLen       = 16
	nonceLen    = 32
	helloLen    = 2 + 2*idLen + nonceLen
	maxGreeting = helloLen
)

// Sides of a line.
const (
	dials   = "dial"
	accepts = "accept"
)

var (
	errGreeting = errors.New("this is not the greeting of a node")
	errVersion  = errors.New("the other node speaks another version of the protocol")
	errOther    = errors.New("another node was meant")
	errSecret   = errors.New("the other side does not know the secret of this mesh")
)

type (
	id    [idLen]byte
	nonce [nonceLen]byte
)

func (i id) String() string { return hex.EncodeToString(i[:]) }

// parseID reads the id of a node.
func parseID(s string) (i id, err error) {
	if len(s) != 2*idLen {
		return i, errOther
	}
	_, err = hex.Decode(i[:], []byte(s))
	return i, err
}

func newNonce() (n nonce) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// greeting is what both sides have said.
type greeting struct {
	dialer, accepter id
	dialed, accepted nonce // of either

	word string // of who accepts: it is on his card, and never said on a line
}

// proof is what a side has to say to show that it knows the key.
func (g *greeting) proof(key []byte, side string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("ropewalk line v1 " + side + "\n"))
	h.Write([]byte(g.word + "\n"))
	h.Write(g.dialer[:])
	h.Write(g.accepter[:])
	h.Write(g.dialed[:])
	h.Write(g.accepted[:])
	return h.Sum([]byte{kindProof})
}

// proves compares what a side has said with what it should have, in constant time.
func (g *greeting) proves(key []byte, side string, said []byte) error {
	if len(said) != 1+sha256.Size || said[0] != kindProof {
		return errGreeting
	}
	if !hmac.Equal(said, g.proof(key, side)) {
		return errSecret
	}
	return nil
}

// hello is the first message, of who dials.
func (g *greeting) hello() []byte {
	b := append(make([]byte, 0, helloLen), kindHello, version)
	b = append(append(b, g.dialer[:]...), g.accepter[:]...)
	return append(b, g.dialed[:]...)
}

// readHello takes a hello to the node self.
func (g *greeting) readHello(b []byte, self id) error {
	switch {
	case len(b) < 2 || b[0] != kindHello:
		return errGreeting
	case b[1] != version:
		return errVersion
	case len(b) != helloLen:
		return errGreeting
	}
	b = b[2:]
	copy(g.dialer[:], b)
	copy(g.accepter[:], b[idLen:])
	copy(g.dialed[:], b[2*idLen:])
	if g.accepter != self || g.dialer == self {
		return errOther
	}
	return nil
}

// challenge is the second message.
func (g *greeting) challenge() []byte { return append([]byte{kindChallenge}, g.accepted[:]...) }

func (g *greeting) readChallenge(b []byte) error {
	if len(b) != 1+nonceLen || b[0] != kindChallenge {
		return errGreeting
	}
	copy(g.accepted[:], b[1:])
	return nil
}
