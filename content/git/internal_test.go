package git

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMergeText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		base, ours, theirs, want string
		clash                    bool
	}{
		"other lines":    {base: "a\nb\nc\nd\n", ours: "A\nb\nc\nd\n", theirs: "a\nb\nc\nD\n", want: "A\nb\nc\nD\n"},
		"the same":       {base: "a\nb\n", ours: "a\nB\n", theirs: "a\nB\n", want: "a\nB\n"},
		"one line":       {base: "a\nb\nc\n", ours: "a\nx\nc\n", theirs: "a\ny\nc\n", clash: true},
		"side by side":   {base: "a\nb\nc\n", ours: "a\nx\nc\n", theirs: "a\nb\ny\n", clash: true},
		"both add":       {base: "a\n", ours: "a\nx\n", theirs: "a\ny\n", clash: true},
		"no end of line": {base: "a\nb\nc", ours: "A\nb\nc", theirs: "a\nb\nC\nd", want: "A\nb\nC\nd"},
		"one removes":    {base: "a\nb\nc\nd\n", ours: "c\nd\n", theirs: "a\nb\nc\nd\ne\n", want: "c\nd\ne\n"},
		"from nothing":   {base: "", ours: "a\n", theirs: "", want: "a\n"},
	} {
		got, ok := mergeText(c.base, c.ours, c.theirs)
		if ok == c.clash || ok && got != c.want {
			t.Errorf("%s: %q, %t; want %q", name, got, ok, c.want)
		}
	}
}

func TestMergeTextLaws(t *testing.T) {
	t.Parallel()
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n", "d"}), 0, 8).Draw(t, "lines"), "")
	})
	rapid.Check(t, func(t *rapid.T) {
		base, x, y := text.Draw(t, "base"), text.Draw(t, "x"), text.Draw(t, "y")
		for _, c := range [][4]string{{base, x, base, x}, {base, base, x, x}, {base, x, x, x}} {
			if got, ok := mergeText(c[0], c[1], c[2]); !ok || got != c[3] {
				t.Fatalf("merge of %q is %q, %t", c, got, ok)
			}
		}
		a, okA := mergeText(base, x, y)
		b, okB := mergeText(base, y, x)
		if okA != okB || a != b {
			t.Fatalf("the sides make a difference: %q, %t and %q, %t", a, okA, b, okB)
		}
	})
}

func FuzzMergeText(f *testing.F) {
	f.Add("a\nb\n", "a\nc\n", "x\na\nb\n")
	f.Fuzz(func(t *testing.T, base, ours, theirs string) {
		if !isText([]byte(base)) || !isText([]byte(ours)) || !isText([]byte(theirs)) || len(base)+len(ours)+len(theirs) > 4096 {
			return
		}
		if got, ok := mergeText(base, ours, base); !ok || got != ours {
			t.Errorf("what one side did is lost: %q, %t", got, ok)
		}
		mergeText(base, ours, theirs)
	})
}

func FuzzName(f *testing.F) {
	for _, name := range []string{"a.json", ".git", "..", "a%2fb", "CON.txt", "a\u200b", "\u200c.git", "git~1", "a:b", "x ", "名前.json"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, err := checkPath("/" + name)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(p, "/") {
			plain := strings.ToLower(strings.TrimLeft(part, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
			if p != "" && (part == "" || plain != strings.ToLower(part) || plain[0] == '.' || strings.HasPrefix(plain, "git~") ||
				strings.ContainsAny(part, "\\:\x00\n") || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ")) {
				t.Errorf("%q is allowed", name)
			}
		}
	})
}

func FuzzRefPart(f *testing.F) {
	f.Add("alice", "Alice")
	f.Add("a=41", "aA")
	f.Add("..", ".lock")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := refPart(a), refPart(b)
		if (x == y) != (a == b) || strings.EqualFold(x, y) != (a == b) {
			t.Errorf("%q and %q become %q and %q", a, b, x, y)
		}
		if strings.ContainsAny(x, "./\\ ~^:?*[@{") || strings.HasPrefix(x, "-") {
			t.Errorf("%q becomes %q", a, x)
		}
	})
}
