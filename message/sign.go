package message

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// The texts are those of hydra-router: its clients look at them.
const (
	notSigned = "Not a signed UMF message"
	badlySign = "Invalid signed UMF message"
)

// Sign returns the signature of a UMF message: the HMAC-SHA256 of its
// normalised long form without signature, in lower-case hexadecimal digits. The
// order and spelling of the fields in frame do not matter. The error is an
// *Error: [CodeBadFrame], or [CodeBadMessage] if mid or timestamp is missing,
// which the verifier would fill in with values of its own.
func Sign(secret, frame []byte) (string, error) {
	u, err := readUMF(frame)
	if err != nil {
		return "", err
	}
	if u.Mid == nil {
		return "", badField("mid", "is missing", "Give the message a mid before signing it.")
	}
	if u.Timestamp == nil {
		return "", badField("ts", "is missing", "Give the message a timestamp before signing it.")
	}
	if u.Version == nil {
		u.Version = []byte(`"` + Version + `"`)
	}
	return digest(secret, u.signed()), nil
}

// Verify checks the signature of a UMF message in constant time. The error is
// an *Error: [CodeBadFrame], or [CodeUnauthenticated] with the text that
// hydra-router uses if the signature is missing or wrong. It does not know
// whether the message was seen before.
func Verify(secret, frame []byte) error {
	u, sig, err := signatureOf(frame)
	if err != nil {
		return err
	}
	if !hmac.Equal(sig, []byte(digest(secret, u.signed()))) {
		return NewError(CodeUnauthenticated, badlySign, "Sign the long form in long order with the shared secret.")
	}
	return nil
}

// VerifyTolerant is [Verify], but takes as well a signature of the frame as it
// is with the member of the signature cut out, which signers in other languages
// make (hydraTS among them).
func VerifyTolerant(secret, frame []byte) error {
	err := Verify(secret, frame)
	if CodeOf(err) != CodeUnauthenticated {
		return err
	}
	_, sig, missing := signatureOf(frame)
	if missing == nil && hmac.Equal(sig, []byte(digest(secret, cutSignature(frame)))) {
		return nil
	}
	return err
}

// signatureOf reads a frame and its signature.
func signatureOf(frame []byte) (UMF, []byte, error) {
	// What is filled in can never fit the signature, whatever the time.
	u, err := ParseUMF(frame, time.Time{})
	if err != nil {
		return u, nil, err
	}
	if u.Signature == nil {
		return u, nil, NewError(CodeUnauthenticated, notSigned, "Add the field sig.")
	}
	v := valueOf(u.Signature)
	if v.kind != kindString {
		return u, u.Signature, nil // fits nothing
	}
	return u, v.text(), nil
}

// signed returns the bytes that are signed.
func (u *UMF) signed() []byte {
	return u.append(nil, func(f umfField) string { return f.long }, umfSignature)
}

// cutSignature returns the members of frame as they are but for the signature.
func cutSignature(frame []byte) []byte {
	w := writer{dst: append(make([]byte, 0, len(frame)), '{')}
	for key, val := range members(frame) {
		if name := string(key.text()); name == "signature" || name == "sig" {
			continue
		}
		w.key("")
		w.dst = append(append(append(w.dst, key.raw...), ':'), val.raw...)
	}
	return append(w.dst, '}')
}

func digest(secret, data []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}
