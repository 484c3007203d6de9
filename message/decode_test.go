package message_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

// all is a message with every field.
func all() message.Message {
	return message.Message{
		Verb: message.VerbCall, To: []byte("math:/decimal/mul"), From: []byte("2945p8eigxz@client:/"),
		Mid: []byte("m1"), Rmid: []byte("r1"), Headers: []byte(`{"traceparent":"00-1-2-01"}`),
		Timeout: 1500 * time.Millisecond, Timestamp: []byte("2026-11-21T17:50:43.905Z"), Type: []byte("typ"),
		UMFVersion: []byte(message.Version), Via: []byte("v:/"), Forward: []byte("f:/"), Signature: []byte("sig"),
		Authorization: []byte("token"), Session: []byte(`{"id":"s"}`), Seq: 7,
		Topic: []byte("t1"), Epoch: []byte("e1"), Offset: 1 << 53, Fault: true, Publisher: []byte(`{"client":"c1"}`),
		Strategy: []byte(`{"by":"all","quorum":2}`), Ack: true,
		Body: []byte(`{"x":[1,"a\"b}"]}`),
	}
}

const allJSON = `{"vrb":"call","to":"math:/decimal/mul","frm":"2945p8eigxz@client:/","mid":"m1","rmid":"r1",` +
	`"hdr":{"traceparent":"00-1-2-01"},"tmo":1.5,"ts":"2026-11-21T17:50:43.905Z","typ":"typ","ver":"UMF/1.4.6",` +
	`"via":"v:/","fwd":"f:/","sig":"sig","aut":"token","ses":{"id":"s"},"seq":7,` +
	`"tpc":"t1","epo":"e1","off":9007199254740992,"flt":true,"pub":{"client":"c1"},"str":{"by":"all","quorum":2},"ack":true`

func TestFraming(t *testing.T) {
	t.Parallel()
	m := all()
	const body = `{"x":[1,"a\"b}"]}`
	if got, want := string(message.AppendJSON(nil, &m)), allJSON+`,"bdy":`+body+`}`; got != want {
		t.Errorf("JSON: got\n%s\nwant\n%s", got, want)
	}
	if got, want := string(message.AppendSplit(nil, &m)), allJSON+"}\n"+body; got != want {
		t.Errorf("split: got\n%s\nwant\n%s", got, want)
	}
	var got message.Message
	if err := message.DecodeJSON(message.AppendJSON(nil, &m), &got); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("JSON: got %+v, %v; want %+v", got, err, m)
	}
	if err := message.DecodeSplit(message.AppendSplit(nil, &m), &got); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("split: got %+v, %v; want %+v", got, err, m)
	}
}

func TestDecodeJSON(t *testing.T) {
	t.Parallel()
	type msg = message.Message
	b := func(s string) []byte { return []byte(s) }
	for frame, want := range map[string]msg{
		`{}`: {},
		" {\t\"to\" : \"a:/\" ,\r\n\"mid\":\"1\" } ": {To: b("a:/"), Mid: b("1")},
		`{"verb":"send","to":"a:/","from":"b:/","headers":{},"timeout":1,"timestamp":"t","type":"y","version":"v",` +
			`"authorization":"z","sequence":3,"strategy":"all","acknowledge":true,"forward":"f","signature":"s","body":0}`: {
			Verb: message.VerbSend, To: b("a:/"), From: b("b:/"), Headers: b("{}"), Timeout: time.Second,
			Timestamp: b("t"), Type: b("y"), UMFVersion: b("v"), Authorization: b("z"), Seq: 3,
			Strategy: b(`"all"`), Ack: true, Forward: b("f"), Signature: b("s"), Body: b("0"),
		},
		`{"vrb":"update","topic":"t","epoch":"e","offset":3,"fault":true,"publisher":{"a":1}}`: {
			Verb: message.VerbUpdate, Topic: b("t"), Epoch: b("e"), Offset: 3, Fault: true, Publisher: b(`{"a":1}`),
		},
		`{"tpc":"t","tpc":null,"epo":null,"off":0,"flt":true,"flt":false,"pub":null}`: {},
		`{"mid":12,"rmid":-1.50e3}`:                                                      {Mid: b("12"), Rmid: b("-1.50e3")},
		`{"to":"a:/","to":"b:/","bdy":1,"body":[ 2 ]}`:                                   {To: b("b:/"), Body: b("[ 2 ]")},
		`{"to":"a:/","to":null,"ack":true,"ack":null}`:                                   {},
		`{"vrb":null,"hdr":null,"tmo":null,"seq":null,"str":null,"cty":null,"mid":null}`: {},
		`{"bdy":null}`: {Body: b("null")},
		`{"\u0074o":"a:\/\u00e9\ud83d\ude00\ud83dx\n"}`: {To: b("a:/é😀\uFFFDx\n")},
		`{"cty":"text/plain","bdy":"aGk="}`:             {ContentType: b("text/plain"), Body: b("hi")},
		`{"bdy":"aGk\u003d","cty":"text\/plain"}`:       {ContentType: b("text/plain"), Body: b("hi")},
		`{"cty":"text/plain","bdy":""}`:                 {ContentType: b("text/plain"), Body: b("")},
		`{"cty":"text/plain"}`:                          {ContentType: b("text/plain")},
		`{"cty":"application/json","bdy":"x"}`:          {Body: b(`"x"`)},
		`{"xyz":{"to":"no"},"priority":1,"To":"no"}`:    {},
		`{"tmo":0.25}`:       {Timeout: 250 * time.Millisecond},
		`{"tmo":1e-300}`:     {Timeout: 1},
		`{"tmo":1e300}`:      {Timeout: 1<<63 - 1},
		`{"tmo":25e-1}`:      {Timeout: 2500 * time.Millisecond},
		`{"bdy":"\\\" } ]"}`: {Body: b(`"\\\" } ]"`)},
	} {
		var got msg
		if err := message.DecodeJSON(b(frame), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", frame, got, err, want)
		}
	}
}

func TestDecodeSplit(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]message.Message{
		`{"to":"a:/"}`:              {To: []byte("a:/")},
		"{\"to\":\"a:/\"} \r\nx\ny": {To: []byte("a:/"), Body: []byte("x\ny")},
		"{}\n":                      {Body: []byte{}},
		"{\"cty\":\"b\"}\n\x00\xff": {ContentType: []byte("b"), Body: []byte("\x00\xff")},
	} {
		var got message.Message
		if err := message.DecodeSplit([]byte(frame), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", frame, got, err, want)
		}
	}
}

func TestDecodeBadFrame(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 513) + strings.Repeat("]", 513)
	for _, frame := range []string{
		"", " ", "null", "[]", `"x"`, "{", `{"to"`, `{"to":`, `{"to":"a`, `{"to":"a"`, `{"to":"a",`, `{"to":"a",}`,
		`{,}`, `{to:1}`, `{"to" "a"}`, `{"to":"a"}x`, `{"to":"a"}{}`, `{"to":"a" "b":1}`, `{"bdy":tru}`, `{"bdy":nul`,
		`{"bdy":01}`, `{"bdy":1.}`, `{"bdy":.5}`, `{"bdy":-}`, `{"bdy":1e}`, `{"bdy":+1}`, `{"bdy":[1,]}`, `{"bdy":[}`,
		`{"bdy":{"a":1]}`, `{"bdy":{"a"}}`, `{"bdy":{1:2}}`, `{"bdy":"\x"}`, `{"bdy":"\u12g4"}`, "{\"bdy\":\"\x01\"}",
		"{\"to\":\"\xff\"}", "{\"bdy\":\"\xc0\x80\"}", `{"bdy":` + deep + `}`, `{"bdy":NaN}`, "{}\x00",
	} {
		var m message.Message
		e := code(t, message.DecodeJSON([]byte(frame), &m), message.CodeBadFrame)
		if e.Retryable {
			t.Errorf("%s: retryable", frame)
		}
	}
	for _, frame := range []string{"", "\n", "x\n", "\n{}", "{\n}", "{\"to\":\"\xff\"}\n", "{}x\n"} {
		var m message.Message
		code(t, message.DecodeSplit([]byte(frame), &m), message.CodeBadFrame)
	}
	ok := deep[1 : len(deep)-1]
	var m message.Message
	if err := message.DecodeJSON([]byte(`{"bdy":`+ok+`}`), &m); err != nil || string(m.Body) != ok {
		t.Errorf("512 levels: %v", err)
	}
}

func TestDecodeWrongType(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 129)
	for field, c := range map[string]message.Code{
		`"vrb":1`: message.CodeBadMessage, `"vrb":"jump"`: message.CodeUnknownVerb, `"vrb":""`: message.CodeUnknownVerb,
		`"to":1`: message.CodeBadMessage, `"from":{}`: message.CodeBadMessage,
		`"to":"` + strings.Repeat("x", 1025) + `"`: message.CodeBadAddress,
		`"mid":true`: message.CodeBadMessage, `"mid":""`: message.CodeBadMessage,
		`"rmid":"` + long + `"`: message.CodeBadMessage, `"rmid":[]`: message.CodeBadMessage,
		`"hdr":[]`: message.CodeBadMessage, `"headers":"x"`: message.CodeBadMessage,
		`"tmo":0`: message.CodeBadMessage, `"tmo":-1`: message.CodeBadMessage, `"tmo":"1"`: message.CodeBadMessage,
		`"tmo":-0.0`: message.CodeBadMessage,
		`"ts":1`:     message.CodeBadMessage, `"typ":1`: message.CodeBadMessage, `"ver":2`: message.CodeBadMessage,
		`"aut":{}`: message.CodeBadMessage, `"via":1`: message.CodeBadMessage, `"fwd":1`: message.CodeBadMessage,
		`"sig":1`: message.CodeBadMessage, `"seq":1.5`: message.CodeBadMessage, `"seq":-1`: message.CodeBadMessage,
		`"seq":"1"`: message.CodeBadMessage, `"seq":18446744073709551616`: message.CodeBadMessage,
		`"tpc":1`: message.CodeBadMessage, `"epo":[]`: message.CodeBadMessage, `"off":"1"`: message.CodeBadMessage,
		`"off":-1`: message.CodeBadMessage, `"off":1e3`: message.CodeBadMessage, `"flt":1`: message.CodeBadMessage,
		`"pub":"x"`: message.CodeBadMessage, `"publisher":[]`: message.CodeBadMessage,
		`"str":1`: message.CodeBadMessage, `"ack":1`: message.CodeBadMessage, `"cty":1`: message.CodeBadMessage,
		`"cty":"x","bdy":1`: message.CodeBadMessage, `"cty":"x","bdy":"!"`: message.CodeBadMessage,
		`"cty":"x","bdy":null`: message.CodeBadMessage,
	} {
		var m message.Message
		e := code(t, message.DecodeJSON([]byte(`{`+field+`,"vrb":"send","mid":"after"}`), &m), c)
		if e.Path == "" {
			t.Errorf("%.40s: no path", field)
		}
		if string(m.Mid) != "after" || m.Verb != message.VerbSend {
			t.Errorf("%.40s: the rest was not read: %+v", field, m)
		}
	}
	var m message.Message
	e := code(t, message.DecodeSplit([]byte("{\"bdy\":1,\"mid\":\"1\"}\nx"), &m), message.CodeBadMessage)
	if e.Path != "bdy" || string(m.Mid) != "1" {
		t.Errorf("got path %q, mid %q", e.Path, m.Mid)
	}
	code(t, message.DecodeJSON([]byte(`{"mid":"1","rmid":"2","bdy":[`), &m), message.CodeBadFrame)
	if string(m.Mid) != "1" || string(m.Rmid) != "2" {
		t.Errorf("a cut-off frame lost its ids: %+v", m)
	}
}

func TestFramingAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under -race")
	}
	m := all()
	var got message.Message
	buf := make([]byte, 0, 4096)
	json, split := message.AppendJSON(nil, &m), message.AppendSplit(nil, &m)
	for name, f := range map[string]func(){
		"DecodeJSON":  func() { _ = message.DecodeJSON(json, &got) },
		"DecodeSplit": func() { _ = message.DecodeSplit(split, &got) },
		"AppendJSON":  func() { buf = message.AppendJSON(buf[:0], &m) },
		"AppendSplit": func() { buf = message.AppendSplit(buf[:0], &m) },
		"ValidJSON":   func() { _ = message.ValidJSON(json) },
		"Timestamp":   func() { buf = message.AppendTimestamp(buf[:0], time.Unix(1795283443, 905e6)) },
		"Mid":         func() { buf = message.AppendMid(buf[:0], 1<<60) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
