package nodeapi

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, to string
		want        bool
	}{
		{"", "math:/decimal/mul", true},
		{"", "node:/tap", false},
		{"", "no address", true},
		{"*:/**", "math:/", true},
		{"math:/**", "math:/decimal/mul", true},
		{"math:/**", "text:/up", false},
		{"math:/decimal/*", "math:/decimal/mul", true},
		{"math:/decimal/*", "math:/decimal/mul/x", false},
		{"math:/decimal/*", "math:/decimal", false},
		{"math:/decimal/**", "math:/decimal/mul/x", true},
		{"math:/decimal/mul", "math:/decimal/mul", true},
		{"math:/decimal/mul", "math:/decimal/mulx", false},
		{"*:/decimal/*", "other:/decimal/x", true},
		{"*:/*/mul", "math:/decimal/mul", true},
		{"*:/*/mul", "math:/decimal/add", false},
	} {
		f, err := newFilter(tc.pattern)
		if err != nil {
			t.Errorf("%q: %v", tc.pattern, err)
			continue
		}
		if got := f(exchange.TapEvent{To: tc.to}); got != tc.want {
			t.Errorf("%q shows %q: %v, want %v", tc.pattern, tc.to, got, tc.want)
		}
	}
	for _, bad := range []string{"math", "math:/{", "math:/**/x"} {
		if _, err := newFilter(bad); message.CodeOf(err) != message.CodeBadAddress {
			t.Errorf("the pattern %q: %v", bad, err)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ body, contentType, want string }{
		{"", "", ""},
		{`{"a":1.50,"b":[true,null]}`, "", `{"a":1.50,"b":[true,null]}`},
		{`{"password":"x","deep":[{"apiKey":7,"ok":"y"}],"Authorization":{"t":1}}`, "", `{"Authorization":"[redacted]","deep":[{"apiKey":"[redacted]","ok":"y"}],"password":"[redacted]"}`},
		{`not json`, "", "[not JSON]"},
		{"\x00\x01", "application/octet-stream", "[application/octet-stream]"},
		{`"` + strings.Repeat("é", 300) + `"`, "", `"` + strings.Repeat("é", 99) + "…"},
	} {
		if got := redact([]byte(tc.body), tc.contentType, 200); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.body, got, tc.want)
		}
	}
}

func TestRedactAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"math:/mul":                   "math:/mul",
		"echo:/?n=3":                  "echo:/?n=3",
		"echo:/?token=planted&n=3":    "echo:/?token=[redacted]&n=3",
		"echo:/?a=1&API_KEY=planted=": "echo:/?a=1&API_KEY=[redacted]",
	} {
		if got := redactAddress(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"token":"planted"}`)
	f.Add(`[{"x":{"Secret-Key":["planted"]}}]`)
	f.Fuzz(func(t *testing.T, body string) {
		if got := redact([]byte(body), "", 64); len(got) > 64+len("…")+len("[not JSON]") {
			t.Errorf("%q is too long", got)
		}
	})
}
