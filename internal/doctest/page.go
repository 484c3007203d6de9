// Package doctest runs the commands and programs of README.md and docs/ as a
// reader would, and compares what they print with what the page says. Only its
// test is of use: make test-docs.
//
// A page is a terminal session. Its fenced blocks are taken from the top:
//
//	```console              commands after "$ " (continued after "> "), and
//	                        under each what it prints
//	```console background   the same in a second terminal; the last command runs
//	                        until the page ends
//	```console unordered    lines may come in any order
//	```go file=shop/main.go written to that file, beside the clone
//	```ts check             only type-checked
//
// Other blocks are left alone. In what is printed … stands for anything on a
// line, and a line that is only … for any number of lines; times, ids and ports
// need not be the same. A command may fail only where the page shows an error.
//
// Three comments, which a reader does not see, do what a page takes as given:
//
//	<!-- run: ropewalk dev demo -->       start it in a second terminal
//	<!-- run: go run . => is open -->     and wait for a line with this in it
//	<!-- stop: ropewalk hello -->         end it, as Ctrl-C does
//	<!-- kill: ropewalk hello -->         end it, as kill -9 does
package doctest

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
)

// Kind is what is done with a block.
type Kind uint8

// The kinds of blocks.
const (
	Session    Kind = iota // run Commands one after the other
	Background             // run them in another terminal
	File                   // write Text to the file Name
	Check                  // type-check Text
	Stop                   // end the Background whose last command begins with Text
	Kill                   // the same, by force
)

// Command is one command and what it prints.
type Command struct {
	Line   string // may have several lines
	Output string
}

// Block is one step of a page.
type Block struct {
	Kind      Kind
	Line      int // in the page
	Commands  []Command
	Unordered bool
	Lang      string
	Name      string
	Text      string
}

// Parse returns the steps of a page.
func Parse(page string) ([]Block, error) {
	var (
		blocks []Block
		info   string
		begin  int
		body   []string
		in     bool
	)
	lines := bufio.NewScanner(strings.NewReader(page))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case in && isFence:
			in = false
			b, ok, err := newBlock(info, body)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", begin, err)
			}
			if ok {
				b.Line = begin
				blocks = append(blocks, b)
			}
		case in:
			body = append(body, line)
		case isFence:
			in, info, begin, body = true, fence, n, nil
		default:
			if b, ok := comment(line); ok {
				b.Line = n
				blocks = append(blocks, b)
			}
		}
	}
	if in {
		return nil, fmt.Errorf("line %d: the block has no end", begin)
	}
	return blocks, lines.Err()
}

func comment(line string) (Block, bool) {
	text, ok := strings.CutSuffix(strings.TrimSpace(line), "-->")
	if !ok {
		return Block{}, false
	}
	if run, ok := strings.CutPrefix(text, "<!-- run:"); ok {
		line, until, ok := strings.Cut(run, " => ")
		c := Command{Line: strings.TrimSpace(line)}
		if ok {
			c.Output = "…\n…" + strings.TrimSpace(until) + "…\n"
		}
		return Block{Kind: Background, Commands: []Command{c}}, true
	}
	if stop, ok := strings.CutPrefix(text, "<!-- stop:"); ok {
		return Block{Kind: Stop, Text: strings.TrimSpace(stop)}, true
	}
	if kill, ok := strings.CutPrefix(text, "<!-- kill:"); ok {
		return Block{Kind: Kill, Text: strings.TrimSpace(kill)}, true
	}
	return Block{}, false
}

// newBlock makes the step that a fenced block stands for; ok is false if it is
// only to be read.
func newBlock(info string, body []string) (b Block, ok bool, err error) {
	words := strings.Fields(info)
	if len(words) == 0 {
		return b, false, nil
	}
	b.Lang, b.Text = words[0], strings.Join(body, "\n")+"\n"
	if b.Lang == "console" {
		b.Unordered = slices.Contains(words, "unordered")
		if slices.Contains(words, "background") {
			b.Kind = Background
		}
		b.Commands, err = commands(body)
		return b, true, err
	}
	for _, w := range words[1:] {
		if name, isFile := strings.CutPrefix(w, "file="); isFile {
			b.Kind, b.Name = File, name
			return b, true, nil
		}
		if w == "check" {
			b.Kind = Check
			return b, true, nil
		}
	}
	return b, false, nil
}

func commands(body []string) ([]Command, error) {
	var list []Command
	for _, line := range body {
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			list = append(list, Command{Line: c})
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%q stands before the first command; commands begin with \"$ \"", line)
		}
		last := &list[len(list)-1]
		if c, ok := strings.CutPrefix(line, "> "); ok && last.Output == "" {
			last.Line += "\n" + c
			continue
		}
		last.Output += line + "\n"
	}
	return list, nil
}
