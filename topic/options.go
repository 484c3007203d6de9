package topic

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// maxOptions bounds the body of a subscribe or get, in bytes.
const maxOptions = 64 << 10

// options is the body of a subscribe or get; see docs/reference/wire.md.
type options struct {
	Params  json.RawMessage `json:"params"`
	Delta   []string        `json:"delta"`
	Recover *position       `json:"recover"`
	History int             `json:"history"`
}

type position struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
}

// parseOptions reads the body of a subscribe or get. Params are canonical after
// that. Its error is a *message.Error.
func parseOptions(body []byte) (options, error) {
	var o options
	if len(body) == 0 {
		return o, nil
	}
	if len(body) > maxOptions {
		return o, message.NewError(message.CodeTooLarge, "what is said about a subscription is longer than 64 KiB", "Send smaller parameters.")
	}
	if err := json.Unmarshal(body, &o); err != nil {
		e := message.NewError(message.CodeBadMessage, "the body of the subscribe or get cannot be read: "+err.Error(),
			`Send an object such as {"params":{"dept":"food"}}.`)
		e.Path = "bdy"
		return o, e
	}
	if o.History < 0 {
		o.History = 0
	}
	var err error
	o.Params, err = message.CanonicalParams(o.Params)
	return o, err
}

// body is that of the subscribe for the parameters, which a server gets.
func (o *options) body() []byte {
	if o.Params == nil && o.Recover == nil {
		return nil
	}
	b, _ := json.Marshal(struct { //nolint:errchkjson // it is made of JSON
		Params  json.RawMessage `json:"params,omitempty"`
		Recover *position       `json:"recover,omitempty"`
	}{o.Params, o.Recover})
	return b
}

// keyOf names what is watched: the same for all who see the same.
func keyOf(to string, params json.RawMessage, s *session.Session) string {
	var b strings.Builder
	b.WriteString(to)
	b.WriteByte('\n')
	b.Write(params)
	if s != nil && !s.Anonymous() {
		b.WriteByte('\n')
		sum := sha256.Sum256(identity(s))
		b.WriteString(hex.EncodeToString(sum[:]))
	}
	return b.String()
}

// identity is what a content may depend on of a session. Of a guest nothing but
// the id may be known.
func identity(s *session.Session) []byte {
	guest := ""
	if s.Subject == "" {
		guest = s.ID
	}
	b, _ := json.Marshal([]any{s.Subject, s.Issuer, s.Public, s.Secret, guest}) //nolint:errchkjson // it came as JSON
	return b
}

// addressOf writes an address as topics are named. A slash at the end, which
// asks for a listing, counts.
func addressOf(a message.Address, raw []byte) string {
	s := a.String()
	if len(raw) > 0 && raw[len(raw)-1] == '/' && !strings.HasSuffix(s, "/") && a.Query == "" {
		s += "/"
	}
	return s
}
