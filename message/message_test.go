package message_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

func TestEffectiveVerb(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m    message.Message
		want message.Verb
	}{
		{message.Message{}, message.VerbCall},
		{message.Message{Rmid: []byte("1")}, message.VerbReply},
		{message.Message{Verb: message.VerbPart, Rmid: []byte("1")}, message.VerbPart},
	} {
		if got := c.m.EffectiveVerb(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.m, got, c.want)
		}
	}
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	for v := message.VerbNone; v <= message.VerbGap; v++ {
		text, err := v.MarshalText()
		var again message.Verb
		if err != nil || string(text) != v.String() || again.UnmarshalText(text) != nil || again != v {
			t.Errorf("%d: %s, %v, %d", v, text, err, again)
		}
		got, ok := message.ParseVerb(v.String())
		if got != v || ok != (v != message.VerbNone) {
			t.Errorf("%s: got %s, %v", v, got, ok)
		}
	}
	bad := message.VerbGap + 1
	_, err := bad.MarshalText()
	code(t, err, message.CodeUnknownVerb)
	code(t, bad.UnmarshalText([]byte("jump")), message.CodeUnknownVerb)
	if bad.String() != "invalid" {
		t.Errorf("got %s", bad)
	}
	if _, ok := message.ParseVerbBytes([]byte(strings.Repeat("call", 10))); ok {
		t.Error("a long word is a verb")
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	for name, clone := range map[string]func(*message.Message) message.Message{
		"Clone":               (*message.Message).Clone,
		"CloneEnvelope":       func(m *message.Message) (c message.Message) { m.CloneEnvelope(&c, make([]byte, 0, 4096)); return c },
		"CloneEnvelope grown": func(m *message.Message) (c message.Message) { m.CloneEnvelope(&c, []byte("x")); return c },
	} {
		original := all()
		frame := message.AppendSplit(nil, &original)
		var m message.Message
		if err := message.DecodeSplit(frame, &m); err != nil {
			t.Fatal(err)
		}
		c := clone(&m)
		clear(frame)
		if name != "Clone" {
			c.Body = original.Body // shared on purpose
		}
		if !reflect.DeepEqual(c, original) {
			t.Errorf("%s: got %+v, want %+v", name, c, original)
		}
		// A view must not grow into the one behind it.
		c.To = append(c.To, "xxxxxx"...)
		if string(c.From) != string(original.From) {
			t.Errorf("%s: fields overlap", name)
		}
		var none message.Message
		if got := clone(&none); !reflect.DeepEqual(got, none) {
			t.Errorf("%s: got %+v of nothing", name, got)
		}
		m.Reset()
		if !reflect.DeepEqual(m, none) {
			t.Errorf("%s: Reset leaves %+v", name, m)
		}
	}
}

func TestCloneAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under -race")
	}
	m := all()
	buf := make([]byte, 0, 4096)
	var c message.Message
	if n := testing.AllocsPerRun(100, func() { c = m.Clone() }); n != 1 {
		t.Errorf("Clone: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { m.CloneEnvelope(&c, buf) }); n != 0 {
		t.Errorf("CloneEnvelope: %v allocations", n)
	}
	if string(c.To) != string(m.To) {
		t.Errorf("got %s", c.To)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	var m message.Message
	if m.Header("a") != "" || len(maps.Collect(m.AllHeaders())) > 0 {
		t.Error("no headers are some")
	}
	m.SetHeader("a", "1")
	m.SetHeader("b\n", "\"2\" é\xff")
	m.SetHeader("a", "3")
	if want := "{\"b\\n\":\"\\\"2\\\" é\uFFFD\",\"a\":\"3\"}"; string(m.Headers) != want {
		t.Errorf("got %s, want %s", m.Headers, want)
	}
	if m.Header("a") != "3" || m.Header("b\n") != "\"2\" é\uFFFD" || m.Header("A") != "" {
		t.Errorf("got %q, %q", m.Header("a"), m.Header("b\n"))
	}
	m.SetHeader("a", "")
	m.SetHeader("b\n", "")
	if m.Headers != nil {
		t.Errorf("got %s", m.Headers)
	}
	m.Headers = []byte(" { \"a\" : \"1\" , \"n\" : [ {\"a\":2} ] ,\n\"\\u0061\":\"2\" } ")
	if m.Header("a") != "2" || m.Header("n") != "" {
		t.Errorf("got %q, %q", m.Header("a"), m.Header("n"))
	}
	var names []string
	for name := range m.AllHeaders() {
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"a", "a"}) {
		t.Errorf("got %q", names)
	}
	for range m.AllHeaders() {
		break
	}
	m.SetHeader("a", "9")
	if want := `{"n":[ {"a":2} ],"a":"9"}`; string(m.Headers) != want {
		t.Errorf("got %s, want %s", m.Headers, want)
	}
	for _, broken := range []string{"x", "[]", "{", `{"a"`, `{"a":`, `{"a" "b"}`, `{"x":1 "a":"b"}`, `{,"a":"b"}`} {
		m.Headers = []byte(broken)
		if got := m.Header("a"); got != "" {
			t.Errorf("%s: got %q", broken, got)
		}
	}
}

func TestAppendEscapes(t *testing.T) {
	t.Parallel()
	m := message.Message{
		To: []byte("a:/\"\\\n\x01\b\f\r\té\u2028"), Type: []byte("12345678\xff"), Headers: []byte("{\n\"a\":\n\"b\"}"),
		Strategy: []byte("{\n}"), ContentType: []byte("x"), Body: []byte("\n\x00"),
	}
	const text = `{"to":"a:/\"\\\n\u0001\b\f\r\té` + "\u2028" + `","hdr":`
	json, split := string(message.AppendJSON(nil, &m)), string(message.AppendSplit(nil, &m))
	if want := text + "{\n\"a\":\n\"b\"},\"typ\":\"12345678\uFFFD\",\"cty\":\"x\",\"str\":{\n},\"bdy\":\"CgA=\"}"; json != want {
		t.Errorf("JSON: got\n%q\nwant\n%q", json, want)
	}
	if want := text + "{\"a\":\"b\"},\"typ\":\"12345678\uFFFD\",\"cty\":\"x\",\"str\":{}}\n\n\x00"; split != want {
		t.Errorf("split: got\n%q\nwant\n%q", split, want)
	}
	// An empty body cannot be said in JSON, but can with a content type.
	m = message.Message{Body: []byte{}}
	if got := string(message.AppendJSON(nil, &m)); got != "{}" {
		t.Errorf("got %s", got)
	}
	m.ContentType = []byte("x")
	if got := string(message.AppendJSON([]byte("+"), &m)); got != `+{"cty":"x","bdy":""}` {
		t.Errorf("got %s", got)
	}
}

func TestAppendTimeout(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Second: "1", 30 * time.Second: "30", 1500 * time.Millisecond: "1.5", 1234567 * time.Microsecond: "1.234",
		10 * time.Millisecond: "0.01", 1: "0.001", 100 * time.Second: "100", 1<<63 - 1: "9223372036.854",
	} {
		m := message.Message{Timeout: d}
		if got := string(message.AppendJSON(nil, &m)); got != `{"tmo":`+want+`}` {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for _, d := range []time.Duration{0, -1} {
		m := message.Message{Timeout: d}
		if got := string(message.AppendJSON(nil, &m)); got != `{}` {
			t.Errorf("%v: got %s", d, got)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func() string
		form string
	}{
		"NewID":     {message.NewID, "^[0-9a-z]{13}$"},
		"NewNodeID": {message.NewNodeID, "^[0-9a-f]{32}$"},
		"NewMid":    {message.NewMid, "^[0-9a-z]{1,13}$"},
		"NewClientID": {func() string { return message.NewClientID("0123456789abcdef0123456789abcdef") },
			"^01234567[0-9a-z]{13}$"},
	} {
		form, seen := regexp.MustCompile(c.form), map[string]bool{}
		for range 1000 {
			id := c.make()
			if !form.MatchString(id) || seen[id] {
				t.Errorf("%s: got %q", name, id)
			}
			seen[id] = true
		}
	}
	if got := string(message.AppendMid([]byte("m"), 36*36+35)); got != "m10z" {
		t.Errorf("got %s", got)
	}
}

func TestTagOf(t *testing.T) {
	t.Parallel()
	node := message.NewNodeID()
	if tag, ok := message.TagOf(message.NewClientID(node)); !ok || tag != node[:8] || tag != message.NodeTag(node) {
		t.Errorf("got %q, %v, want the beginning of %s", tag, ok, node)
	}
	if got := message.NodeTag("abc"); got != "abc" {
		t.Errorf("got %q", got)
	}
	for id, want := range map[string]bool{
		"0123abcdz123456789abc": true, "0123abcd0123456789abc": true,
		"": false, "2945p8eigxz": false, "0123abcg0123456789abc": false, "0123ABCD0123456789abc": false,
		"0123abcd0123456789ab": false, "0123abcd0123456789abcd": false, "0123abcd0123456789ab-": false,
		"0123abcd0123456789ab{": false, message.NewNodeID(): false, message.NewID(): false,
	} {
		if tag, ok := message.TagOf(id); ok != want || ok && tag != id[:8] || !ok && tag != "" {
			t.Errorf("%q: got %q, %v", id, tag, ok)
		}
	}
}

func TestAppendTimestamp(t *testing.T) {
	t.Parallel()
	const layout = "2006-01-02T15:04:05.000Z"
	for _, at := range []time.Time{
		time.Date(2026, 11, 21, 18, 50, 43, 905_999_999, time.FixedZone("", 3600)),
		{}, time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, want := string(message.AppendTimestamp(nil, at)), at.UTC().Format(layout); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestValidJSON(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"1": true, " [1, 2.5e-3 ] ": true, `{"a":{},"b":[]}`: true, `"\u00e9"`: true, "null": true,
		"": false, " ": false, "1 2": false, "{": false, "nul": false, "\"\xff\"": false, `{"a":1,}`: false,
		strings.Repeat("[", 512) + strings.Repeat("]", 512): true,
		strings.Repeat("[", 513) + strings.Repeat("]", 513): false,
	} {
		if got := message.ValidJSON([]byte(s)); got != want {
			t.Errorf("%.40s: got %v, want %v", s, got, want)
		}
		if want && !json.Valid([]byte(s)) {
			t.Errorf("%.40s: encoding/json does not agree", s)
		}
	}
}
