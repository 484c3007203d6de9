package config

import "strings"

// suggest returns the one of words that word was probably meant to be, or "".
func suggest(word string, words []string) string {
	word = fold(word)
	// Two slips, but fewer in short words, where two would be half of it.
	limit := min(2, len([]rune(word))/3)
	best, found := limit+1, ""
	for _, w := range words {
		f := fold(w)
		if f == word {
			return w
		}
		if d := distance(word, f); d < best {
			best, found = d, w
		}
	}
	return found
}

// fold makes words equal that differ in the way that they are written.
func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// distance is the number of letters to insert, remove, replace or swap with
// their neighbour to make b of a.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 { // no field is that long
		return 64
	}
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row[0] = i + 1
		for j := range t {
			change := 1
			if s[i] == t[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
