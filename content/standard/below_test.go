package standard_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/standard"
)

func TestPathsAreBelowTheConfiguration(t *testing.T) {
	t.Parallel()
	const text = `{"root":"a","applications":{"x":"b"},"pages":"c","files":{"root":"d","applications":{"x":"e"}},` +
		`"query":{"root":"f","applications":{"x":"g"},"databases":{"m":{"file":"h.db"},"n":{"url":"postgres://x/y"}}},` +
		`"script":{"root":"/abs","applications":{"x":"i"}},"git":{"repository":"j"}}`
	var s standard.Settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	s.Below(filepath.FromSlash("/etc/site"), func(field string) bool { return field != "pages" })
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	for _, name := range []string{"a", "b", "d", "e", "f", "g", "h.db", "i", "j"} {
		if !strings.Contains(got, `"/etc/site/`+name+`"`) {
			t.Errorf("%s is not below: %s", name, got)
		}
	}
	if strings.Count(got, "/etc/site/") != 9 || !strings.Contains(got, `"pages":"c"`) || !strings.Contains(got, `"/abs"`) {
		t.Error(got)
	}
}
