package content

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"

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

// code are the ends of names of files that are run.
var code = []string{"sql", "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"}

// Code returns the ends of the names of files that are run, without the dot: what
// a service of files says in [route.Topic].
func Code() []string { return slices.Clone(code) }

// IsCode tells whether the file of a path is one that is run.
func IsCode(name string) bool {
	return slices.Contains(code, strings.TrimPrefix(strings.ToLower(path.Ext(name)), "."))
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
