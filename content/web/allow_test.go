package web_test

import (
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	header := func(k, v string) map[string]string { return map[string]string{k: v} }
	for says, s := range map[string]web.Settings{
		`maxBytes`:         {MaxBytes: -1},
		`perHost`:          {PerHost: -1},
		`cacheBytes`:       {CacheBytes: -1},
		`allow[0].url`:     {Allow: []web.Entry{{URL: "example.com"}}},
		`allow[1].url`:     {Allow: []web.Entry{{URL: "https://a"}, {URL: "ftp://a"}}},
		`leave out query`:  {Allow: []web.Entry{{URL: "https://a/?x"}}},
		`usual way`:        {Allow: []web.Entry{{URL: "https://A"}}},
		`usual one`:        {Allow: []web.Entry{{URL: "https://a:443"}}},
		`a user`:           {Allow: []web.Entry{{URL: "https://u@a"}}},
		`whole labels`:     {Allow: []web.Entry{{URL: "https://*a.b"}}},
		`labels, as in *`:  {Allow: []web.Entry{{URL: "https://*.1.2.3.4"}}},
		`no host`:          {Allow: []web.Entry{{URL: "https:///x"}}},
		`segments`:         {Allow: []web.Entry{{URL: "https://a/%2e%2e/x"}}},
		`methods`:          {Allow: []web.Entry{{URL: "https://a", Methods: []string{"get"}}}},
		`private`:          {Allow: []web.Entry{{URL: "https://*", Private: true}}},
		`poll`:             {Allow: []web.Entry{{URL: "https://a", Poll: duration.Duration(time.Millisecond)}}},
		`name of a header`: {Allow: []web.Entry{{URL: "https://a", Headers: header("a b", "x")}}},
		`cannot be set`:    {Allow: []web.Entry{{URL: "https://a", Headers: header("content-length", "x")}}},
		`control`:          {Allow: []web.Entry{{URL: "https://a", Headers: header("A", "hunter2\r\nB: c")}}},
	} {
		_, err := web.New(s)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want something with %q", err, says)
		}
	}
}

// entries are those of the following tests.
var entries = []web.Entry{
	{URL: "https://api.example.com/v1"},
	{URL: "https://api.example.com/v2/", Methods: []string{"GET", "POST"}},
	{URL: "http://api.example.com:8080"},
	{URL: "https://*.wild.example"},
	{URL: "http://8.8.8.8"},
	{URL: "http://[2606:4700::1111]"},
}

func TestAllows(t *testing.T) {
	t.Parallel()
	w := start(t, web.Settings{Allow: entries})
	for rawURL, want := range map[string]message.Code{
		"https://api.example.com/v1":             "",
		"https://api.example.com/v1/":            "",
		"https://api.example.com/v1/a/b?c=d&e":   "",
		"HTTPS://API.Example.com:443/v1/x":       "",
		"https://api.example.com/v1/%61%2fb":     "",
		"https://api.example.com/v1/100%25":      "",
		"https://api.example.com/v2":             "",
		"http://api.example.com:8080":            "",
		"https://a.wild.example/x":               "",
		"https://a.b.wild.example/x":             "",
		"http://8.8.8.8/":                        "",
		"http://[2606:4700::1111]/":              "",
		"https://api.example.com/":               message.CodeForbidden,
		"https://api.example.com/v1x":            message.CodeForbidden,
		"https://api.example.com/v3":             message.CodeForbidden,
		"https://api.example.com/%76%31":         message.CodeForbidden,
		"https://api.example.com//v1":            message.CodeForbidden,
		"http://api.example.com/v1":              message.CodeForbidden,
		"https://api.example.com:8080/v1":        message.CodeForbidden,
		"https://xapi.example.com/v1":            message.CodeForbidden,
		"https://api.example.com.evil.test/v1":   message.CodeForbidden,
		"https://wild.example/":                  message.CodeForbidden,
		"https://evilwild.example/":              message.CodeForbidden,
		"https://other.test/":                    message.CodeForbidden,
		"http://8.8.4.4/":                        message.CodeForbidden,
		"https://api.example.com/v1/../secret":   message.CodeInvalidInput,
		"https://api.example.com/v1/%2e%2E/x":    message.CodeInvalidInput,
		"https://api.example.com/v1/%252e%252e/": message.CodeInvalidInput,
		"https://api.example.com/v1/..%2fx":      message.CodeInvalidInput,
		"https://api.example.com/v1/..;/x":       message.CodeInvalidInput,
		`https://api.example.com/v1/..%5cx`:      message.CodeInvalidInput,
		"https://api.example.com/v1/%0d%0ax":     message.CodeInvalidInput,
		"https://api.example.com/v1/%25252525":   message.CodeInvalidInput,
		"https://user@api.example.com/v1":        message.CodeInvalidInput,
		"https://api.example.com@evil.test/v1":   message.CodeInvalidInput,
		"https://api.example.com./v1":            message.CodeInvalidInput,
		"https://a..wild.example/":               message.CodeInvalidInput,
		"https://-.wild.example/":                message.CodeInvalidInput,
		"https://a%2f.wild.example/":             message.CodeInvalidInput,
		"https://ä.wild.example/":                message.CodeInvalidInput,
		"https://api.example.com:0443/v1":        message.CodeInvalidInput,
		"https://api.example.com:99999/v1":       message.CodeInvalidInput,
		"http://8.8.2056/":                       message.CodeInvalidInput,
		"http://0x8.8.8.8/":                      message.CodeInvalidInput,
		"http://08.8.8.8/":                       message.CodeInvalidInput,
		"http://134744072/":                      message.CodeInvalidInput,
		"http://127.1/":                          message.CodeInvalidInput,
		"http://0x7f.1/":                         message.CodeInvalidInput,
		"http://[::ffff:127.0.0.1]/":             message.CodeInvalidInput,
		"http://[2606:4700:0::1111]/":            message.CodeInvalidInput,
		"http://[fe80::1%25eth0]/":               message.CodeInvalidInput,
		"http://localhost./":                     message.CodeInvalidInput,
		"ftp://api.example.com/v1":               message.CodeInvalidInput,
		"file:///etc/passwd":                     message.CodeInvalidInput,
		"https:api.example.com/v1":               message.CodeInvalidInput,
		"https://api.example.com/v1#x":           message.CodeInvalidInput,
		"//api.example.com/v1":                   message.CodeInvalidInput,
		"https://":                               message.CodeInvalidInput,
		"https://api.example.com/v1\r\nX: y":     message.CodeInvalidInput,
	} {
		if err := w.Allows("GET", rawURL); message.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %q", rawURL, err, want)
		}
	}
	if err := w.Allows("POST", "https://api.example.com/v2/x"); err != nil {
		t.Error(err)
	}
	e := fails(t, w.Allows("POST", "https://api.example.com/v1/x"), message.CodeForbidden)
	if !strings.Contains(e.Hint, "methods") {
		t.Errorf("the hint is %q", e.Hint)
	}
	e = fails(t, w.Allows("GET", "https://other.test:81/x"), message.CodeForbidden)
	if !strings.Contains(e.Hint, `{"url":"https://other.test:81"}`) || !strings.Contains(e.Hint, `"allow"`) {
		t.Errorf("the hint is %q", e.Hint)
	}
}

func TestOpenSpelling(t *testing.T) {
	t.Parallel()
	// Addresses are compared by rules of the node before they come here: there is
	// one spelling of a host, which programs need not keep to but addresses do.
	w := start(t, web.Settings{Allow: entries})
	for rawURL, ok := range map[string]bool{
		"https://api.example.com/v1/x":     true,
		"https://api.example.com/v1/a b#é": true, // encoded
		"https://API.example.com/v1/x":     false,
		"https://api.example.com:443/v1/x": false,
		"https://api.example.com:/v1/x":    false,
		"https://u@api.example.com/v1/x":   false,
		"https://api.example.com/v1/%zz":   false,
		"https://api.example.com/v1/%2e./": false,
		`https://api.example.com/v1/\..\x`: false,
		"https://":                         false,
	} {
		if _, err := open(t, w, rawURL, ""); (err == nil) != ok {
			t.Errorf("%s: got %v", rawURL, err)
		} else if err != nil {
			fails(t, err, message.CodeInvalidInput)
		}
	}
}

// FuzzAllows compares the decision with what net/url makes of a URL, decoded and
// cleaned as a careless server does.
func FuzzAllows(f *testing.F) {
	for _, s := range []string{
		"https://api.example.com/v1/x", "https://a.wild.example/x?y", "http://8.8.8.8", "https://api.example.com/v1/%2e%2e/x",
		"https://api.example.com:443/v1", "https://api.example.com/v2/..;/a", "http://[2606:4700::1111]:80/", "https://@api.example.com/v1",
		"HTTPS://API.EXAMPLE.COM/v1/%252e%252e", `https://api.example.com\@evil.test/v1`,
	} {
		f.Add(s)
	}
	w := start(f, web.Settings{Allow: entries})
	f.Fuzz(func(t *testing.T, rawURL string) {
		err := w.Allows("GET", rawURL)
		if err != nil {
			if c := message.CodeOf(err); c != message.CodeForbidden && c != message.CodeInvalidInput {
				t.Fatalf("%q: %v", rawURL, err)
			}
			return
		}
		u, err := url.Parse(rawURL)
		if err != nil || u.User != nil {
			t.Fatalf("%q is allowed: %v", rawURL, err)
		}
		decoded := u.Path
		for range 3 {
			if next, err := url.PathUnescape(decoded); err == nil {
				decoded = next
			}
		}
		decoded = path.Clean("/" + strings.ReplaceAll(decoded, `\`, "/"))
		host, port, scheme := strings.ToLower(u.Hostname()), u.Port(), strings.ToLower(u.Scheme)
		usual := port == "" || port == map[string]string{"http": "80", "https": "443"}[scheme]
		at := func(base string) bool { return decoded == base || strings.HasPrefix(decoded, base+"/") }
		switch {
		case scheme == "https" && usual && host == "api.example.com" && (at("/v1") || at("/v2")):
		case scheme == "http" && port == "8080" && host == "api.example.com":
		case scheme == "https" && usual && strings.HasSuffix(host, ".wild.example"):
		case scheme == "http" && usual && slices.Contains([]string{"8.8.8.8", "2606:4700::1111"}, host):
		default:
			t.Fatalf("%q is allowed: %s %s %s %s", rawURL, scheme, host, port, decoded)
		}
	})
}

// FuzzOpen checks that no address reaches anything but what its text says.
func FuzzOpen(f *testing.F) {
	f.Add("/api.example.com/v1/x", "a=b", false)
	f.Add("/a.wild.example/%2e/x", "", true)
	f.Add("/8.8.8.8/ \r\n", "x y\r\nz", true)
	w := start(f, web.Settings{Allow: entries})
	f.Fuzz(func(t *testing.T, p, query string, dir bool) {
		_, r := request("https://x", "")
		r.Path, r.Query, r.Dir = p, query, dir
		for _, scheme := range []string{"http", "https"} {
			res, err := w.Scheme(scheme).Open(t.Context(), r)
			if err != nil {
				continue
			}
			// The key has the URL.
			_, rawURL, _ := strings.Cut(res.Key(), " ")
			rawURL = strings.TrimSuffix(rawURL, " ")
			u, err := url.Parse(rawURL)
			if err != nil || strings.ContainsAny(rawURL, " \r\n\x00") || u.Scheme != scheme || u.User != nil {
				t.Fatalf("%q: %q, %v", p, rawURL, err)
			}
			if host, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/"); u.Host != host {
				t.Fatalf("%q: the host is %q", p, u.Host)
			}
			if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !ip.IsGlobalUnicast() {
				t.Fatalf("%q: %v", p, ip)
			}
		}
	})
}
