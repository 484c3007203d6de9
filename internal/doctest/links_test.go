package doctest_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	inWord  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks follows the links between the pages, and into them.
func TestLinks(t *testing.T) {
	t.Parallel()
	list := append(pages(t), "CONTRIBUTING.md", "CHANGELOG.md", "sdk/ts/README.md", "bench/README.md",
		"docs/reference/errors.md", "docs/reference/middleware.md", "docs/reference/metrics.md")
	for _, page := range list {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Errorf("%s: %v", page, err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			follow(t, page, m[1])
		}
	}
}

func follow(t *testing.T, page, target string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil || u.IsAbs() {
		return // the tests have no network
	}
	path := filepath.Join(root, page)
	if u.Path != "" {
		path = filepath.Join(filepath.Dir(path), u.Path)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Errorf("%s: the link to %s leads nowhere", page, target)
		return
	}
	if u.Fragment == "" || info.IsDir() {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
		if anchor(h[1]) == u.Fragment {
			return
		}
	}
	t.Errorf("%s: there is no heading for %s", page, target)
}

// anchor is how GitHub names a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(inWord.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}
