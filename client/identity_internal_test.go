package client

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever a node says of a session is taken or refused, and its token is never
// printed.
func FuzzSessionNews(f *testing.F) {
	for _, s := range []string{
		`{"event":"changed","session":{"id":"1","subject":"anna","public":{"role":"editor"},"since":1.5,"expires":1e300},"token":"geheim"}`,
		`{"event":"ended","reason":"x"}`, `{"session":null}`, `{"session":{"since":-1e308}}`, `[]`, `{`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := parseNews(body)
		if err != nil {
			return
		}
		const token = "a token that nobody knows"
		s := n.session(token)
		if n.Session == nil && (s.ID != "" || s.Token != "") {
			t.Errorf("got %v of nothing", s)
		}
		if b, err := json.Marshal(s); err == nil && strings.Contains(string(b), token) || strings.Contains(s.GoString(), token) {
			t.Errorf("the token is shown: %s", b)
		}
	})
}
