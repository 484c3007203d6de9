package route

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/ropewalk/ropewalk/message"
)

// AppendJSON appends the reply of a gather to dst, as docs/reference/wire.md
// describes it. Bodies without a content type have to be JSON, as those that
// went through [Gather.Add] are.
func (g *Gathered) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"answers":[`...)
	for i := range g.Answers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = g.Answers[i].AppendJSON(dst)
	}
	dst = append(dst, `],"missing":[`...)
	for i := range g.Missing {
		if i > 0 {
			dst = append(dst, ',')
		}
		m := &g.Missing[i]
		dst = append(appendTarget(dst, m.Server, m.Node, m.Name, m.Path), '}')
	}
	dst = append(dst, `],"servers":`...)
	dst = strconv.AppendInt(dst, int64(g.Servers), 10)
	return append(dst, '}')
}

// AppendJSON appends one answer to dst: an element of the reply of a gather,
// and the body of the part that a gather with parts sends for it.
func (a *Answer) AppendJSON(dst []byte) []byte {
	dst = appendTarget(dst, a.Server, a.Node, a.Name, a.Path)
	dst = append(dst, `,"took":`...)
	dst = strconv.AppendFloat(dst, float64(a.Took.Microseconds())/1e6, 'f', -1, 64)
	switch {
	case a.Err != nil:
		dst = append(dst, `,"error":`...)
		dst = message.AppendError(dst, a.Err)
	case a.Body != nil && a.ContentType != "":
		dst = append(dst, `,"contentType":`...)
		dst = appendText(dst, a.ContentType)
		dst = append(dst, `,"body":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, a.Body), '"')
	case a.Body != nil:
		dst = append(dst, `,"body":`...)
		dst = append(dst, a.Body...)
	}
	return append(dst, '}')
}

func appendTarget(dst []byte, server, node, name, path string) []byte {
	dst = appendText(append(dst, `{"server":`...), server)
	if node != "" {
		dst = appendText(append(dst, `,"node":`...), node)
	}
	dst = appendText(append(dst, `,"name":`...), name)
	return appendText(append(dst, `,"path":`...), path)
}

// appendText appends a JSON string.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) //nolint:errchkjson // of a string it cannot fail
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}
