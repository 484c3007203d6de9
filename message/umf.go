package message

import (
	"bytes"
	"strconv"
	"time"
	"unsafe"
)

// UMF is a message as Hydra's programs understand it: the known fields, each
// the JSON value that it was given, because they check no types (a mid may be a
// number). A nil field is absent. It is what signatures are made over and what
// dialects of UMF read and write; everything native uses [Message].
type UMF struct {
	To, From, Headers, Mid, Rmid, Signature, Timeout, Timestamp []byte
	Type, Version, Via, Forward, Body, Authorization            []byte
}

// umfField is one field of UMF with its two spellings.
type umfField struct{ long, short string }

// umfFields is the order of both forms; [UMF.field] numbers by it.
var umfFields = [...]umfField{
	{"to", "to"},
	{"from", "frm"},
	{"headers", "hdr"},
	{"mid", "mid"},
	{"rmid", "rmid"},
	{"signature", "sig"},
	{"timeout", "tmo"},
	{"timestamp", "ts"},
	{"type", "typ"},
	{"version", "ver"},
	{"via", "via"},
	{"forward", "fwd"},
	{"body", "bdy"},
	{"authorization", "aut"},
}

// umfSignature is the place of the signature in umfFields.
const umfSignature = 5

func (u *UMF) field(i int) *[]byte {
	return [len(umfFields)]*[]byte{
		&u.To, &u.From, &u.Headers, &u.Mid, &u.Rmid, &u.Signature, &u.Timeout, &u.Timestamp,
		&u.Type, &u.Version, &u.Via, &u.Forward, &u.Body, &u.Authorization,
	}[i]
}

// ParseUMF reads a frame and normalises it as every hop of Hydra does: of each
// field the long spelling if it is true in JavaScript's sense, else the short
// one, else nothing; mid, timestamp and version are filled in. The fields point
// into frame. The error is an *Error with [CodeBadFrame]; that the message can
// be used is said by [UMF.Valid] alone.
func ParseUMF(frame []byte, now time.Time) (UMF, error) {
	u, err := readUMF(frame)
	if err != nil {
		return u, err
	}
	if u.Mid == nil {
		u.Mid = []byte(`"` + newUUID() + `"`)
	}
	if u.Timestamp == nil {
		u.Timestamp = append(AppendTimestamp([]byte{'"'}, now), '"')
	}
	if u.Version == nil {
		u.Version = []byte(`"` + Version + `"`)
	}
	return u, nil
}

// readUMF is ParseUMF without filling in.
func readUMF(frame []byte) (u UMF, err error) {
	if i := skipSpace(frame, 0); !ValidJSON(frame) || frame[i] != '{' {
		return u, NewError(CodeBadFrame, "the frame is not a JSON object", "")
	}
	var long, short UMF
	for key, val := range members(frame) {
		name := string(key.text())
		for i, f := range umfFields {
			// The last of several members with one name counts, also when it
			// is false.
			if name == f.long {
				*long.field(i) = truthy(val)
			}
			if name == f.short {
				*short.field(i) = truthy(val)
			}
		}
	}
	for i := range umfFields {
		if f := *long.field(i); f != nil {
			*u.field(i) = f
		} else {
			*u.field(i) = *short.field(i)
		}
	}
	return u, nil
}

// truthy returns the bytes of a value that is true in JavaScript's sense, else
// nil.
func truthy(v value) []byte {
	switch v.kind {
	case kindNull:
		return nil
	case kindBool:
		if v.raw[0] == 'f' {
			return nil
		}
	case kindString:
		if len(v.raw) == 2 {
			return nil
		}
	case kindNumber:
		// An underflow is 0 and false, an overflow is an infinity and true.
		if f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(v.raw), len(v.raw)), 64); f == 0 {
			return nil
		}
	case kindArray, kindObject: // also when they are empty
	}
	return v.raw
}

// Valid reports whether the message has all it needs: to, from and body.
func (u *UMF) Valid() bool { return u.To != nil && u.From != nil && u.Body != nil }

// AppendLong appends the message with long names, in long order, with every
// value written as JavaScript would.
func (u *UMF) AppendLong(dst []byte) []byte {
	return u.append(dst, func(f umfField) string { return f.long }, -1)
}

// AppendShort appends the message with short names, in short order, with every
// value written as JavaScript would.
func (u *UMF) AppendShort(dst []byte) []byte {
	return u.append(dst, func(f umfField) string { return f.short }, -1)
}

// append writes all fields but the one numbered without.
func (u *UMF) append(dst []byte, name func(umfField) string, without int) []byte {
	w := writer{dst: append(dst, '{')}
	for i, f := range umfFields {
		if raw := *u.field(i); raw != nil && i != without {
			w.key(`"`)
			w.dst = append(append(w.dst, name(f)...), '"', ':')
			w.dst = appendCanonical(w.dst, raw)
		}
	}
	return append(w.dst, '}')
}

// Message fills m, whose former content is lost, with the fields of u. Numbers
// and true become their text in fields that are text here; the verb is left
// open. The error is an *Error with [CodeBadMessage] that names the field.
func (u *UMF) Message(m *Message) error {
	m.Reset()
	d := decoder{m: m}
	for _, f := range []struct {
		name string
		raw  []byte
		to   *[]byte
	}{
		{"to", u.To, &m.To}, {"frm", u.From, &m.From}, {"mid", u.Mid, &m.Mid}, {"rmid", u.Rmid, &m.Rmid},
		{"sig", u.Signature, &m.Signature}, {"ts", u.Timestamp, &m.Timestamp}, {"typ", u.Type, &m.Type},
		{"ver", u.Version, &m.UMFVersion}, {"via", u.Via, &m.Via}, {"fwd", u.Forward, &m.Forward},
		{"aut", u.Authorization, &m.Authorization},
	} {
		if f.raw == nil {
			continue
		}
		switch v := valueOf(f.raw); v.kind {
		case kindString:
			*f.to = v.text()
		case kindNumber, kindBool:
			*f.to = v.raw
		default:
			d.wrongType(f.name, "a string")
		}
	}
	if u.Headers != nil {
		v := valueOf(u.Headers)
		d.raw(&m.Headers, &v, "hdr", false)
	}
	if u.Timeout != nil {
		v := valueOf(u.Timeout)
		d.timeout(&v)
	}
	m.Body = u.Body
	d.limits()
	return d.result()
}

// limits checks the lengths of what was filled in from UMF.
func (d *decoder) limits() {
	for _, f := range []struct {
		name string
		text []byte
		max  int
		code Code
	}{
		{"to", d.m.To, MaxAddress, CodeBadAddress}, {"frm", d.m.From, MaxAddress, CodeBadAddress},
		{"mid", d.m.Mid, MaxMid, CodeBadMessage}, {"rmid", d.m.Rmid, MaxMid, CodeBadMessage},
	} {
		if len(f.text) > f.max {
			e := NewError(f.code, "the field "+f.name+" is too long", "Use at most "+strconv.Itoa(f.max)+" bytes.")
			e.Path = f.name
			d.fail(e)
		}
	}
}

// valueOf describes a value that was scanned before.
func valueOf(raw []byte) value {
	return value{raw: raw, kind: kindOf(raw[0]), escaped: raw[0] == '"' && bytes.IndexByte(raw, '\\') >= 0}
}

// DecodeUMF reads a frame by the rules of UMF into m: [ParseUMF], then
// [UMF.Message]. A message without to, from or body is refused with an *Error
// with [CodeBadMessage] that names the first of them; m is filled all the same.
func DecodeUMF(frame []byte, now time.Time, m *Message) error {
	m.Reset()
	u, err := ParseUMF(frame, now)
	if err != nil {
		return err
	}
	if err := u.Message(m); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		raw  []byte
	}{{"to", u.To}, {"frm", u.From}, {"bdy", u.Body}} {
		if f.raw == nil {
			return badField(f.name, "is missing", "A UMF message has to, from and body; 0, false, null and \"\" count as missing.")
		}
	}
	return nil
}

// UMF returns m as a UMF message. Fields that UMF does not have are left out; a
// body with a content type is left out too, for UMF has none but JSON.
func (m *Message) UMF() UMF {
	u := UMF{Headers: m.Headers}
	if m.ContentType == nil && len(m.Body) > 0 {
		u.Body = truthy(valueOf(bytes.TrimSpace(m.Body)))
	}
	for _, f := range []struct {
		text []byte
		to   *[]byte
	}{
		{m.To, &u.To}, {m.From, &u.From}, {m.Mid, &u.Mid}, {m.Rmid, &u.Rmid}, {m.Signature, &u.Signature},
		{m.Timestamp, &u.Timestamp}, {m.Type, &u.Type}, {m.UMFVersion, &u.Version}, {m.Via, &u.Via},
		{m.Forward, &u.Forward}, {m.Authorization, &u.Authorization},
	} {
		if len(f.text) > 0 {
			*f.to = appendText(nil, f.text)
		}
	}
	if m.Timeout > 0 {
		u.Timeout = appendSeconds(nil, m.Timeout)
	}
	return u
}
