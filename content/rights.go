package content

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Rights are the rules that hold for single contents, for listings that show what
// is in others. Methods may be called from any goroutine and do not block.
type Rights interface {
	// MayRead tells whether somebody may get the content of an address.
	MayRead(s *session.Session, a message.Address) bool
	// Watch has changed called whenever MayRead may have other answers than before,
	// until stop is called. changed does not block.
	Watch(changed func()) (stop func())
}

// Who is the part that a session has in the key of what depends on [Rights]. It is
// the same only for sessions of which they tell the same.
func Who(s *session.Session) string {
	if s.Anonymous() {
		return ""
	}
	b, _ := json.Marshal([]any{s.Subject, s.Issuer, s.Public, s.Secret, s.ID}) //nolint:errchkjson // it came as JSON
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
