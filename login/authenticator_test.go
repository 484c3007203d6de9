package login_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
)

var b64 = base64.RawURLEncoding

// authenticator is a passkey in software: ES256, no attestation.
type authenticator struct {
	id      []byte
	key     *ecdsa.PrivateKey
	handle  []byte
	rp      string
	origin  string
	counter uint32
	step    uint32 // what a use adds to the counter
	flags   byte
}

const (
	userPresent  = 1
	userVerified = 4
	attested     = 64
)

func newAuthenticator(t *testing.T, rp, origin string) *authenticator {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticator{id: make([]byte, 32), key: k, rp: rp, origin: origin, step: 1, flags: userPresent | userVerified}
	_, _ = rand.Read(a.id)
	return a
}

// options are those parts of what begin answers that an authenticator uses.
type options struct {
	PublicKey struct {
		Challenge string `json:"challenge"`
		RPID      string `json:"rpId"`
		User      struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"user"`
		Allow []struct {
			ID string `json:"id"`
		} `json:"allowCredentials"`
		Exclude []struct {
			ID string `json:"id"`
		} `json:"excludeCredentials"`
	} `json:"publicKey"`
}

func (a *authenticator) clientData(kind, challenge string) []byte {
	return []byte(`{"type":"` + kind + `","challenge":"` + challenge + `","origin":"` + a.origin + `","crossOrigin":false}`)
}

func (a *authenticator) data(flags byte) []byte {
	sum := sha256.Sum256([]byte(a.rp))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), a.counter)
}

// create makes the credential that navigator.credentials.create gives.
func (a *authenticator) create(t *testing.T, o *options) json.RawMessage {
	t.Helper()
	var err error
	if a.handle, err = b64.DecodeString(o.PublicKey.User.ID); err != nil {
		t.Fatal(err)
	}
	data := a.data(a.flags | attested)
	data = append(data, make([]byte, 16)...) // no model
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(data, a.id...)
	point, err := a.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	// CBOR: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
	data = append(data, 0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32)
	data = append(data, point[1:33]...)
	data = append(data, 0x22, 0x58, 32)
	data = append(data, point[33:]...)
	// {"fmt": "none", "attStmt": {}, "authData": data}
	object := append([]byte{0xa3, 0x63}, "fmt"...)
	object = append(append(object, 0x64), "none"...)
	object = append(append(object, 0x67), "attStmt"...)
	object = append(append(object, 0xa0, 0x68), "authData"...)
	object = append(binary.BigEndian.AppendUint16(append(object, 0x59), uint16(len(data))), data...)
	return a.credential(map[string]any{
		"clientDataJSON":    b64.EncodeToString(a.clientData("webauthn.create", o.PublicKey.Challenge)),
		"attestationObject": b64.EncodeToString(object),
		"transports":        []string{"internal"},
	})
}

// get makes the credential that navigator.credentials.get gives.
func (a *authenticator) get(t *testing.T, o *options, tellUser bool) json.RawMessage {
	t.Helper()
	a.counter += a.step
	data, client := a.data(a.flags), a.clientData("webauthn.get", o.PublicKey.Challenge)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	res := map[string]any{
		"clientDataJSON":    b64.EncodeToString(client),
		"authenticatorData": b64.EncodeToString(data),
		"signature":         b64.EncodeToString(sig),
	}
	if tellUser {
		res["userHandle"] = b64.EncodeToString(a.handle)
	}
	return a.credential(res)
}

func (a *authenticator) credential(response map[string]any) json.RawMessage {
	id := b64.EncodeToString(a.id)
	b, _ := json.Marshal(map[string]any{ //nolint:errchkjson // texts only
		"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": map[string]any{},
		"authenticatorAttachment": "platform",
	})
	return b
}
