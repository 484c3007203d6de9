package route

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive is the textbook edit distance.
func naive(a, b string) int {
	a, b = strings.Map(fold, a), strings.Map(fold, b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func fold(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

func TestDistance(t *testing.T) {
	t.Parallel()
	gen := rapid.StringOfN(rapid.RuneFrom([]rune("abAüß-")), 0, 70, 70)
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		limit := rapid.IntRange(0, maxTypos).Draw(t, "limit")
		w := newWord(a)
		got, want := w.distance(b, limit), max(naive(a, b), 1)
		if want > limit || 2*naive(a, b) >= max(len(a), len(b)) || a == "" || max(len(a), len(b)) > maxSuggestBytes {
			want = limit + 1
		}
		if got != want {
			t.Fatalf("from %q to %q within %d: %d, want %d", a, b, limit, got, want)
		}
	})
}
