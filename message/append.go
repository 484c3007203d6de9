package message

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// AppendJSON appends m as a frame of the JSON framing, with short names. A body
// with a content type is written as base64; a body without one must be valid
// JSON (see [ValidJSON]), and so must Headers and Strategy.
func AppendJSON(dst []byte, m *Message) []byte {
	w := writer{dst: append(dst, '{')}
	w.envelope(m)
	switch {
	case m.Body == nil:
	case len(m.ContentType) > 0:
		w.key(`"bdy":"`)
		w.dst = base64.StdEncoding.AppendEncode(w.dst, m.Body)
		w.dst = append(w.dst, '"')
	case len(m.Body) > 0: // nothing is not JSON
		w.key(`"bdy":`)
		w.dst = append(w.dst, m.Body...)
	}
	return append(w.dst, '}')
}

// AppendSplit appends m as a frame of the split framing, with short names.
// Headers and Strategy must be valid JSON; the body may be any bytes.
func AppendSplit(dst []byte, m *Message) []byte {
	w := writer{dst: append(dst, '{'), oneLine: true}
	w.envelope(m)
	dst = append(w.dst, '}')
	if m.Body != nil {
		dst = append(append(dst, '\n'), m.Body...)
	}
	return dst
}

// writer appends the members of an object. Names come with their quotes and
// colon, so that a member costs two copies.
type writer struct {
	dst     []byte
	comma   bool
	oneLine bool
}

func (w *writer) key(name string) {
	if w.comma {
		w.dst = append(w.dst, ',')
	}
	w.comma = true
	w.dst = append(w.dst, name...)
}

func (w *writer) text(name string, s []byte) {
	if len(s) > 0 {
		w.key(name)
		w.dst = appendText(w.dst, s)
	}
}

// raw appends a member that is JSON already.
func (w *writer) raw(name string, s []byte) {
	if len(s) == 0 {
		return
	}
	w.key(name)
	if !w.oneLine || bytes.IndexByte(s, '\n') < 0 {
		w.dst = append(w.dst, s...)
		return
	}
	// A raw line feed in JSON is a blank between two tokens, never inside one:
	// it can go.
	for _, c := range s {
		if c != '\n' {
			w.dst = append(w.dst, c)
		}
	}
}

func (w *writer) envelope(m *Message) {
	if m.Verb != VerbNone {
		w.key(`"vrb":"`)
		w.dst = append(append(w.dst, m.Verb.String()...), '"')
	}
	w.text(`"to":`, m.To)
	w.text(`"frm":`, m.From)
	w.text(`"mid":`, m.Mid)
	w.text(`"rmid":`, m.Rmid)
	w.raw(`"hdr":`, m.Headers)
	if m.Timeout > 0 {
		w.key(`"tmo":`)
		w.dst = appendSeconds(w.dst, m.Timeout)
	}
	w.text(`"ts":`, m.Timestamp)
	w.text(`"typ":`, m.Type)
	w.text(`"ver":`, m.UMFVersion)
	w.text(`"via":`, m.Via)
	w.text(`"fwd":`, m.Forward)
	w.text(`"sig":`, m.Signature)
	w.text(`"aut":`, m.Authorization)
	w.raw(`"ses":`, m.Session)
	if m.Seq > 0 {
		w.key(`"seq":`)
		w.dst = strconv.AppendUint(w.dst, m.Seq, 10)
	}
	w.text(`"tpc":`, m.Topic)
	w.text(`"epo":`, m.Epoch)
	if m.Offset > 0 {
		w.key(`"off":`)
		w.dst = strconv.AppendUint(w.dst, m.Offset, 10)
	}
	if m.Fault {
		w.key(`"flt":true`)
	}
	w.raw(`"pub":`, m.Publisher)
	w.text(`"cty":`, m.ContentType)
	w.raw(`"str":`, m.Strategy)
	if m.Ack {
		w.key(`"ack":true`)
	}
}
