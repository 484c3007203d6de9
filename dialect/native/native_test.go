package native_test

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/dialect/native"
	"github.com/ropewalk/ropewalk/message"
)

func TestBothFramingsCarryTheSame(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"a":1}`, `null`, `"x\ny"`, "{\n\"a\": [1,\n2]}"} {
		for _, d := range []native.Dialect{{Split: true}, {Split: false}} {
			in := message.Message{Verb: message.VerbCall, To: []byte("math:/mul"), Mid: []byte("1"), Body: []byte(body)}
			frame, err := d.Append(nil, &in)
			if err != nil {
				t.Fatalf("%+v: %v", d, err)
			}
			var out message.Message
			if err := d.Decode(frame, &out); err != nil {
				t.Fatalf("%+v: decode %s: %v", d, frame, err)
			}
			if string(out.To) != "math:/mul" || string(out.Body) != body {
				t.Errorf("%+v: got to %q, body %q", d, out.To, out.Body)
			}
		}
	}
}

func TestNoBodyThatBreaksTheFrame(t *testing.T) {
	t.Parallel()
	m := message.Message{Verb: message.VerbReply, Rmid: []byte("1"), Body: []byte(`1,"vrb":"error"`)}
	if _, err := (native.Dialect{}).Append(nil, &m); message.CodeOf(err) != message.CodeBadMessage {
		t.Errorf("a body that is no JSON was put into a JSON frame: %v", err)
	}
	frame, err := native.Dialect{Split: true}.Append(nil, &m)
	if err != nil || !strings.HasSuffix(string(frame), "\n"+string(m.Body)) {
		t.Errorf("a split frame takes any bytes: %q, %v", frame, err)
	}
}
