package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

const (
	// index is the file at /.
	index = "index.html"
	// hashed is the directory whose files have a hash of their content in
	// their names.
	hashed = "assets/"
	// policy allows the page its own files and its connection, and nothing else:
	// no inline script or style, no frame around it. Where it may connect is the
	// end of it.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
	// policyLocal is for a page that came from this machine: nodes that join
	// later are on it, too.
	policyLocal = policy + " ws://127.0.0.1:* http://127.0.0.1:* ws://localhost:* http://localhost:*"
	// policyWide is for any other. Where the nodes of its mesh will be nobody
	// knows beforehand; they in turn let in only pages of each other.
	policyWide = policy + " ws: wss: http: https:"
	// etagBytes of a SHA-256 tell any two versions of a file apart.
	etagBytes = 12
)

// site are the files by path.
type site map[string]*file

// file is one file as it is sent.
type file struct {
	data    []byte
	zipped  []byte // nil if that saves nothing
	kind    string // content type
	etag    string
	caching string
}

func newFile(name string, data []byte) (*file, error) {
	sum := sha256.Sum256(data)
	f := &file{
		data: data, kind: mime.TypeByExtension(path.Ext(name)), caching: "no-cache",
		etag: `"` + hex.EncodeToString(sum[:etagBytes]) + `"`,
	}
	if kind, ok := kinds[path.Ext(name)]; ok {
		f.kind = kind
	}
	if strings.HasPrefix(name, hashed) {
		f.caching = "public, max-age=31536000, immutable"
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if b.Len() < len(data) {
		f.zipped = b.Bytes()
	}
	return f, nil
}

// kinds are the types of the files that the build makes. The tables of the
// operating system, which package mime reads, do not always agree with them.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// ServeHTTP implements http.Handler.
func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policyFor(r.Host))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only read; call services over a WebSocket", http.StatusMethodNotAllowed)
		return
	}
	f, ok := s[r.URL.Path]
	if !ok {
		http.Error(w, "there is no such file; the page is at /", http.StatusNotFound)
		return
	}
	f.serve(w, r)
}

// policyFor returns the policy of a page that a browser asked of host.
func policyFor(host string) string {
	name := (&url.URL{Host: host}).Hostname()
	if ip, err := netip.ParseAddr(name); name == "localhost" || err == nil && ip.IsLoopback() {
		return policyLocal
	}
	return policyWide
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", f.caching)
	h.Set("Vary", "Accept-Encoding")
	data, etag := f.data, f.etag
	if f.zipped != nil && accepts(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		data, etag = f.zipped, strings.TrimSuffix(f.etag, `"`)+`-gz"`
	}
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}

// accepts reports whether an Accept-Encoding header allows a coding.
func accepts(header, coding string) bool {
	for item := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		q, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !ok || err == nil && weight > 0
	}
	return false
}

// matches reports whether an If-None-Match header names the tag.
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == etag {
			return true
		}
	}
	return false
}

var _ http.Handler = site(nil)
