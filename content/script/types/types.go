// Package types holds the declarations that editors use for scripts.
package types

import _ "embed"

// Declarations is ropewalk.d.ts, as "ropewalk script types" prints it.
//
//go:embed ropewalk.d.ts
var Declarations string
