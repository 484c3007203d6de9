package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxLine is the longest line that is read, in bytes. The longest that is
// written is shorter.
const maxLine = 64 << 10

// Read returns the events of an audit log, in their order. A line that is no
// event is an error with its number, after which the next line follows; an error
// of r is the last. Fields of others are passed over.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4<<10), maxLine)
		for n := 1; lines.Scan(); n++ {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			e, err := Parse(lines.Bytes())
			if err != nil {
				err = fmt.Errorf("line %d: %w", n, err)
			}
			if !yield(e, err) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Event{}, err)
		}
	}
}

// Parse reads one line of an audit log.
func Parse(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, fmt.Errorf("this is no event: %w", err)
	}
	if e.Kind == "" || e.Time.IsZero() {
		return Event{}, errors.New("this is no event: it has no kind or no time")
	}
	return e, nil
}
