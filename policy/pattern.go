package policy

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// kind is what a segment of a pattern stands for.
type kind uint8

const (
	literal kind = iota // its text
	one                 // any one segment; text is the name of a parameter, or ""
	claim               // the value of the claim that is called text
	subject             // who it is
)

// segment is a segment of a pattern, or the name in front.
type segment struct {
	kind kind
	text string
}

// String returns the segment as it is written.
func (s segment) String() string {
	switch {
	case s.kind == claim:
		return claimOpen + s.text + "}"
	case s.kind == subject:
		return subjectText
	case s.kind == one && s.text != "":
		return "{" + s.text + "}"
	case s.kind == one:
		return wildOne
	}
	return s.text
}

const (
	wildOne     = "*"
	wildRest    = "**"
	claimOpen   = "{claims."
	subjectText = "{session.subject}"
)

// pattern is an address of a rule.
type pattern struct {
	text string
	name segment
	path []segment
	rest bool // it ends in **
}

// confines tells whether the pattern stands for something else in each session.
func (p *pattern) confines() bool {
	for _, s := range p.segments() {
		if s.kind == claim || s.kind == subject {
			return true
		}
	}
	return false
}

// segments are the name and the path.
func (p *pattern) segments() []segment { return append([]segment{p.name}, p.path...) }

// parsePattern reads an address of a rule. Its error has CodeInvalidInput.
func parsePattern(s string) (*pattern, error) {
	name, path, ok := strings.Cut(s, ":")
	switch {
	case len(s) > message.MaxAddress:
		return nil, badPattern(s, fmt.Sprintf("it is longer than %d bytes", message.MaxAddress), "Use a shorter pattern, or ** for the rest.")
	case !ok || name == "":
		return nil, badPattern(s, "it does not begin with the name of a service and a colon", "Write it like orders:/**, or *:/** for all services.")
	case strings.Contains(name, "@"):
		return nil, badPattern(s, "it names an instance", `Leave it out, and use the condition address.instance == "…".`)
	case strings.HasPrefix(path, "["):
		return nil, badPattern(s, "it has a method", `Leave it out, and use the condition address.method == "get".`)
	}
	if (name == "http" || name == "https") && strings.HasPrefix(path, "//") {
		path = path[1:] // as in addresses
	}
	p := &pattern{text: s}
	var err error
	if p.name, err = parseSegment(s, name); err != nil {
		return nil, err
	}
	if p.name.kind == one && p.name.text != "" {
		return nil, badPattern(s, "a name cannot be a parameter", "Use * for all services, and address.name in the condition.")
	}
	return p, p.parsePath(path)
}

// parsePath reads what comes behind the colon. What is ours is taken out, and
// the rest has to be a pattern as those of routes are.
func (p *pattern) parsePath(path string) error {
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	shape := strings.Split(path, "/")
	for i, text := range shape {
		if i == 0 {
			continue
		}
		seg, err := parseSegment(p.text, text)
		if err != nil {
			return err
		}
		switch {
		case text == wildRest && i == len(shape)-1:
			p.rest = true
		case path != "/":
			p.path = append(p.path, seg)
		}
		switch seg.kind {
		case claim, subject:
			shape[i] = wildOne
		case literal: // of a route it is a mistake; here it may be the port of a host
			shape[i] = strings.ReplaceAll(text, ":", "-")
		case one:
		}
	}
	if _, err := route.ParsePattern(strings.Join(shape, "/")); err != nil {
		e := message.AsError(err)
		_, why, _ := strings.Cut(e.Message, "is not valid: ")
		return badPattern(p.text, why, e.Hint)
	}
	return nil
}

func parseSegment(pattern, text string) (segment, error) {
	inner, open := strings.CutPrefix(text, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	switch {
	case text == wildOne:
		return segment{kind: one}, nil
	case text == subjectText:
		return segment{kind: subject}, nil
	case open && closed && strings.HasPrefix(text, claimOpen):
		name := inner[len(claimOpen)-1:]
		if !validName(name) {
			return segment{}, badPattern(pattern, quote(name)+" is not the name of a claim",
				"Use letters, digits, _ and -, as in {claims.tenant}; what is within a claim is for the condition.")
		}
		return segment{kind: claim, text: name}, nil
	case open && closed && strings.HasPrefix(inner, "session."):
		return segment{}, badPattern(pattern, "there is only {session.subject}", "Use a claim, as in {claims.tenant}, or the condition.")
	case strings.Contains(text, claimOpen) || strings.Contains(text, subjectText):
		return segment{}, badPattern(pattern, fmt.Sprintf("the segment %s mixes text and a claim", quote(text)), "A claim is a whole segment.")
	case open && closed:
		return segment{kind: one, text: inner}, nil
	}
	return segment{kind: literal, text: text}, nil
}

func validName(name string) bool {
	for _, r := range name {
		if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

func badPattern(text, why, hint string) error {
	return message.NewError(message.CodeInvalidInput, fmt.Sprintf("the address %s is not valid: %s", quote(text), why), hint)
}
