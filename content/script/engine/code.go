package engine

import (
	_ "embed"
	"strings"
	"sync/atomic"
)

// Code is a script that can be run. It is read by QuickJS once in each process;
// what comes of that lives as long as the Code. It may be used from any goroutine.
type Code struct {
	text    string
	classic bool
	number  uint64
	before  string // empty lines
	read    atomic.Pointer[[]byte]
}

var (
	//go:embed prelude.js
	preludeText string
	//go:embed web.js
	webText string

	prelude = &Code{text: preludeText}
	web     = &Code{text: webText}
)

// codes counts them: workers know them by their number.
var codes atomic.Uint64

// NewCode returns the script of a text: an async function that gets the function
// to hand its exports to, or if classic is set a program whose last value is the
// result.
func NewCode(text string, classic bool) *Code {
	return &Code{text: text, classic: classic, number: codes.Add(1), before: shift}
}

// Lines is how many lines stand before the first line of a job's code: a place
// in a stack that is not beyond them is in the prelude.
const Lines = 1000

// shift moves code behind the lines of the prelude.
var shift = strings.Repeat("\n", Lines)

// function returns the script as a function of a machine, for start.
func (c *Code) function(m *vm) (value, error) {
	if b := c.read.Load(); b != nil {
		return m.read(*b)
	}
	f, err := m.compile(c.before, c.text)
	if err != nil {
		return f, err
	}
	if b := m.save(f); b != nil {
		c.read.Store(&b)
	}
	return f, nil
}
