package file

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/content"
)

// chunk is how much is read before it is looked whether anybody still waits.
const chunk = 1 << 20

// read returns the bytes of a file.
func (t *Tree) read(ctx context.Context, g target) ([]byte, error) {
	root, p, err := t.find(g)
	if err != nil {
		return nil, err
	}
	defer shut(root)
	if p.info.IsDir() {
		return nil, content.NotFound(g.path, "This is a directory: put a slash at the end of the address for its listing.")
	}
	b, err := slurp(ctx, root, p, t.set.MaxFile)
	if err == errLarge { //nolint:errorlint // it is returned as it is
		return nil, tooLarge(g.path, t.set.MaxFile)
	}
	return b, fault(g.path, err)
}

// slurp reads a regular file of at most limit bytes. It never waits for a pipe,
// even if one takes the place of the file at this moment.
func slurp(ctx context.Context, root *os.Root, p place, limit int64) ([]byte, error) {
	if !p.info.Mode().IsRegular() {
		return nil, errKind
	}
	f, err := root.OpenFile(p.rel, readFlags, 0)
	if err != nil {
		return nil, err
	}
	defer shut(f)
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errKind
	case info.Size() > limit:
		return nil, errLarge
	}
	b := make([]byte, 0, info.Size()+1)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := f.Read(b[len(b):min(cap(b), len(b)+chunk)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > limit:
			return nil, errLarge
		case err == io.EOF: //nolint:errorlint // os.File returns it as it is
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// readFile returns the content of a file: its bytes, or an object with them.
func (t *Tree) readFile(ctx context.Context, g target, raw bool) (content.Content, error) {
	b, err := t.read(ctx, g)
	if err != nil {
		return content.Content{}, err
	}
	if raw {
		return content.Content{Body: b, ContentType: MediaType(g.path, b)}, nil
	}
	body := make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))+len(`{"base64":""}`))
	body = append(body, `{"base64":"`...)
	body = base64.StdEncoding.AppendEncode(body, b)
	return content.Content{Body: append(body, `"}`...)}, nil
}

// rawWanted reads the parameters of a file.
func rawWanted(params json.RawMessage, usual bool) (bool, error) {
	if len(params) == 0 {
		return usual, nil
	}
	var in struct {
		Encoding json.RawMessage `json:"encoding"`
	}
	if err := json.Unmarshal(params, &in); err != nil {
		return false, invalid("params", "params", "the parameters have to be an object", `Send {"encoding":"base64"} or nothing.`)
	}
	switch string(in.Encoding) {
	case "", "null":
		return usual, nil
	case `"raw"`:
		return true, nil
	case `"base64"`:
		return false, nil
	}
	return false, invalid("encoding", "params.encoding", "is neither raw nor base64", `Write "raw" or "base64".`)
}

// mediaTypes are by extension, without the dot. The table of the system is not
// used: it differs from one machine to the next.
var mediaTypes = map[string]string{
	"aac": "audio/aac", "apng": "image/apng", "avif": "image/avif", "bmp": "image/bmp", "css": "text/css",
	"csv": "text/csv", "eot": "application/vnd.ms-fontobject", "flac": "audio/flac", "geojson": "application/geo+json",
	"gif": "image/gif", "gz": "application/gzip", "htm": "text/html", "html": "text/html", "ico": "image/vnd.microsoft.icon",
	"ics": "text/calendar", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript", "json": "application/json",
	"jsonc": "text/plain", "md": "text/markdown", "mjs": "text/javascript", "mp3": "audio/mpeg", "mp4": "video/mp4",
	"mpeg": "video/mpeg", "oga": "audio/ogg", "ogg": "audio/ogg", "ogv": "video/ogg", "otf": "font/otf",
	"pdf": "application/pdf", "png": "image/png", "sql": "text/plain", "svg": "image/svg+xml", "tif": "image/tiff",
	"tiff": "image/tiff", "ts": "text/plain", "tsv": "text/tab-separated-values", "ttf": "font/ttf", "txt": "text/plain",
	"wasm": "application/wasm", "wav": "audio/wav", "weba": "audio/webm", "webm": "video/webm",
	"webmanifest": "application/manifest+json", "webp": "image/webp", "woff": "font/woff", "woff2": "font/woff2",
	"xhtml": "application/xhtml+xml", "xml": "text/xml", "yaml": "text/plain", "yml": "text/plain", "zip": "application/zip",
}

// MediaType returns the content type of a file, by its extension.
func MediaType(name string, b []byte) string {
	kind := mediaTypes[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]
	switch {
	case kind == "":
		return "application/octet-stream"
	case strings.HasPrefix(kind, "text/") && utf8.Valid(b):
		return kind + "; charset=utf-8"
	}
	return kind
}
