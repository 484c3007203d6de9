package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/topic/delta"
)

// Generators are made anew for each test: they may not be shared.

func texts() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		`"a"`, `"b"`, `"c"`, `"\u0061"`, `"a/b"`, `"~"`, `"~1"`, `""`, `"\""`, `"\\\n"`, `"é"`, `"\u00e9"`, `"\ud83d\ude00"`, `"😀"`, `"-"`, `"0"`, `"1"`,
	})
}

func scalars() *rapid.Generator[string] {
	return rapid.OneOf(texts(), rapid.SampledFrom([]string{
		`0`, `1`, `2`, `-1`, `1.0`, `0.10`, `12345678901234567890`, `1e400`, `true`, `false`, `null`,
	}))
}

// jsonOf draws JSON with few different values, so that much is alike.
func jsonOf(t *rapid.T, depth int) string {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		return scalars().Draw(t, "scalar")
	}
	blank := rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "blank")
	if rapid.Bool().Draw(t, "array") {
		var all []string
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			all = append(all, jsonOf(t, depth-1))
		}
		return "[" + blank + strings.Join(all, blank+","+blank) + blank + "]"
	}
	var all []string
	for _, key := range rapid.SliceOfNDistinct(texts(), 0, 6, decoded).Draw(t, "keys") {
		all = append(all, key+blank+":"+jsonOf(t, depth-1))
	}
	return "{" + strings.Join(all, blank+","+blank) + "}"
}

func decoded(s string) string {
	var out string
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		panic(err)
	}
	return out
}

// changed returns JSON that is like v but for a few places.
func changed(t *rapid.T, v any, odds int) any {
	if rapid.IntRange(0, odds).Draw(t, "change") == 0 {
		return json.RawMessage(jsonOf(t, 2))
	}
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, e := range v {
			switch rapid.IntRange(0, 12).Draw(t, "element") {
			case 0:
			case 1:
				out = append(out, json.RawMessage(jsonOf(t, 1)), e)
			default:
				out = append(out, changed(t, e, odds))
			}
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			e := v[k]
			if rapid.IntRange(0, 8).Draw(t, "member") > 0 {
				out[k] = changed(t, e, odds)
			}
		}
		if rapid.IntRange(0, 5).Draw(t, "more") == 0 {
			out[decoded(texts().Draw(t, "key"))] = json.RawMessage(jsonOf(t, 1))
		}
		return out
	default:
		return v
	}
}

// pairOf draws two contents, mostly not far from each other. Around them there
// is much that stays, so that a change is smaller.
func pairOf(t *rapid.T) (before, after []byte) {
	a := jsonOf(t, 4)
	var b string
	if rapid.IntRange(0, 4).Draw(t, "other") == 0 {
		b = jsonOf(t, 4)
	} else {
		out, err := json.Marshal(changed(t, value(t, []byte(a)), 12))
		if err != nil {
			t.Fatal(err)
		}
		b = string(out)
	}
	pad := strings.Repeat("x", 4000)
	return fmt.Appendf(nil, `{"pad":%q,"x":%s}`, pad, a), fmt.Appendf(nil, `{"x":%s,"pad":%q}`, b, pad)
}

func TestPatchProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, after := pairOf(t)
		check(t, before, after)
	})
}

// check makes and applies all changes of two contents.
func check(t fataler, before, after []byte) {
	t.Helper()
	patch, ok := delta.Patch(before, after)
	if ok {
		checkOne(t, delta.PatchType, before, patch, after)
	}
	if patch, ok := delta.Merge(before, after); ok {
		checkOne(t, delta.MergeType, before, patch, after)
	}
	if patch, ok := delta.Rows(before, after, "id"); ok {
		checkOne(t, delta.RowsType, before, patch, after)
	}
}

func checkOne(t fataler, kind string, before, patch, after []byte) {
	t.Helper()
	if len(patch) >= len(after) {
		t.Fatalf("%s: %s is not smaller than %s", kind, patch, after)
	}
	got, err := delta.Apply(kind, before, patch)
	if err != nil {
		t.Fatalf("%s: %s + %s: %v", kind, before, patch, err)
	}
	if !reflect.DeepEqual(value(t, got), value(t, after)) {
		t.Fatalf("%s: %s + %s:\ngot %s\nwant %s", kind, before, patch, got, after)
	}
}

func TestPatchAlwaysThere(t *testing.T) {
	t.Parallel()
	// Much stays, little changes: there has to be a patch.
	rapid.Check(t, func(t *rapid.T) {
		pad := strings.Repeat("x", 1000)
		before := fmt.Appendf(nil, `{"pad":%q,"x":%s}`, pad, scalars().Draw(t, "a"))
		after := fmt.Appendf(nil, `{"x":%s,"pad":%q}`, scalars().Draw(t, "b"), pad)
		if _, ok := delta.Patch(before, after); !ok {
			t.Fatalf("%s to %s: no patch", before, after)
		}
		check(t, before, after)
	})
}

func TestRowsProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.IntRange(0, 40), 0, 30, rapid.ID).Draw(t, "before")
		next := slices.Clone(keys)
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			i := rapid.IntRange(0, len(next)).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				if i < len(next) {
					next = slices.Delete(next, i, i+1)
				}
			case 1:
				if k := rapid.IntRange(0, 60).Draw(t, "new"); !slices.Contains(next, k) {
					next = slices.Insert(next, i, k)
				}
			default:
				if i < len(next) {
					k := next[i]
					next = slices.Delete(next, i, i+1)
					next = slices.Insert(next, rapid.IntRange(0, len(next)).Draw(t, "to"), k)
				}
			}
		}
		write := func(keys []int) []byte {
			all := []string{}
			for _, k := range keys {
				id := fmt.Sprint(k)
				if k%3 == 0 {
					id = `"` + id + `"`
				}
				all = append(all, fmt.Sprintf(`{"id":%s,"v":%d,"pad":%q}`, id, rapid.IntRange(0, 1).Draw(t, "v"), strings.Repeat("x", 100)))
			}
			return []byte("[" + strings.Join(all, ",") + "]")
		}
		before, after := write(keys), write(next)
		change, ok := delta.Rows(before, after, "id")
		if !ok {
			return
		}
		got, err := delta.ApplyRows(before, change)
		if err != nil || string(got) != string(after) {
			t.Fatalf("%s + %s: got %s, %v; want %s", before, change, got, err, after)
		}
	})
}

func TestHostile(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 512) + strings.Repeat("]", 512)
	for name, c := range map[string]struct{ content, patch string }{
		"too deep":           {`{}`, `[{"op":"add","path":"","value":[` + deep + `]}]`},
		"too deep when done": {`[]`, `[{"op":"add","path":"/0","value":` + deep[10:len(deep)-10] + `}` + strings.Repeat(`,{"op":"copy","from":"","path":"/0"}`, 12) + `]`},
		"doubled":            {`[1]`, `[{"op":"copy","from":"","path":"/0"}` + strings.Repeat(`,{"op":"copy","from":"","path":"/0"}`, 60) + `]`},
		"much work": {"[" + strings.Repeat("1,", 100_000) + "1]", `[` + strings.Repeat(`{"op":"add","path":"/0","value":1},`, 10_000) +
			`{"op":"remove","path":"/0"}]`},
	} {
		got, err := delta.ApplyPatch([]byte(c.content), []byte(c.patch))
		if !errors.Is(err, delta.ErrInvalid) {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
	// Contents that are as deep and as unlike as can be take no time.
	inner := func(s string) []byte {
		return []byte(strings.Repeat(`[`, 500) + "[" + strings.Repeat(s+",", 100_000) + s + "]" + strings.Repeat(`]`, 500))
	}
	check(t, inner("1"), inner("2"))
	check(t, inner(`{"a":1}`), inner(`{"a" :1}`))
}

func FuzzDelta(f *testing.F) {
	for _, v := range patchVectors {
		f.Add([]byte(v.content), []byte(v.patch), []byte(v.result))
	}
	for _, v := range mergeVectors {
		f.Add([]byte(v.content), []byte(v.patch), []byte(v.result))
	}
	f.Add([]byte(rows("a1 b2 c3")), []byte(`{"key":"id","remove":["a"],"order":["c"]}`), []byte(rows("c3 b2")))
	f.Fuzz(func(t *testing.T, before, change, after []byte) {
		for _, kind := range []string{delta.MergeType, delta.PatchType, delta.RowsType} {
			got, err := delta.Apply(kind, before, change)
			if err == nil && !json.Valid(got) {
				t.Fatalf("%s: %s + %s: got %s", kind, before, change, got)
			}
			if err != nil && !errors.Is(err, delta.ErrInvalid) && !errors.Is(err, delta.ErrMismatch) {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		check(t, before, after)
	})
}
