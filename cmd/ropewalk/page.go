package main

import "net/http"

// page is what "ropewalk dev" shows in a browser; nil for none.
func page() http.Handler { return nil }
