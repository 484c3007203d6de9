package session

import (
	"encoding/json"
	"math"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// wire is a session in the field ses of a message.
type wire struct {
	ID      string  `json:"id,omitempty"`
	Subject string  `json:"subject,omitempty"`
	Issuer  string  `json:"issuer,omitempty"`
	Public  Claims  `json:"public,omitempty"`
	Secret  Claims  `json:"secret,omitempty"`
	Since   float64 `json:"since,omitempty"`   // seconds since 1970
	Expires float64 `json:"expires,omitempty"` // likewise
}

// Wire returns the session as JSON, for the field ses: with its secret claims
// for those who may see them, without for all others. It is made once and must
// not be changed. It is nil for an anonymous session.
func (s *Session) Wire(secrets bool) []byte {
	if s == nil || s.Anonymous() {
		return nil
	}
	at := &s.wires[0]
	if secrets && len(s.Secret) > 0 {
		at = &s.wires[1]
	}
	if b := at.Load(); b != nil {
		return *b
	}
	w := wire{ID: s.ID, Subject: s.Subject, Issuer: s.Issuer, Public: s.Public, Since: seconds(s.Since), Expires: seconds(s.Ends())}
	if secrets {
		w.Secret = s.Secret
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil // Check refuses such claims
	}
	at.Store(&b)
	return b
}

// maxInstant is the year 9999, in seconds.
const maxInstant = 253_402_300_799

// ParseWire reads what Wire has made. Its error has CodeBadMessage.
func ParseWire(b []byte) (*Session, error) {
	if len(b) == 0 {
		return Anonymous(), nil
	}
	var w wire
	if len(b) > 2*MaxSize {
		return nil, badWire("it is too large")
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, badWire(err.Error())
	}
	if math.Abs(w.Since) > maxInstant || math.Abs(w.Expires) > maxInstant {
		return nil, badWire("its times are out of range")
	}
	s := &Session{
		ID: w.ID, Subject: w.Subject, Issuer: w.Issuer, Public: w.Public, Secret: w.Secret,
		Since: instant(w.Since), Expires: instant(w.Expires),
	}
	if s.ID == "" {
		return Anonymous(), nil
	}
	if err := s.Check(); err != nil {
		return nil, badWire(err.(*message.Error).Message) //nolint:forcetypeassert,errorlint // Check makes no others
	}
	return s, nil
}

func badWire(why string) error {
	return &message.Error{Code: message.CodeBadMessage, Message: "the session of a message cannot be read: " + why, Path: "ses"}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func instant(s float64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(s * 1000)))
}
