package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestBatchReader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     []string
		err      error
	}{
		{"ok", "3\nabc0\n2\n\n\n", []string{"abc", "", "\n\n"}, io.EOF},
		{"empty", "", nil, io.EOF},
		{"leading zeros", "003\nabc", []string{"abc"}, io.EOF},
		{"no length", "\nabc", nil, errBatch},
		{"not a number", "x\n", nil, errBatch},
		{"negative", "-1\n", nil, errBatch},
		{"too many digits", "00000000001\na", nil, errBatch},
		{"cut in the length", "1", nil, io.ErrUnexpectedEOF},
		{"cut in the frame", "3\nab", nil, io.ErrUnexpectedEOF},
		{"cut before the frame", "3\n", nil, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newBatchReader(iotest.OneByteReader(strings.NewReader(tt.in)), 100)
			var got []string
			var err error
			for {
				var f []byte
				if f, err = r.next(); err != nil {
					break
				}
				got = append(got, string(f))
			}
			if !errors.Is(err, tt.err) || strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
	if _, err := newBatchReader(strings.NewReader("101\n"), 100).next(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a frame over the limit: %v", err)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte("3\nabc0\n2\n\n\n"))
	f.Add([]byte("9999999999\n"))
	f.Add([]byte("1\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newBatchReader(bytes.NewReader(in), 1<<16)
		var out []byte
		for {
			frame, err := r.next()
			if err != nil {
				break
			}
			out = appendBatch(out, frame)
		}
		// What was understood is, written again, what was there, but for
		// zeros before a length.
		if len(out) > len(in) {
			t.Fatalf("%q became %q", in, out)
		}
		again := newBatchReader(bytes.NewReader(out), 1<<16)
		for {
			if _, err := again.next(); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("%q cannot be read again: %v", out, err)
				}
				return
			}
		}
	})
}

func FuzzWelcome(f *testing.F) {
	f.Add([]byte(`{"vrb":"welcome"}` + "\n" + `{"id":"x","limits":{"frame":1}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		w, err := readWelcome(in, false)
		if (w == nil) == (err == nil) || w != nil && w.ID == "" {
			t.Fatalf("%+v, %v", w, err)
		}
	})
}
