package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// input is the body of a message on the command line.
type input struct {
	Body        string            `arg:"" optional:"" name:"json" help:"The body: JSON, - to read it from standard input, @FILE from a file."`
	ContentType string            `placeholder:"TYPE" help:"The body is no JSON but this, and is sent as it is."`
	Header      map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"Send a header along; may be given more than once."`
	Timeout     time.Duration     `default:"30s" placeholder:"TIME" help:"How long the answer may take. Default: ${default}."`
}

// maxInput bounds what is read from a file or standard input; no node takes
// frames of that size.
const maxInput = 64 << 20

// read returns the body, or nil if there is none.
func (i *input) read(w *world) (any, error) {
	var (
		text []byte
		err  error
	)
	switch {
	case i.Body == "":
		return nil, nil //nolint:nilnil // no body is a body, too
	case i.Body == "-":
		text, err = io.ReadAll(io.LimitReader(w.in, maxInput))
	case strings.HasPrefix(i.Body, "@"):
		text, err = os.ReadFile(i.Body[1:])
	default:
		text = []byte(i.Body)
	}
	if err != nil {
		return nil, usage("the body cannot be read: "+err.Error(), "Name a file after the @, or write - for standard input.")
	}
	if i.ContentType != "" {
		return text, nil
	}
	if !message.ValidJSON(text) {
		return nil, i.notJSON(text)
	}
	return json.RawMessage(text), nil
}

// notJSON says what is wrong with a body, and where it came from.
func (i *input) notJSON(text []byte) error {
	name, elsewhere := strings.CutPrefix(i.Body, "@")
	if i.Body == "-" {
		name, elsewhere = "standard input", true
	}
	switch empty := len(bytes.TrimSpace(text)) == 0; {
	case empty && elsewhere:
		return usage("there is no body: "+name+" is empty", "Check what writes it.")
	case empty:
		return usage("the body is empty", "Leave the body out to send none.")
	case elsewhere:
		why := "it is none" // more than the decoder minds
		if err := json.Unmarshal(text, new(any)); err != nil {
			why = err.Error()
		}
		return usage(printable("the body in "+name+" is not JSON: "+why), "Correct it, or name what it is with --content-type.")
	default:
		return usage("the body is not JSON: "+short(oneLine(string(text)), 60),
			`Put JSON into single quotes, as in '{"a":2}' and '"text"', or name what it is with --content-type.`)
	}
}

func (i *input) options() []call.Option {
	var opts []call.Option
	for name, value := range i.Header {
		opts = append(opts, call.WithHeader(name, value))
	}
	if i.ContentType != "" {
		opts = append(opts, call.WithContentType(i.ContentType))
	}
	return append(opts, call.WithTimeout(i.Timeout))
}

// selection reads a strategy: a word, or an object as on the wire.
func selection(text string) (route.Selection, error) {
	if text == "" {
		return route.Selection{}, nil
	}
	raw := []byte(text)
	if !strings.HasPrefix(text, "{") {
		raw = strconv.AppendQuote(nil, text)
	}
	sel, err := route.ParseSelection(raw)
	if err != nil {
		e := message.AsError(err)
		return sel, usage("--strategy: "+e.Message, e.Hint)
	}
	return sel, nil
}

// choice is which servers come into question.
type choice struct {
	Scope   string `enum:",mesh,zone,node" default:"" placeholder:"WORD" help:"Only servers of this node (node), of its zone (zone), or of all nodes (mesh, the default)."`
	Version string `placeholder:"RANGE" help:"Only servers with a version in this range, such as ^1.2 or '>=1.2 <2'."`
}

// narrow puts the choice into a selection.
func (c *choice) narrow(sel *route.Selection) {
	if c.Scope != "" {
		sel.Scope = c.Scope
	}
	if c.Version != "" {
		sel.Version = c.Version
	}
}

// item is a part or reply as it is printed for programs. A body with a content
// type is base64, as on the wire.
type item struct {
	Type        string          `json:"type"`
	ContentType string          `json:"contentType,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"`
	Error       json.RawMessage `json:"error,omitempty"`
}

func newItem(kind string, body []byte, contentType string) item {
	i := item{Type: kind, ContentType: contentType}
	switch {
	case body == nil:
	case contentType == "" && message.ValidJSON(body):
		i.Body = body
	default:
		if contentType == "" {
			i.ContentType = call.Octets // what was said to be JSON is not
		}
		i.Body = strconv.AppendQuote(nil, base64.StdEncoding.EncodeToString(body))
	}
	return i
}
