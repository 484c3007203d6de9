//go:build race

// Package race tells tests whether the race detector is on, under which
// allocation counts mean nothing.
package race

// Enabled is true in a build with -race.
const Enabled = true
