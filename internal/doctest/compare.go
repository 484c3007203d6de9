package doctest

import (
	"regexp"
	"slices"
	"strings"
)

// varying is what differs from run to run, and what stands for it.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\x1b\[[0-9;]*m`), ""},
	{regexp.MustCompile(` --url ws://127\.0\.0\.1:\d+`), ""},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "DATE"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d(\.\d+)?`), "CLOCK"},
	{regexp.MustCompile(`"(took|seconds)":[0-9.e-]+`), `"$1":N`},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST"},
	{regexp.MustCompile(`\b[0-9a-z]{11,}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{8}\b`), "TAG"},
	{regexp.MustCompile(`-{2,}|─{2,}`), "--"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

// normal returns text without what differs from run to run, and without blank
// lines.
func normal(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.with)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	return strings.Join(lines, "\n") + "\n"
}

// expression returns what output has to match that a page shows as want.
func expression(want string) string {
	var b strings.Builder
	for line := range strings.Lines(normal(want)) {
		line = strings.TrimSuffix(line, "\n")
		switch line {
		case "":
		case "…":
			b.WriteString(`(?:.*\n)*?`)
		default:
			b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"))
			b.WriteString(`\n`)
		}
	}
	return b.String()
}

// Same reports whether a command printed what the page shows. A page that shows
// nothing does not say what is printed.
func Same(want, got string, unordered bool) bool {
	if strings.TrimSpace(want) == "" {
		return true
	}
	if unordered {
		want, got = sorted(want), sorted(got)
	}
	return regexp.MustCompile(`^` + expression(want) + `$`).MatchString(normal(got))
}

// Begins reports whether what was printed so far is all that the page shows, or
// more.
func Begins(want, got string) bool {
	return strings.TrimSpace(want) == "" || regexp.MustCompile(`^`+expression(want)).MatchString(normal(got))
}

func sorted(text string) string {
	lines := strings.Split(strings.TrimSpace(normal(text)), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
