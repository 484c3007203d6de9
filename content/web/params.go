package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// params are the parameters of a request, read.
type params struct {
	body   json.RawMessage // what is posted; nil if there is nothing to post
	base64 bool
}

// key is the same for requests that have the same content.
func (p *params) key(t *target) string {
	return strconv.FormatBool(p.base64) + " " + t.String() + " " + string(p.body)
}

// readParams reads the canonical parameters of a request.
func readParams(raw json.RawMessage) (params, error) {
	var p params
	if len(raw) == 0 {
		return p, nil
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &all); err != nil {
		return p, errParam("params", "the parameters are not an object", "Send them by name.")
	}
	own := 0
	for name, value := range all {
		if !strings.HasPrefix(name, "$") {
			continue
		}
		if name != "$encoding" {
			return p, errParam(name, "there is no parameter "+clip(name), `There is only "$encoding"; names with $ are not sent.`)
		}
		if string(value) != `"base64"` {
			return p, errParam(name, `$encoding is not "base64"`, `Leave it out to get bytes with their content type.`)
		}
		p.base64 = true
		own++
		delete(all, name)
	}
	if len(all) == 0 && own > 0 {
		return p, nil
	}
	if own == 0 {
		p.body = raw
		return p, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(all); err != nil {
		return p, fmt.Errorf("write parameters: %w", err)
	}
	p.body = bytes.TrimSpace(b.Bytes())
	return p, nil
}

func errParam(name, what, hint string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, what, hint)
	e.Path = clip(name)
	return e
}
