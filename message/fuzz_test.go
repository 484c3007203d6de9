package message_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

func seeds(f *testing.F) {
	f.Helper()
	m := all()
	f.Add(message.AppendJSON(nil, &m))
	f.Add(message.AppendSplit(nil, &m))
	for _, s := range []string{
		`{}`, ` { "to" : "a:/" , "mid" : -1.5e3 } `, `{"to":"\u0061\ud83d\ude00\ud83d","to":null,"typ":"\n"}`,
		`{"cty":"x","bdy":"aGk="}`, `{"verb":"send","from":"b:/","tmo":1e-300,"seq":18446744073709551615}`,
		`{"vrb":"jump","ack":true,"str":"all","hdr":{"a":"b"},"body":[[{"a":[]}],null,false,1.0e+5]}`,
		"{\"seq\":1,\"cty\":\"x\"}\n\x00\n", `{"tmo":0.123456789,"tmo":12345678901,"timeout":1e400}`, "[1,2]", `{"a":tru`,
		`{"bdy":"12345678\\\"1234567\t"}`,
		`{"vrb":"update","tpc":"1","epo":"e","off":18446744073709551615,"flt":true,"pub":{"client":"c"},"to":"a:/"}`,
		`{"vrb":"subscribe","topic":"\u0031","epoch":"","offset":-0,"fault":null,"publisher":[]}`,
	} {
		f.Add([]byte(s))
	}
}

func FuzzValidJSON(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 512 {
			return // perhaps too deep for us
		}
		if got, want := message.ValidJSON(b), json.Valid(b) && utf8.Valid(b); got != want {
			t.Errorf("%q: got %v, want %v", b, got, want)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	seeds(f)
	f.Fuzz(checkJSON)
}

// checkJSON decodes b with encoding/json too and compares.
func checkJSON(t *testing.T, b []byte) {
	if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 512 {
		return
	}
	var got message.Message
	err := message.DecodeJSON(b, &got)
	want, c := reference(b, false)
	if message.CodeOf(err) != c {
		t.Fatalf("%q: got error %v, want %q", b, err, c)
	}
	if err != nil {
		if e := code(t, err, c); !json.Valid(message.AppendError(nil, e)) {
			t.Fatalf("%q: the error %s is not JSON", b, message.AppendError(nil, e))
		}
		return
	}
	same(t, b, got, want)
	var again message.Message
	frame := message.AppendJSON(nil, &got)
	if !json.Valid(frame) {
		t.Fatalf("%q: wrote %s", b, frame)
	}
	if err := message.DecodeJSON(frame, &again); err != nil {
		t.Fatalf("%q: wrote %s: %v", b, frame, err)
	}
	same(t, b, again, got)
}

func FuzzDecodeSplit(f *testing.F) {
	seeds(f)
	f.Fuzz(checkSplit)
}

// checkSplit is checkJSON for the split framing.
func checkSplit(t *testing.T, b []byte) {
	if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 512 {
		return
	}
	var got message.Message
	err := message.DecodeSplit(b, &got)
	envelope, body, has := bytes.Cut(b, []byte{'\n'})
	want, c := reference(envelope, true)
	if message.CodeOf(err) != c {
		t.Fatalf("%q: got error %v, want %q", b, err, c)
	}
	if err != nil {
		return
	}
	if want.Body = nil; has {
		want.Body = body
	}
	same(t, b, got, want)
	var again message.Message
	frame := message.AppendSplit(nil, &got)
	if err := message.DecodeSplit(frame, &again); err != nil {
		t.Fatalf("%q: wrote %q: %v", b, frame, err)
	}
	same(t, b, again, got)
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte(`{"a":"1","b":{},"\u0061":"2"}`), "a", "x")
	f.Add([]byte("{ \"a\" : 1 ,\n\"b\":\"\\n\" }"), "b\n", "\xff\"")
	f.Fuzz(func(t *testing.T, headers []byte, name, value string) {
		m := message.Message{Headers: headers}
		before := m.Header(name)
		for k, v := range m.AllHeaders() {
			if k == name {
				before = v
			}
		}
		if got := m.Header(name); got != before {
			t.Fatalf("%q: header %q is %q and %q", headers, name, got, before)
		}
		m.SetHeader(name, value)
		if message.ValidJSON(headers) && m.Headers != nil && !message.ValidJSON(m.Headers) {
			t.Fatalf("%q became %q", headers, m.Headers)
		}
		if got := m.Header(name); utf8.ValidString(name) && got != valid(value) {
			t.Fatalf("%q: set %q, got %q", m.Headers, value, got)
		}
	})
}

// valid replaces each byte that is not UTF-8.
func valid(s string) string { return string([]rune(s)) }

func FuzzDecodeError(f *testing.F) {
	f.Add([]byte(`{"code":"overloaded","message":"a\n","hint":"h","path":"/x","details":[1],"retryable":false,"retryAfter":0.5}`))
	f.Add([]byte(`{"code":5}`))
	f.Add([]byte(`{"code":"mine","retryable":true,"retryAfter":1e99}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := message.DecodeError(b)
		body := message.AppendError(nil, e)
		if !e.Remote() || e.Code == "" || !message.ValidJSON(body) {
			t.Fatalf("%q: %+v, %q", b, e, body)
		}
		again := message.DecodeError(body)
		e.RetryAfter, again.RetryAfter = 0, 0 // written in milliseconds
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q: %+v, then %+v", b, e, again)
		}
	})
}

// TestDecodeRandom puts frames together from pieces that fit more often than
// random bytes do.
func TestDecodeRandom(t *testing.T) {
	t.Parallel()
	names := []string{
		"vrb", "verb", "to", "frm", "from", "mid", "rmid", "hdr", "headers", "tmo", "timeout", "ts", "typ", "ver", "aut", "ses", "seq",
		"cty", "str", "strategy", "ack", "via", "fwd", "sig", "bdy", "body", "other", `\u0074o`, "",
	}
	values := []string{
		"null", "true", "false", "0", "-0", "7", "1.25", "2e-3", "1e400", "-5", "123456789012345678901", `""`, `"call"`, `"reply"`,
		`"a:/b"`, `"aGk="`, `"\u00e9\n\/\ud83d\ude00"`, `"\ud83d"`, `"text/plain"`, `"application/json"`, "{}", "[]", `{"a":"b","c":{"d":[1,"}"]}}`,
		`[[],{},[{"x":null}]]`, `"é😀"`, `"` + strings.Repeat("x", 129) + `"`, "tru", "01", `"`, "[", "}", "\"\t\"", `"\x"`, "\"\xff\"",
	}
	blanks := []string{"", "", "", " ", "\n", "\t\r "}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same frames every time
	blank := func() string { return blanks[r.IntN(len(blanks))] }
	for range 20_000 {
		var b strings.Builder
		b.WriteString(blank() + "{")
		for i := range r.IntN(6) {
			if i > 0 {
				b.WriteString("," + blank())
			}
			// The last values are wrong; they come seldom.
			n := len(values)
			if r.IntN(8) > 0 {
				n -= 8
			}
			b.WriteString(`"` + names[r.IntN(len(names))] + `"` + blank() + ":" + blank() + values[r.IntN(n)] + blank())
		}
		b.WriteString("}" + blank())
		frame := []byte(b.String())
		if r.IntN(10) == 0 {
			frame = frame[:r.IntN(len(frame)+1)]
		}
		checkJSON(t, frame)
		checkSplit(t, frame)
	}
}

// same compares messages, where an empty field is as good as none and what is
// lost by rounding the timeout down to milliseconds is not a difference.
func same(t *testing.T, b []byte, got, want message.Message) {
	t.Helper()
	if d := want.Timeout - got.Timeout; d > time.Millisecond || d < -time.Millisecond {
		if math.Abs(float64(d)) > 1e-9*float64(want.Timeout) {
			t.Fatalf("%q: got timeout %v, want %v", b, got.Timeout, want.Timeout)
		}
	}
	got.Timeout, want.Timeout = 0, 0
	for _, m := range []*message.Message{&got, &want} {
		v := reflect.ValueOf(m).Elem()
		for _, f := range v.Fields() {
			if f.Kind() == reflect.Slice && f.Len() == 0 {
				f.SetZero()
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q:\ngot  %+v\nwant %+v", b, got, want)
	}
}

// reference decodes an envelope with encoding/json. It returns the code of the
// first error, in the order of the fields.
func reference(b []byte, split bool) (m message.Message, c message.Code) {
	fail := func(code message.Code) {
		if c == "" {
			c = code
		}
	}
	if !utf8.Valid(b) {
		return m, message.CodeBadFrame
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return m, message.CodeBadFrame
	}
	var body json.RawMessage
	for d.More() {
		key, err := d.Token()
		if err != nil {
			fail(message.CodeBadFrame)
			break
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			fail(message.CodeBadFrame)
			break
		}
		switch name := key.(string); name {
		case "bdy", "body":
			if split {
				fail(message.CodeBadMessage)
			}
			body = raw
		default:
			fail(setField(&m, name, raw))
		}
	}
	if !json.Valid(b) {
		fail(message.CodeBadFrame)
	}
	if m.ContentType != nil && body != nil && !split {
		var text *string
		if json.Unmarshal(body, &text) != nil || text == nil {
			fail(message.CodeBadMessage)
			return m, c
		}
		out, err := base64.StdEncoding.DecodeString(*text)
		if err != nil {
			fail(message.CodeBadMessage)
		}
		body = out
	}
	m.Body = body
	return m, c
}

// setField stores one field and returns the code of what is wrong with it.
func setField(m *message.Message, name string, raw json.RawMessage) message.Code {
	const bad = message.CodeBadMessage
	null := string(raw) == "null"
	var s string
	isString := json.Unmarshal(raw, &s) == nil && !null
	text := func(f *[]byte, limit int, code message.Code) message.Code {
		*f = nil
		switch {
		case null:
			return ""
		case !isString:
			return bad
		case len(s) > limit:
			return code
		}
		*f = []byte(s)
		return ""
	}
	switch name {
	case "to":
		return text(&m.To, 1024, message.CodeBadAddress)
	case "frm", "from":
		return text(&m.From, 1024, message.CodeBadAddress)
	case "mid", "rmid":
		f := map[string]*[]byte{"mid": &m.Mid, "rmid": &m.Rmid}[name]
		if n := json.Number(""); !isString && json.Unmarshal(raw, &n) == nil && !null {
			s, isString = string(raw), true
		}
		c := text(f, 128, bad)
		if isString && s == "" {
			return bad
		}
		return c
	case "ts", "timestamp":
		return text(&m.Timestamp, math.MaxInt, "")
	case "typ", "type":
		return text(&m.Type, math.MaxInt, "")
	case "ver", "version":
		return text(&m.UMFVersion, math.MaxInt, "")
	case "aut", "authorization":
		return text(&m.Authorization, math.MaxInt, "")
	case "via":
		return text(&m.Via, math.MaxInt, "")
	case "fwd", "forward":
		return text(&m.Forward, math.MaxInt, "")
	case "sig", "signature":
		return text(&m.Signature, math.MaxInt, "")
	case "tpc", "topic":
		return text(&m.Topic, math.MaxInt, "")
	case "epo", "epoch":
		return text(&m.Epoch, math.MaxInt, "")
	case "cty", "contentType":
		c := text(&m.ContentType, math.MaxInt, "")
		if s == "" || s == "application/json" {
			m.ContentType = nil
		}
		return c
	default:
		return setOther(m, name, raw, null, isString, s)
	}
}

func setOther(m *message.Message, name string, raw json.RawMessage, null, isString bool, s string) message.Code {
	const bad = message.CodeBadMessage
	object := raw[0] == '{'
	switch name {
	case "vrb", "verb":
		m.Verb = message.VerbNone
		if null {
			return ""
		}
		if !isString {
			return bad
		}
		var ok bool
		if m.Verb, ok = message.ParseVerb(s); !ok {
			return message.CodeUnknownVerb
		}
	case "hdr", "headers", "str", "strategy", "ses", "pub", "publisher":
		f := &m.Headers
		switch {
		case strings.HasPrefix(name, "str"):
			f = &m.Strategy
		case name == "ses":
			f = &m.Session
		case strings.HasPrefix(name, "pub"):
			f = &m.Publisher
		}
		*f = nil
		if object || isString && strings.HasPrefix(name, "str") {
			*f = raw
		} else if !null {
			return bad
		}
	case "tmo", "timeout":
		m.Timeout = 0
		if null {
			return ""
		}
		sec, err := strconv.ParseFloat(string(raw), 64)
		if err != nil && !math.IsInf(sec, 0) || sec <= 0 {
			return bad
		}
		if m.Timeout = math.MaxInt64; sec*1e9 < math.MaxInt64 {
			m.Timeout = max(1, time.Duration(sec*1e9))
		}
	case "seq", "sequence":
		return into(&m.Seq, raw)
	case "off", "offset":
		return into(&m.Offset, raw)
	case "ack", "acknowledge":
		return into(&m.Ack, raw)
	case "flt", "fault":
		return into(&m.Fault, raw)
	}
	return ""
}

// into reads a number or a flag.
func into[T any](f *T, raw json.RawMessage) message.Code {
	var zero T
	if *f = zero; json.Unmarshal(raw, f) != nil {
		*f = zero
		return message.CodeBadMessage
	}
	return ""
}
