package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
)

// The pages of other nodes may connect; an id says whose client it is.
func TestOriginsAndIDs(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const node = "0123456789abcdef0123456789abcdef"
			rec := newRecorder()
			n := start(t, edge.Config{
				NodeID: node, Listeners: []edge.ListenerConfig{v.listener},
				OriginAllowed: func(origin string) bool { return origin == "https://other.example" },
			}, rec)
			n.ws(t, "Origin: https://other.example\r\n")
			c := n.tcp(t)
			c.write(t, []byte(hello("Origin: https://evil.example\r\n")))
			res, err := http.ReadResponse(c.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, res, http.StatusForbidden)
			_ = c.Close()
			if tag, ok := message.TagOf((<-rec.opened).ID()); !ok || tag != node[:8] {
				t.Errorf("the id begins with %q", tag)
			}
		})
	}
}

// Heads that a proxy on the way may read in another way than we do.
func TestAmbiguousHeads(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		for _, tc := range []struct {
			name, extra string
			status      int
		}{
			{"ok", "X-A: b\r\n", http.StatusSwitchingProtocols},
			{"empty value", "X-A:\r\n", http.StatusSwitchingProtocols},
			{"two hosts", "Host: evil.example\r\n", http.StatusBadRequest},
			{"two origins", "Origin: http://x\r\nOrigin: http://evil.example\r\n", http.StatusBadRequest},
			{"two keys", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", http.StatusBadRequest},
			{"a line feed in a name", "X-A\nOrigin: http://evil.example\r\n", http.StatusBadRequest},
			{"a line feed in a value", "X-A: b\nOrigin: http://evil.example\r\n", http.StatusBadRequest},
			{"a carriage return in a value", "X-A: b\rOrigin: http://evil.example\r\n", http.StatusBadRequest},
			{"a folded line", "X-A: b\r\n Origin: http://evil.example\r\n", http.StatusBadRequest},
			{"a space before the colon", "Origin : http://evil.example\r\n", http.StatusBadRequest},
			{"no colon", "Origin\r\n", http.StatusBadRequest},
			{"another origin", "Origin: http://x.evil.example\r\n", http.StatusForbidden},
			{"an origin with a path", "Origin: http://x/\r\n", http.StatusForbidden},
			{"an origin with the host as user", "Origin: http://x@evil.example\r\n", http.StatusForbidden},
		} {
			c := n.tcp(t)
			c.write(t, []byte(hello(tc.extra)))
			res, err := http.ReadResponse(c.in, nil)
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
				continue
			}
			_ = res.Body.Close()
			if res.StatusCode != tc.status {
				t.Errorf("%s (%q): status %d, want %d", tc.name, strings.TrimSpace(tc.extra), res.StatusCode, tc.status)
			}
			_ = c.Close()
		}
	})
}
