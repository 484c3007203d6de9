package message

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// Limits of the envelope, in bytes.
const (
	MaxMid     = 128  // of mid and rmid
	MaxAddress = 1024 // of to and frm
)

// jsonType is the content type that need not be said.
const jsonType = "application/json"

// DecodeJSON reads a frame of the JSON framing into m, whose former content is
// lost. The fields of m point into frame, but for strings that were written
// with escapes and bodies that were base64.
//
// The error is an *Error: [CodeBadFrame] if the frame is not one JSON object in
// UTF-8; [CodeBadMessage] if a field is of the wrong type, named by Path;
// [CodeBadAddress] or [CodeUnknownVerb]. The fields that could be read are in
// m nevertheless, so that the error can be sent to the one who asked.
func DecodeJSON(frame []byte, m *Message) error {
	m.Reset()
	d := decoder{m: m}
	d.object(frame)
	d.finishBody()
	return d.result()
}

// DecodeSplit reads a frame of the split framing into m: the envelope up to the
// first line feed, then the body as it is. Everything else is as in
// [DecodeJSON]; the body is not looked at.
func DecodeSplit(frame []byte, m *Message) error {
	m.Reset()
	d := decoder{m: m, split: true}
	envelope := frame
	if i := bytes.IndexByte(frame, '\n'); i >= 0 { //nolint:modernize // what bytes.Cut comes to
		envelope = frame[:i]
		m.Body = frame[i+1:]
	}
	d.object(envelope)
	return d.result()
}

// decoder fills a Message. The first error is kept and the rest of the frame is
// read all the same.
type decoder struct {
	m     *Message
	err   *Error
	body  value // as it stands in a JSON frame
	split bool
}

func (d *decoder) result() error {
	if d.err == nil {
		return nil // not a nil *Error in an error
	}
	return d.err
}

func (d *decoder) fail(e *Error) {
	if d.err == nil {
		d.err = e
	}
}

// object reads the envelope, which must be all of b.
func (d *decoder) object(b []byte) {
	if !utf8.Valid(b) {
		d.fail(NewError(CodeBadFrame, "the frame is not valid UTF-8", "Encode text as UTF-8; send other bytes as a body with a content type."))
		return
	}
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		d.fail(NewError(CodeBadFrame, "the frame is not a JSON object", `Send an object such as {"to":"math:/decimal/mul","mid":"1","bdy":[2,3]}.`))
		return
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		d.end(b, i+1)
		return
	}
	var key, val value
	for {
		end, f := scanMember(b, i, &key, &val)
		if f != faultNone {
			d.fault(end, f)
			return
		}
		d.member(&key, &val)
		i = skipSpace(b, end)
		switch {
		case i >= len(b):
			d.fault(i, faultTruncated)
			return
		case b[i] == '}':
			d.end(b, i+1)
			return
		case b[i] != ',':
			d.fault(i, faultSyntax)
			return
		}
		i = skipSpace(b, i+1)
	}
}

// end checks that nothing follows the envelope.
func (d *decoder) end(b []byte, i int) {
	if i = skipSpace(b, i); i < len(b) {
		d.fail(NewError(CodeBadFrame, "something follows the message at byte "+strconv.Itoa(i), "Send one message a frame."))
	}
}

func (d *decoder) fault(at int, f fault) {
	pos := strconv.Itoa(at)
	switch {
	case f == faultDepth:
		d.fail(NewError(CodeBadFrame, "the JSON is nested too deep at byte "+pos, "Nest at most "+strconv.Itoa(maxDepth)+" levels."))
	case f == faultTruncated && d.split:
		d.fail(NewError(CodeBadFrame, "the envelope is cut off at byte "+pos, "Write the whole envelope on one line, then the line feed and the body."))
	case f == faultTruncated:
		d.fail(NewError(CodeBadFrame, "the JSON is cut off at byte "+pos, "Send a whole message in a frame."))
	default:
		d.fail(NewError(CodeBadFrame, "the JSON is wrong at byte "+pos, "Make the frame with a JSON encoder."))
	}
}

// member stores one field of the envelope.
func (d *decoder) member(key, val *value) {
	m := d.m
	switch string(key.text()) {
	case "vrb", "verb":
		d.verb(val)
	case "to":
		d.address(&m.To, val, "to")
	case "frm", "from":
		d.address(&m.From, val, "frm")
	case "mid":
		d.id(&m.Mid, val, "mid")
	case "rmid":
		d.id(&m.Rmid, val, "rmid")
	case "bdy", "body":
		d.body = *val
	case "hdr", "headers":
		d.raw(&m.Headers, val, "hdr", false)
	case "tmo", "timeout":
		d.timeout(val)
	case "ts", "timestamp":
		d.text(&m.Timestamp, val, "ts")
	case "typ", "type":
		d.text(&m.Type, val, "typ")
	case "ver", "version":
		d.text(&m.UMFVersion, val, "ver")
	case "seq", "sequence":
		d.number(&m.Seq, val, "seq")
	case "cty", "contentType":
		d.contentType(val)
	case "str", "strategy":
		d.raw(&m.Strategy, val, "str", true)
	case "ack", "acknowledge":
		d.flag(&m.Ack, val, "ack")
	case "aut", "authorization":
		d.text(&m.Authorization, val, "aut")
	case "ses":
		d.raw(&m.Session, val, "ses", false)
	case "tpc", "topic":
		d.text(&m.Topic, val, "tpc")
	case "epo", "epoch":
		d.text(&m.Epoch, val, "epo")
	case "off", "offset":
		d.number(&m.Offset, val, "off")
	case "flt", "fault":
		d.flag(&m.Fault, val, "flt")
	case "pub", "publisher":
		d.raw(&m.Publisher, val, "pub", false)
	case "via":
		d.text(&m.Via, val, "via")
	case "fwd", "forward":
		d.text(&m.Forward, val, "fwd")
	case "sig", "signature":
		d.text(&m.Signature, val, "sig")
	}
	if d.split && d.body.raw != nil {
		d.body = value{}
		d.fail(badField("bdy", "is not in the envelope of a split frame", "Write the body after the line feed."))
	}
}

func badField(name, text, hint string) *Error {
	e := NewError(CodeBadMessage, "the field "+name+" "+text, hint)
	e.Path = name
	return e
}

func (d *decoder) wrongType(name, want string) {
	d.fail(badField(name, "is not "+want, "Send "+want+", or leave the field out."))
}

func (d *decoder) verb(val *value) {
	d.m.Verb = VerbNone
	if val.kind == kindNull {
		return
	}
	if val.kind != kindString {
		d.wrongType("vrb", "a string")
		return
	}
	text := val.text()
	v, ok := ParseVerbBytes(text)
	if !ok {
		d.fail(unknownVerb(text))
		return
	}
	d.m.Verb = v
}

func (d *decoder) text(f *[]byte, val *value, name string) {
	*f = nil
	switch val.kind {
	case kindNull:
	case kindString:
		*f = val.text()
	default:
		d.wrongType(name, "a string")
	}
}

func (d *decoder) address(f *[]byte, val *value, name string) {
	d.text(f, val, name)
	if len(*f) > MaxAddress {
		*f = nil
		e := NewError(CodeBadAddress, "the address in "+name+" is longer than 1024 bytes", "Use a shorter address; put data into the body.")
		e.Path = name
		d.fail(e)
	}
}

func (d *decoder) id(f *[]byte, val *value, name string) {
	if val.kind == kindNumber {
		*f = val.raw
	} else {
		*f = nil
		if val.kind == kindNull {
			return
		}
		if val.kind != kindString {
			d.wrongType(name, "a string")
			return
		}
		*f = val.text()
	}
	if n := len(*f); n < 1 || n > MaxMid {
		*f = nil
		d.fail(badField(name, "has "+strconv.Itoa(n)+" bytes", "Use an id of 1 to 128 bytes."))
	}
}

// raw keeps an object, or a string if word is set, as it is written.
func (d *decoder) raw(f *[]byte, val *value, name string, word bool) {
	*f = nil
	switch {
	case val.kind == kindNull:
	case val.kind == kindObject || word && val.kind == kindString:
		*f = val.raw
	case word:
		d.wrongType(name, "a string or an object")
	default:
		d.wrongType(name, "an object")
	}
}

func (d *decoder) timeout(val *value) {
	d.m.Timeout = 0
	if val.kind == kindNull {
		return
	}
	if val.kind == kindNumber {
		d.m.Timeout = parseSeconds(val.raw)
	}
	if d.m.Timeout <= 0 {
		d.m.Timeout = 0
		d.wrongType("tmo", "a number of seconds above 0")
	}
}

func (d *decoder) number(f *uint64, val *value, name string) {
	*f = 0
	if val.kind == kindNull {
		return
	}
	n, ok := parseUint(val.raw)
	if val.kind != kindNumber || !ok {
		d.wrongType(name, "a whole number from 1")
		return
	}
	*f = n
}

func (d *decoder) flag(f *bool, val *value, name string) {
	*f = val.raw[0] == 't'
	if val.kind != kindBool && val.kind != kindNull {
		*f = false
		d.wrongType(name, "true or false")
	}
}

func (d *decoder) contentType(val *value) {
	d.text(&d.m.ContentType, val, "cty")
	if len(d.m.ContentType) == 0 || string(d.m.ContentType) == jsonType {
		d.m.ContentType = nil
	}
}

// finishBody stores the body of a JSON frame, once the content type is known.
func (d *decoder) finishBody() {
	if d.body.raw == nil {
		return
	}
	if d.m.ContentType == nil {
		d.m.Body = d.body.raw
		return
	}
	if d.body.kind != kindString {
		d.wrongType("bdy", "a base64 string, as its content type asks for")
		return
	}
	text := d.body.text()
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		d.wrongType("bdy", "a base64 string, as its content type asks for")
		return
	}
	d.m.Body = out[:n]
}
