package message_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
)

// sample is a usual call with a JSON body of about size bytes.
func sample(size int) message.Message {
	const item = `{"sku":"A-1044","n":3,"price":12.5,"text":"grey \"wool\""},`
	items := strings.Repeat(item, max(1, size/len(item)))
	return message.Message{
		Verb: message.VerbCall, To: []byte("math:/decimal/mul"), Mid: []byte("k3f9x2"),
		Body: []byte(`{"items":[` + items[:len(items)-1] + `]}`),
	}
}

// framings runs a benchmark for both framings and two sizes.
func framings(b *testing.B, f func(b *testing.B, m *message.Message, split bool)) {
	for _, size := range []int{200, 2048} {
		for _, split := range []bool{false, true} {
			name := map[bool]string{false: "json", true: "split"}[split]
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				m := sample(size)
				b.ReportAllocs()
				b.SetBytes(int64(len(m.Body)))
				f(b, &m, split)
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	framings(b, func(b *testing.B, m *message.Message, split bool) {
		decode, frame := message.DecodeJSON, message.AppendJSON(nil, m)
		if split {
			decode, frame = message.DecodeSplit, message.AppendSplit(nil, m)
		}
		var got message.Message
		for b.Loop() {
			if err := decode(frame, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	framings(b, func(b *testing.B, m *message.Message, split bool) {
		appendTo := message.AppendJSON
		if split {
			appendTo = message.AppendSplit
		}
		buf := make([]byte, 0, 8192)
		for b.Loop() {
			buf = appendTo(buf[:0], m)
		}
	})
}

func BenchmarkParseStrict(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.ParseStrict("math:/decimal/mul"); err != nil {
			b.Fatal(err)
		}
	}
}

// An update as a hub writes it and a client reads it, 128 bytes of JSON.
func BenchmarkUpdate(b *testing.B) {
	m := sample(128)
	m.Verb, m.To, m.Mid = message.VerbUpdate, nil, nil
	m.Topic, m.Offset = []byte("1f"), 123456
	frame := message.AppendSplit(nil, &m)
	b.Run("append", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			buf = message.AppendSplit(buf[:0], &m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		var got message.Message
		b.ReportAllocs()
		for b.Loop() {
			if err := message.DecodeSplit(frame, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCanonicalParams(b *testing.B) {
	params := []byte(`{"order":"name","dept":"toys","limit":20,"filter":{"to":17,"from":3}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.CanonicalParams(params); err != nil {
			b.Fatal(err)
		}
	}
}
