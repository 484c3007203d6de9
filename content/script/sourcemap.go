package script

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/content/script/engine"
)

// place is a place in a script, as its author sees it.
type place struct {
	// File is the path of the script, as in its address.
	File string `json:"file,omitempty"`
	// Line and Column count from 1; 0 is not known.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

func (p place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// frame is one line of a stack.
type frame struct {
	place
	Function string `json:"function,omitempty"`
}

// details are what programs see of an error of a script.
type details struct {
	place
	Name  string  `json:"error,omitempty"`
	Limit string  `json:"limit,omitempty"`
	Stack []frame `json:"stack,omitempty"`
	// Code and Details are those of the error of the host that the script did not
	// catch.
	Code    string          `json:"code,omitempty"`
	Details json.RawMessage `json:"details,omitempty"`
}

func (d details) json() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		return nil
	}
	return b
}

// segment says that from a place in the code on another holds in a file.
type segment struct {
	column       int
	file         int // index in files; -1: it comes from nowhere
	line, origin int
}

// sourceMap says where the parts of a code come from.
type sourceMap struct {
	files []string
	lines [][]segment // by line of the code, each sorted by column
	above int         // lines before the first
	plain bool        // the code is the file
}

// plainMap is the map of a file that is run as it is.
func plainMap(p string) *sourceMap { return &sourceMap{files: []string{p}, plain: true} }

// readSourceMap reads a source map (version 3) of a code before which stand so
// many lines. Of one that is broken it reads what it can: it is only used for
// messages.
func readSourceMap(b []byte, above int) *sourceMap {
	var in struct {
		Sources  []string `json:"sources"`
		Mappings string   `json:"mappings"`
	}
	if json.Unmarshal(b, &in) != nil {
		return &sourceMap{}
	}
	m := &sourceMap{above: above}
	for _, s := range in.Sources {
		m.files = append(m.files, strings.TrimPrefix(s, space+":"))
	}
	file, line, origin := 0, 0, 0
	for text := range strings.SplitSeq(in.Mappings, ";") {
		var segs []segment
		column := 0
		for part := range strings.SplitSeq(text, ",") {
			n := vlq(part)
			if len(n) == 0 {
				continue
			}
			column += n[0]
			seg := segment{column: column, file: -1}
			if len(n) >= 4 {
				file, line, origin = file+n[1], line+n[2], origin+n[3]
				seg.file, seg.line, seg.origin = file, line, origin
			}
			segs = append(segs, seg)
		}
		slices.SortStableFunc(segs, func(a, b segment) int { return a.column - b.column })
		m.lines = append(m.lines, segs)
	}
	return m
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq reads numbers in base64 VLQ, up to the first that is broken.
func vlq(s string) []int {
	var out []int
	n, shift := 0, 0
	for i := range len(s) {
		d := strings.IndexByte(base64Digits, s[i])
		if d < 0 || shift > 30 {
			return out
		}
		n |= (d & 31) << shift
		shift += 5
		if d&32 != 0 {
			continue
		}
		if n&1 != 0 {
			out = append(out, -(n >> 1))
		} else {
			out = append(out, n>>1)
		}
		n, shift = 0, 0
	}
	return out
}

// at returns where a place in the code comes from. line and column count from 1.
func (m *sourceMap) at(line, column int) (place, bool) {
	if m == nil || line <= 0 {
		return place{}, false
	}
	if m.plain {
		return place{File: m.files[0], Line: line, Column: column}, true
	}
	line -= m.above + 1
	if line < 0 || line >= len(m.lines) {
		return place{}, false
	}
	segs := m.lines[line]
	i, exact := slices.BinarySearchFunc(segs, column-1, func(s segment, c int) int { return s.column - c })
	if !exact {
		i--
	}
	if i < 0 {
		return place{}, false
	}
	s := segs[i]
	if s.file < 0 || s.file >= len(m.files) || s.line < 0 || s.origin < 0 || m.files[s.file] == "start" {
		return place{}, false
	}
	return place{File: m.files[s.file], Line: s.line + 1, Column: s.origin + 1}, true
}

// stackLine is a line of a stack as the engine writes it.
var stackLine = regexp.MustCompile(`^\s*at (?:(.*) \()?<eval>:(\d+):(\d+)\)?$`)

// maxFrames is how many lines of a stack are told.
const maxFrames = 20

// stack returns a stack in the places of the script's author. What is not of the
// script is left out.
func (m *sourceMap) stack(text string) []frame {
	var out []frame
	for line := range strings.Lines(text) {
		f := stackLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if f == nil {
			continue
		}
		row, _ := strconv.Atoi(f[2])
		column, _ := strconv.Atoi(f[3])
		at, ok := m.at(row-engine.Lines, column)
		if !ok {
			continue
		}
		name := f[1]
		if strings.HasPrefix(name, "<") {
			name = ""
		}
		if out = append(out, frame{at, name}); len(out) == maxFrames {
			break
		}
	}
	return out
}

// maxText is how long a text of a script may be in an error, in bytes.
const maxText = 2 << 10

func clip(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
