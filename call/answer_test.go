package call_test

import (
	"encoding/json"
	"testing"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body any
		as   string
		want string
		cty  string
		code message.Code
	}{
		{"struct", struct{ A int }{1}, "", `{"A":1}`, "", ""},
		{"string", "x", "", `"x"`, "", ""},
		{"text", "x", "text/plain", "x", "text/plain", ""},
		{"empty text", "", "text/plain", "", "text/plain", ""},
		{"raw", json.RawMessage(` [1] `), "", ` [1] `, "", ""},
		{"raw as something", json.RawMessage(`x`), "text/plain", "x", "text/plain", ""},
		{"bytes", []byte{0}, "", "\x00", call.Octets, ""},
		{"empty bytes", []byte(nil), "", "", call.Octets, ""},
		{"typed bytes", []byte{0}, "image/png", "\x00", "image/png", ""},
		{"body", route.Body{Bytes: []byte("x"), ContentType: "a/b"}, "", "x", "a/b", ""},
		{"null", json.RawMessage("null"), "", "null", "", ""},
		{"broken raw", json.RawMessage(`{`), "", "", "", message.CodeInvalidInput},
		{"broken body", route.JSON([]byte(`{`)), "", "", "", message.CodeInvalidInput},
		{"not JSON", func() {}, "", "", "", message.CodeInvalidInput},
		{"typed number", 1, "text/plain", "", "", message.CodeInvalidInput},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := call.Encode(tt.body, tt.as)
			if message.CodeOf(err) != tt.code || string(b.Bytes) != tt.want || b.ContentType != tt.cty {
				t.Fatalf("%q %q %v", b.Bytes, b.ContentType, err)
			}
			if err == nil && b.Bytes == nil {
				t.Fatal("a body became none")
			}
		})
	}
	if b, err := call.Encode(nil, ""); err != nil || b.Bytes != nil {
		t.Fatalf("nil became %q, %v", b.Bytes, err)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var n int
	var s string
	var raw []byte
	var msg json.RawMessage
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(call.Decode([]byte("7"), "", &n))
	ok(call.Decode([]byte(`"x"`), "", &s))
	ok(call.Decode([]byte(`[1]`), "", &raw))
	ok(call.Decode([]byte(`[2]`), "", &msg))
	if n != 7 || s != "x" || string(raw) != "[1]" || string(msg) != "[2]" {
		t.Fatal(n, s, raw, msg)
	}
	ok(call.Decode([]byte("x\n"), "text/plain", &s))
	ok(call.Decode([]byte{1}, "a/b", &raw))
	if s != "x\n" || raw[0] != 1 {
		t.Fatal(s, raw)
	}
	n = 8
	ok(call.Decode(nil, "", &n))
	if n != 8 {
		t.Fatal("no body changed the value")
	}
	for _, err := range []error{
		call.Decode([]byte(`"x"`), "", &n),
		call.Decode([]byte(`{`), "", &n),
		call.Decode([]byte(`7`), "text/plain", &n),
	} {
		if message.CodeOf(err) != message.CodeBadMessage {
			t.Errorf("%v", err)
		}
	}
}

func TestDecodeGathered(t *testing.T) {
	t.Parallel()
	for _, in := range []string{``, `{`, `7`, `{"answers":1}`, `{"answers":[{"took":"x"}]}`,
		`{"answers":[{"body":"?","contentType":"a/b"}]}`, `{"answers":[{"body":1,"contentType":"a/b"}]}`} {
		if g, err := call.DecodeGathered([]byte(in)); message.CodeOf(err) != message.CodeBadMessage {
			t.Errorf("%s: %+v, %v", in, g, err)
		}
	}
	g, err := call.DecodeGathered([]byte(`{"answers":[{"server":"a","node":"x","name":"n","path":"/p","took":1,"body":null},
		{"server":"b","error":null,"body":1},{"server":"c"}],"missing":[{"server":"d","node":"y"}],"servers":3}`))
	if err != nil || len(g.Answers) != 3 || string(g.Answers[0].Body) != "null" || g.Answers[1].Err != nil || g.Answers[2].Body != nil {
		t.Fatalf("%+v, %v", g, err)
	}
	if g.Answers[0].Node != "x" || g.Answers[1].Node != "" || g.Missing[0].Node != "y" {
		t.Errorf("the nodes of %+v", g)
	}
	var one call.ServerAnswer
	if err := json.Unmarshal([]byte(`{"server":"a","error":{"code":"conflict","message":"no"}}`), &one); err != nil || one.Err.Code != message.CodeConflict {
		t.Fatalf("%+v, %v", one, err)
	}
}

func FuzzDecodeGathered(f *testing.F) {
	f.Add([]byte(`{"answers":[{"server":"a","name":"n","path":"/p","took":1e300,"body":"AA==","contentType":"x"}],"servers":1}`))
	f.Add([]byte(`{"answers":[{"error":{}}],"missing":[{"server":"z"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		g, err := call.DecodeGathered(in)
		if (g == nil) == (err == nil) {
			t.Fatalf("%+v, %v", g, err)
		}
		if err != nil && message.CodeOf(err) != message.CodeBadMessage {
			t.Fatal(err)
		}
	})
}
