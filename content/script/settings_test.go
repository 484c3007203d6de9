package script_test

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for field, s := range map[string]script.Settings{
		"root":              {},
		"root: there":       {Root: "a", Applications: map[string]string{"b": "c"}},
		"applications.a/b":  {Applications: map[string]string{"a/b": "c"}},
		"mode":              {Root: ".", Mode: "fast"},
		"workers":           {Root: ".", Workers: -1},
		"timezone":          {Root: ".", Timezone: "Mars/North"},
		"limits.memory":     {Root: ".", Limits: script.Limits{Memory: 1}},
		"limits.cpu":        {Root: ".", Limits: script.Limits{CPU: duration.Duration(-1)}},
		"grants[0].paths":   {Root: ".", Grants: []script.Grant{{}}},
		"grants[1].call":    {Root: ".", Grants: []script.Grant{{Paths: []string{"/**"}}, {Paths: []string{"/**"}, Call: []string{"x"}}}},
		"grants[0].fetch":   {Root: ".", Grants: []script.Grant{{Paths: []string{"/**"}, Fetch: []string{"http://x"}}}},
		"grants[0].session": {Root: ".", Grants: []script.Grant{{Paths: []string{"/**"}, Session: "all"}}},
	} {
		if _, err := script.New(s, script.Host{}, nil); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
