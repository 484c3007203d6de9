//go:build !linux

package file

// remote reports whether a directory is on a file system that others can change
// without this machine being told. It is not known here; poll can be set.
func remote(string) bool { return false }
