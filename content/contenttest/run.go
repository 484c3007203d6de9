package contenttest

import (
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
)

// Features say what a provider promises, beyond that its contents can be got
// and watched.
type Features struct {
	// Blind is true if what others do to the content is not noticed.
	Blind bool
	// Missing is true if there can be nothing at an address: Get then fails with
	// not_found, until something is written there. [Env].Remove is needed.
	Missing bool
	// Params is true if parameters change the content. [Env].Filtered is needed.
	Params bool
	// Publish is true if the provider is a [content.Publisher].
	// [Env].Publication is needed.
	Publish bool
	// Delete is true if a publish can take a content away. [Env].Deletion is
	// needed, and Missing.
	Delete bool
	// Latency is how long it may take until changes that others make are told.
	// Default: 10 s, for slow machines.
	Latency time.Duration
	// Invalidations is how often a watched resource may say within [quiet] that
	// it may have changed although nothing did, as those do that look again and
	// again. Default: 1.
	Invalidations int
}

const (
	// quiet is for how long the suite watches that nothing happens.
	quiet          = 300 * time.Millisecond
	defaultLatency = 10 * time.Second
)

// Env is a provider with some contents, each of which has a name, a word of
// letters and digits. Its content can be 1, 2, 3 … in some form: a file with
// that number, a table with that in a row.
type Env struct {
	// Provider is closed by the suite, if it is a [content.Closer].
	Provider content.Provider
	// Request returns a request for what has a name, without parameters.
	Request func(name string) *content.Request
	// Write makes n the content of what has a name, in the way that others do,
	// not through the provider. The content may not be there before.
	Write func(name string, n int) error
	// Remove takes it away, in the same way.
	Remove func(name string) error
	// Content is what Get has to return when n was written; for JSON blanks do not
	// matter.
	Content func(n int) content.Content
	// Filtered returns two requests with different parameters for what has a name.
	// They have to have different contents when 1 was written.
	Filtered func(name string) (a, b *content.Request)
	// Publication returns what to publish where so that the content becomes n.
	Publication func(name string, n int) (*content.Request, content.Content)
	// Deletion returns what to publish where so that the content is gone.
	Deletion func(name string) (*content.Request, content.Content)
	// Forbidden are requests that must not succeed, besides the usual tricks
	// with paths, which the suite tries by itself.
	Forbidden []*content.Request
}

// Run runs the suite as subtests of t. setup is called once a subtest, with a
// t whose Cleanup runs after the provider was closed; the subtests are
// parallel.
func Run(t *testing.T, features Features, setup func(t *testing.T) Env) {
	t.Helper()
	if features.Latency <= 0 {
		features.Latency = defaultLatency
	}
	features.Invalidations = max(1, features.Invalidations)
	for _, c := range []struct {
		name string
		run  bool
		f    func(s *suite)
	}{
		{"Content", true, (*suite).content},
		{"Key", true, (*suite).key},
		{"Params", features.Params, (*suite).params},
		{"Changes", !features.Blind, (*suite).changes},
		{"Burst", !features.Blind, (*suite).burst},
		{"NoHole", !features.Blind, (*suite).noHole},
		{"Quiet", true, (*suite).quiet},
		{"Appears", features.Missing && !features.Blind, (*suite).appears},
		{"Removed", features.Missing && !features.Blind, (*suite).removed},
		{"Publish", features.Publish, (*suite).publish},
		{"PublishConcurrently", features.Publish, (*suite).publishConcurrently},
		{"Delete", features.Delete, (*suite).remove},
		{"Tricks", true, (*suite).tricks},
		{"Stop", true, (*suite).stop},
		{"Cancel", true, (*suite).cancel},
		{"Crowd", true, (*suite).crowd},
		{"Close", true, (*suite).close},
	} {
		if !c.run {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &suite{T: t, Features: features, Env: setup(t)}
			t.Cleanup(s.shut)
			c.f(s)
		})
	}
}
