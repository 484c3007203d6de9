package token

import (
	"errors"

	"github.com/ropewalk/ropewalk/message"
)

// Reason says in one word why a token was refused. It is in the details of the
// error, as {"reason":"expired"}, and a label of the metrics.
type Reason string

// The reasons.
const (
	ReasonMalformed  Reason = "malformed"   // it is no token, or a part of it cannot be read
	ReasonTooLarge   Reason = "too_large"   // it has more bytes than MaxSize, or its claims are over the bounds of a session
	ReasonAlgorithm  Reason = "algorithm"   // the algorithm is not the one of the key
	ReasonUnknownKey Reason = "unknown_key" // no key with this kid is known, or it is past its end
	ReasonSignature  Reason = "signature"   // somebody else made it, or it was changed
	ReasonIssuer     Reason = "issuer"      // tokens of this issuer are not accepted
	ReasonAudience   Reason = "audience"    // it is meant for others
	ReasonExpired    Reason = "expired"     // its time is over
	ReasonNotYet     Reason = "not_yet"     // its time has not come
	ReasonSealed     Reason = "sealed"      // its secret claims cannot be opened
	ReasonFetching   Reason = "fetching"    // the keys of its issuer are not here yet; see [Needs]
)

// reasons has what is said for each of them.
var reasons = map[Reason]struct{ text, hint string }{
	ReasonMalformed:  {"the token cannot be read", "Send the whole token, as it was given out, without quotes and blanks."},
	ReasonTooLarge:   {"the token is too large", "Keep what is large in a database, and in the session what finds it."},
	ReasonAlgorithm:  {"the token is signed in a way that is not accepted", "Sign with the algorithm that belongs to the key."},
	ReasonUnknownKey: {"the token is signed with a key that is not known", "Log in again: the key may have been replaced."},
	ReasonSignature:  {"the signature of the token is wrong", "Log in again, and send the token as it was given out."},
	ReasonIssuer:     {"tokens of this issuer are not accepted", "Name the issuer in the configuration, or log in elsewhere."},
	ReasonAudience:   {"the token is meant for somebody else", "Ask the issuer for a token with the audience of this mesh."},
	ReasonExpired:    {"the token has expired", "Log in again, or refresh a session before it ends."},
	ReasonNotYet:     {"the token is not valid yet", "Set the clocks of the machines right, or wait."},
	ReasonSealed:     {"the secret claims of the token cannot be opened", "Log in again: the key may have been replaced."},
	ReasonFetching:   {"the keys of the token's issuer have to be fetched first", "Try again in a moment."},
}

// refuse returns the error for r: CodeUnauthenticated. It takes nothing from
// the token, so that nothing of it can get into a log.
func refuse(r Reason) *message.Error {
	say := reasons[r]
	return &message.Error{
		Code: message.CodeUnauthenticated, Message: say.text, Hint: say.hint,
		Details: []byte(`{"reason":"` + string(r) + `"}`), Cause: reasonError(r),
	}
}

// reasonError carries the reason within the process.
type reasonError Reason

func (r reasonError) Error() string { return string(r) }

// ReasonOf returns why a token was refused, or "" if err is not such an error.
// It does not look at errors that came from a peer.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[reasonError](err); ok {
		return Reason(r)
	}
	if _, ok := errors.AsType[*needError](err); ok {
		return ReasonFetching
	}
	return ""
}

// needError is the cause of an error with ReasonFetching.
type needError struct {
	issuer string
	err    error // why they could not be fetched, or nil
}

func (e *needError) Error() string {
	if e.err != nil {
		return "fetch the keys of " + e.issuer + ": " + e.err.Error()
	}
	return "the keys of " + e.issuer + " are needed"
}

func (e *needError) Unwrap() error { return e.err }

// need returns the error that asks for keys. The issuer is one of the
// configuration, so that it may be logged.
func need(issuer string) *message.Error {
	e := refuse(ReasonFetching)
	e.Retryable, e.Cause = true, &needError{issuer: issuer}
	return e
}

// Needs returns the issuer whose keys [Codec.Decode] misses: call [Codec.Fetch]
// for it and then Decode again, or [Codec.DecodeWait], which does both.
func Needs(err error) (issuer string, ok bool) {
	if e, ok := errors.AsType[*needError](err); ok {
		return e.issuer, true
	}
	return "", false
}
