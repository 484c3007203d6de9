package delta_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/topic/delta"
)

// score is 128 bytes, with one number that changes.
func score(n int) []byte {
	return fmt.Appendf(nil, `{"home":"Rovers","away":"United","score":[%d,1],"minute":%02d,"venue":"The Old Ground, North End","attendance":41225,"live":true}`, n, n+10)
}

// board is about 10 KiB of rows, one of which changes.
func board(n int) []byte {
	var all []string
	for i := range 75 {
		delay := 0
		if i == 40 {
			delay = n
		}
		all = append(all, fmt.Sprintf(`{"id":%d,"flight":"RW%d","from":"SAN","to":"OAK","date":"2001-01-01T%02d:00:00","delay":%d,"gate":"B%d","distance":446,"status":"on time"}`,
			i, 1000+i, i%24, delay, i%9))
	}
	return []byte("[" + strings.Join(all, ",") + "]")
}

// wrapped has an object around, for merge patches.
func wrapped(b []byte) []byte { return append(append([]byte(`{"title":"x","rows":`), b...), '}') }

var sizes = []struct {
	name          string
	before, after []byte
	// limits of allocations: patch, merge and their application.
	patch, merge, applyPatch, applyMerge float64
}{
	{"128B", score(1), score(2), 7, 3, 16, 1},
	{"10KiB", board(1), board(2), 13, 0, 17, 0},
}

func BenchmarkDelta(b *testing.B) {
	for _, s := range sizes {
		patch, _ := delta.Patch(s.before, s.after)
		run(b, s.name+"/patch", s.after, func() { delta.Patch(s.before, s.after) })
		run(b, s.name+"/apply patch", s.after, func() { _, _ = delta.ApplyPatch(s.before, patch) })
		if merge, ok := delta.Merge(s.before, s.after); ok {
			run(b, s.name+"/merge", s.after, func() { delta.Merge(s.before, s.after) })
			run(b, s.name+"/apply merge", s.after, func() { _, _ = delta.ApplyMerge(s.before, merge) })
		}
		if change, ok := delta.Rows(s.before, s.after, "id"); ok {
			run(b, s.name+"/rows", s.after, func() { delta.Rows(s.before, s.after, "id") })
			run(b, s.name+"/apply rows", s.after, func() { _, _ = delta.ApplyRows(s.before, change) })
		}
	}
}

func run(b *testing.B, name string, after []byte, f func()) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(after)))
		for b.Loop() {
			f()
		}
	})
}

// TestAllocs is not parallel: it counts the allocations of the process.
func TestAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under -race")
	}
	for _, s := range sizes {
		patch, ok := delta.Patch(s.before, s.after)
		if !ok {
			t.Fatalf("%s: no patch", s.name)
		}
		count := func(what string, limit float64, f func()) {
			if n := testing.AllocsPerRun(100, f); n > limit {
				t.Errorf("%s: %s: %v allocations, more than %v", s.name, what, n, limit)
			}
		}
		count("patch", s.patch, func() { delta.Patch(s.before, s.after) })
		count("apply patch", s.applyPatch, func() { _, _ = delta.ApplyPatch(s.before, patch) })
		if merge, ok := delta.Merge(s.before, s.after); ok {
			count("merge", s.merge, func() { delta.Merge(s.before, s.after) })
			count("apply merge", s.applyMerge, func() { _, _ = delta.ApplyMerge(s.before, merge) })
		}
	}
}

func TestSmallChanges(t *testing.T) {
	t.Parallel()
	before, after := board(1), board(2)
	for kind, c := range map[string]struct {
		change func() ([]byte, bool)
		limit  int
	}{
		"patch": {func() ([]byte, bool) { return delta.Patch(before, after) }, 60},
		"rows":  {func() ([]byte, bool) { return delta.Rows(before, after, "id") }, 200},
	} {
		if got, ok := c.change(); !ok || len(got) > c.limit {
			t.Errorf("%s: got %s, %v", kind, got, ok)
		}
	}
	// A merge patch has whole arrays, so it is not worth it here.
	if got, ok := delta.Merge(wrapped(before), wrapped(after)); ok && !bytes.Contains(got, []byte(`"rows":[`)) {
		t.Errorf("merge: got %s", got)
	}
}
