package main

import (
	"net/http"

	"github.com/ropewalk/ropewalk/console"
)

// page is what "ropewalk dev" shows in a browser. another is the command that
// serves the example services once more.
func page(name, another string) http.Handler {
	return console.Handler(console.Config{
		Node:     name,
		Commands: []console.Command{{Label: "Go", Line: another + " --url {url}"}},
	})
}
