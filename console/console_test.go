package console_test

import (
	"compress/gzip"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/console"
)

// most is how large the page may be when it travels, in bytes, without the chart,
// which only one view loads.
const most = 56_000

func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// assets are the files that the page names.
func assets(t *testing.T, h http.Handler) []string {
	t.Helper()
	found := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(body(t, get(t, h, http.MethodGet, "/")), -1)
	var out []string
	for _, m := range found {
		out = append(out, m[1])
	}
	if len(out) < 3 {
		t.Fatalf("the page names %q; want an icon, a script and a style sheet", out)
	}
	return out
}

func TestPage(t *testing.T) {
	t.Parallel()
	h := console.Handler(console.Config{})
	res := get(t, h, http.MethodGet, "/")
	page := body(t, res)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	if got := res.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control %q", got)
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q has an exception", policy)
	}
	if strings.Contains(page, "://") && strings.Contains(strings.ReplaceAll(page, "http://www.w3.org/", ""), "http") {
		t.Error("the page names another server")
	}
}

// The page has to reach other nodes of the mesh when its own is lost.
func TestPolicy(t *testing.T) {
	t.Parallel()
	const local, wide = "connect-src 'self' ws://127.0.0.1:* http://127.0.0.1:* ws://localhost:* http://localhost:*", "connect-src 'self' ws: wss: http: https:"
	h := console.Handler(console.Config{})
	for host, want := range map[string]string{
		"127.0.0.1:7420": local, "localhost:7420": local, "localhost": local, "[::1]:7420": local,
		"10.0.0.5:7420": wide, "dev.example.com": wide, "127.0.0.1.example.com": wide, "": wide,
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		req.Host = host
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if got := rec.Header().Get("Content-Security-Policy"); !strings.HasSuffix(got, "; "+want) {
			t.Errorf("%q: policy %q, want %q", host, got, want)
		}
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	h := console.Handler(console.Config{})
	kinds := map[string]string{
		".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	}
	total := 0
	for _, path := range assets(t, h) {
		res := get(t, h, http.MethodGet, path, "Accept-Encoding", "br, gzip;q=0.8")
		data := body(t, res)
		total += len(data)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		if want := kinds[path[strings.LastIndexByte(path, '.'):]]; res.Header.Get("Content-Type") != want {
			t.Errorf("%s: type %q, want %q", path, res.Header.Get("Content-Type"), want)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: its type may be guessed", path)
		}
		immutable := strings.Contains(res.Header.Get("Cache-Control"), "immutable")
		if immutable != strings.HasPrefix(path, "/assets/") {
			t.Errorf("%s: Cache-Control %q", path, res.Header.Get("Cache-Control"))
		}
	}
	if total > most {
		t.Errorf("the page has %d bytes zipped, and may have %d", total, most)
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	h := console.Handler(console.Config{})
	whole := body(t, get(t, h, http.MethodGet, "/"))
	for _, tt := range []struct {
		accept string
		zipped bool
	}{
		{"gzip", true}, {"GZIP;q=1", true}, {"deflate, gzip", true},
		{"", false}, {"identity", false}, {"gzip;q=0", false}, {"gzip;q=x", false}, {"gzippy", false},
	} {
		res := get(t, h, http.MethodGet, "/", "Accept-Encoding", tt.accept)
		got := body(t, res)
		if zipped := res.Header.Get("Content-Encoding") == "gzip"; zipped != tt.zipped {
			t.Errorf("%q: zipped %v", tt.accept, zipped)
			continue
		}
		if tt.zipped {
			z, err := gzip.NewReader(strings.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			got = string(plain)
		}
		if got != whole {
			t.Errorf("%q: not the same page", tt.accept)
		}
	}
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	h := console.Handler(console.Config{})
	tag := get(t, h, http.MethodGet, "/").Header.Get("ETag")
	zippedTag := get(t, h, http.MethodGet, "/", "Accept-Encoding", "gzip").Header.Get("ETag")
	other := get(t, console.Handler(console.Config{Node: "other"}), http.MethodGet, "/").Header.Get("ETag")
	if tag == "" || tag == zippedTag || tag == other {
		t.Fatalf("tags %q, %q zipped, %q of another page", tag, zippedTag, other)
	}
	for header, want := range map[string]int{
		tag: 304, `"x", W/` + tag: 304, "*": 304, "": 200, `"x"`: 200, other: 200, zippedTag: 200,
	} {
		res := get(t, h, http.MethodGet, "/", "If-None-Match", header)
		if data := body(t, res); res.StatusCode != want || (want == 304) != (data == "") {
			t.Errorf("If-None-Match %q: %d with %d bytes, want %d", header, res.StatusCode, len(data), want)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := console.Handler(console.Config{})
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/", 200}, {http.MethodHead, "/", 200},
		{http.MethodPost, "/", 405}, {http.MethodPut, "/nothing", 405},
		{http.MethodGet, "/nothing", 404}, {http.MethodGet, "/index.html", 404}, {http.MethodGet, "/assets/", 404},
		{http.MethodGet, "/assets/../console.go", 404}, {http.MethodGet, "//", 404},
	} {
		res := get(t, h, tt.method, tt.path)
		data := body(t, res)
		if res.StatusCode != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, res.StatusCode, tt.want)
		}
		if tt.method == http.MethodHead && (data != "" || res.Header.Get("Content-Length") == "") {
			t.Errorf("HEAD: %d bytes, Content-Length %q", len(data), res.Header.Get("Content-Length"))
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  console.Config
		want string
	}{
		{"ok", console.Config{Node: "dev", Commands: []console.Command{{Label: "Go", Line: "go run . --url {url}"}}},
			`{"node":"dev","commands":[{"label":"Go","line":"go run . --url {url}"}],"join":"ropewalk serve --join {cluster}"}`},
		{"default", console.Config{}, `{"commands":[{"label":"ropewalk","line":"ropewalk hello --url {url}"}],"join":"ropewalk serve --join {cluster}"}`},
		{"join", console.Config{Commands: []console.Command{{Line: "x"}}, Join: "go run . serve --join {cluster}"},
			`{"commands":[{"label":"","line":"x"}],"join":"go run . serve --join {cluster}"}`},
		{"hostile", console.Config{Node: `"><script>alert(1)</script>`, Commands: []console.Command{{Line: "</head>'&\""}}}, ""},
	} {
		page := body(t, get(t, console.Handler(tt.cfg), http.MethodGet, "/"))
		found := regexp.MustCompile(`<meta name="ropewalk" content="([^"]*)" />`).FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("%s: no configuration in the page", tt.name)
		}
		text := html.UnescapeString(found[1])
		if tt.want != "" && text != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, text, tt.want)
		}
		var got console.Config
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Node != tt.cfg.Node {
			t.Errorf("%s: came back as %q, %v", tt.name, got.Node, err)
		}
		if strings.Count(page, "<script") != 1 {
			t.Errorf("%s: there is more than one script", tt.name)
		}
	}
}
