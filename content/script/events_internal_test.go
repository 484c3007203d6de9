package script

import (
	"fmt"
	"slices"
	"testing"
)

func TestTopicsIn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`export const events = ["prices:/**"]`:                                               {"prices:/**"},
		"export const events: string[] = [\n\t'a:/b', // the first\n\t`c:/d`,\n];":           {"a:/b", "c:/d"},
		`let x = 1; export const events = ["a:/**"]; export const schedule = "*/5 * * * *";`: {"a:/**"},
		`/* export const events = ["a:/b"] */`:                                               nil,
		`// export const events = ["a:/b"]`:                                                  nil,
		"// don't /* this\nexport const events = ['a:/b']":                                   {"a:/b"},
		`export const events = []`:                                                           nil,
		`export const events = [a, "b:/c"]`:                                                  nil,
		"export const events = [`${a}:/b`]":                                                  nil,
		`export const events = new Map()`:                                                    nil,
	} {
		if got := topicsIn(uncommented(text)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func FuzzTopicsIn(f *testing.F) {
	f.Add("a:/**", "b:/c")
	f.Fuzz(func(t *testing.T, a, b string) {
		topicsIn(uncommented(a))
		for _, s := range []string{a, b} {
			for _, r := range s {
				if r < ' ' || r == '"' || r == '\\' {
					return
				}
			}
		}
		if got := topicsIn(uncommented(fmt.Sprintf("/* %s */export const events = [\"%s\", \"%s\"]", "x", a, b))); !slices.Equal(got, []string{a, b}) {
			t.Fatalf("%q of %q and %q", got, a, b)
		}
	})
}

func TestCovered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		grant, address string
		want           bool
	}{
		{"prices:/**", "prices:/**", true},
		{"prices:/**", "prices:/a/b", true},
		{"prices:/**", "prices:/a/*", true},
		{"*:/**", "prices:/a/**", true},
		{"prices:/*", "prices:/*", true},
		{"prices:/{what}", "prices:/*", true},
		{"prices:/*", "prices:/**", false},
		{"prices:/a/**", "prices:/**", false},
		{"prices:/a/*/**", "prices:/a/**", false},
		{"prices:/a", "prices:/*", false},
		{"*:/**", "*:/a", false},
		{"prices:/**", "other:/a", false},
		{"*:/**", "prices@1:/a", false},
		{"prices:/**", "prices", false},
	} {
		g, err := (&Grant{Paths: []string{"/**"}, Watch: []string{c.grant}}).compile()
		if err != nil {
			t.Fatal(err)
		}
		if got := covered(g.watch, c.address); got != c.want {
			t.Errorf("%s covers %s: %v", c.grant, c.address, got)
		}
	}
	if covered(nil, "prices:/a") {
		t.Error("without a grant")
	}
}
