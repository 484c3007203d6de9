package main

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var embedded embed.FS

// pages serves the pages, and the client for browsers from its directory.
func pages(sdk string) http.Handler {
	files, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) //nolint:forbidigo // the name is a constant
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /ropewalk.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, sdk+"/ropewalk.min.js")
	})
	return mux
}
