package main

import (
	"net/http"

	"github.com/ropewalk/ropewalk/console"
)

// page is what "ropewalk dev" shows in a browser.
func page(name string) http.Handler {
	commands := []console.Command{{Label: "Go", Line: another() + " --url {url}"}}
	if fromSource() {
		commands = append(commands, console.Command{
			Label: "TypeScript", Line: "cd examples/hello-ts && npm install && npm start -- {url}",
		})
	}
	return console.Handler(console.Config{Node: name, Commands: commands, Join: self() + " serve --join {cluster}"})
}
