// Package page is what the examples that have pages have in common.
package page

import (
	"embed"
	"io/fs"
	"net/http"
	"path/filepath"
)

// Handler serves the directory page of embedded, and ropewalk.min.js, the client
// for browsers, from the directory sdk. It panics if there is no such directory
// in embedded.
func Handler(embedded embed.FS, sdk string) http.Handler {
	files, err := fs.Sub(embedded, "page")
	if err == nil {
		_, err = fs.Stat(files, ".")
	}
	if err != nil {
		panic(err) //nolint:forbidigo // what is embedded is known when the example is built
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /ropewalk.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(sdk, "ropewalk.min.js"))
	})
	return mux
}
