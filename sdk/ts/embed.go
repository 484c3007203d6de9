// Package ts is the TypeScript client as browsers load it, for programs that
// serve it with their pages. What it is made of is beside it, in src.
package ts

import _ "embed"

// Client is the client as one file, a module: import { connect } from it. It
// must not be changed.
//
//go:embed dist/ropewalk.min.js
var Client []byte
