package sqldb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
)

// Column is a column of a result.
type Column struct {
	Name string `json:"name"`
	// Type is what its values are in JSON, as far as it is known beforehand.
	Type sqlfile.Type `json:"type"`
}

// Rows encodes the rows of a result as a JSON array of objects. A driver calls
// SetColumns, and for each row Begin, one method for each value, and End. It is
// used by one goroutine.
type Rows struct {
	// Limit is how many rows there may be, and Size how many bytes they may be.
	Limit, Size int
	// Skip is how many rows are left out at first, and Stop after how many no
	// more are wanted: 0 for no such number.
	Skip, Stop int
	// Override has the types of columns that are not what the database says.
	Override func(column string) sqlfile.Type

	columns []Column
	keys    [][]byte
	buf     []byte
	count   int
	seen    int
	col     int
	skip    bool
}

// ErrStop is what Begin returns when no more rows are wanted.
var ErrStop = errors.New("no more rows are wanted")

// Reset forgets all rows, so that a transaction can be run anew.
func (r *Rows) Reset() { r.columns, r.keys, r.buf, r.count, r.seen = nil, nil, nil, 0, 0 }

// SetColumns says what the columns are.
func (r *Rows) SetColumns(columns []Column) error {
	r.columns, r.keys = columns, make([][]byte, len(columns))
	names := make(map[string]bool, len(columns))
	for i := range columns {
		name := columns[i].Name
		if names[name] {
			return &Fault{
				Code: message.CodeBadContent, Message: fmt.Sprintf("two columns are called %.100q", name),
				Hint: "Give one of them another name with AS.",
			}
		}
		names[name] = true
		if r.Override != nil {
			if t := r.Override(name); t != "" {
				columns[i].Type = t
			}
		}
		r.keys[i] = append(appendString([]byte{','}, name), ':')
		if i == 0 {
			r.keys[i][0] = '{'
		}
	}
	return nil
}

// Columns are the columns, nil if there was no result.
func (r *Rows) Columns() []Column { return r.columns }

// Count is how many rows there are.
func (r *Rows) Count() int { return r.count }

// JSON returns the rows as an array of objects.
func (r *Rows) JSON() []byte {
	if r.count == 0 {
		return []byte("[]")
	}
	return append(r.buf, ']')
}

// First returns the first row, or null.
func (r *Rows) First() []byte {
	if r.count == 0 {
		return []byte("null")
	}
	var v []json.RawMessage
	_ = json.Unmarshal(r.JSON(), &v)
	return v[0]
}

// Begin begins a row.
func (r *Rows) Begin() error {
	r.seen++
	r.col = 0
	if r.skip = r.seen <= r.Skip; r.skip {
		return nil
	}
	if r.Stop > 0 && r.count == r.Stop {
		return ErrStop
	}
	if r.Limit > 0 && r.count == r.Limit {
		return &Fault{
			Code: message.CodeLimitExceeded, Message: fmt.Sprintf("the query gives more than %d rows", r.Limit),
			Hint: `Narrow it, ask for a page with the params "$limit" and "$offset", or raise the limit with -- @limit in the file.`,
		}
	}
	r.count++
	if r.count == 1 {
		r.buf = append(r.buf[:0], '[')
	} else {
		r.buf = append(r.buf, ',')
	}
	if len(r.columns) == 0 {
		r.buf = append(r.buf, '{') // else it is in the first key
	}
	return nil
}

// End ends a row.
func (r *Rows) End() error {
	if r.skip {
		return nil
	}
	r.buf = append(r.buf, '}')
	if r.Size > 0 && len(r.buf) > r.Size {
		return &Fault{
			Code: message.CodeLimitExceeded, Message: fmt.Sprintf("the rows are more than %d bytes", r.Size),
			Hint: `Ask for fewer columns, or for a page with the params "$limit" and "$offset".`,
		}
	}
	return nil
}

// next begins a value and returns its type; false if it is not wanted.
func (r *Rows) next() (sqlfile.Type, bool) {
	if r.skip {
		return "", false
	}
	i := r.col
	r.col++
	r.buf = append(r.buf, r.keys[i]...)
	return r.columns[i].Type, true
}

// Null adds NULL.
func (r *Rows) Null() {
	if _, ok := r.next(); ok {
		r.buf = append(r.buf, "null"...)
	}
}

// Bool adds a truth value.
func (r *Rows) Bool(v bool) {
	if _, ok := r.next(); ok {
		r.buf = strconv.AppendBool(r.buf, v)
	}
}

// Int adds a whole number.
func (r *Rows) Int(v int64) {
	switch t, ok := r.next(); {
	case !ok:
	case t == sqlfile.Boolean:
		r.buf = strconv.AppendBool(r.buf, v != 0)
	case t == sqlfile.String:
		r.buf = appendString(r.buf, strconv.FormatInt(v, 10))
	default:
		r.buf = strconv.AppendInt(r.buf, v, 10)
	}
}

// Float adds a number. Those that JSON does not know are null.
func (r *Rows) Float(v float64) {
	t, ok := r.next()
	if !ok {
		return
	}
	b, err := json.Marshal(v)
	switch {
	case err != nil:
		r.buf = append(r.buf, "null"...)
	case t == sqlfile.String:
		r.buf = appendString(r.buf, string(b))
	default:
		r.buf = append(r.buf, b...)
	}
}

// Text adds a text; as what the column's type makes of it.
func (r *Rows) Text(v string) {
	if t, ok := r.next(); ok {
		r.buf = AppendText(r.buf, t, v)
	}
}

// AppendText adds the JSON of a text that a database gave for a value of a type.
func AppendText(dst []byte, t sqlfile.Type, v string) []byte {
	switch t {
	case sqlfile.JSON:
		if out, ok := embed(dst, []byte(v)); ok {
			return out
		}
	case sqlfile.Number, sqlfile.Integer:
		switch {
		case number(v):
			return append(dst, v...)
		case v == "NaN" || v == "Infinity" || v == "-Infinity":
			return append(dst, "null"...)
		}
	case sqlfile.Boolean:
		switch v {
		case "t", "true", "1":
			return append(dst, "true"...)
		case "f", "false", "0":
			return append(dst, "false"...)
		}
	case sqlfile.Date:
		return appendDate(dst, v)
	case sqlfile.Any, sqlfile.String:
	}
	return appendString(dst, v)
}

// embed adds v if it is JSON.
func embed(dst, v []byte) ([]byte, bool) {
	if !message.ValidJSON(v) {
		return dst, false
	}
	b := bytes.NewBuffer(dst)
	if json.Compact(b, v) != nil {
		return dst, false
	}
	return b.Bytes(), true
}

// Raw adds JSON that is valid.
func (r *Rows) Raw(v []byte) {
	if _, ok := r.next(); ok {
		r.buf = append(r.buf, v...)
	}
}

// Blob adds bytes, in base64.
func (r *Rows) Blob(v []byte) {
	t, ok := r.next()
	if !ok {
		return
	}
	if t == sqlfile.JSON {
		if out, ok := embed(r.buf, v); ok {
			r.buf = out
			return
		}
	}
	r.buf = append(base64.StdEncoding.AppendEncode(append(r.buf, '"'), v), '"')
}

// Time adds a date, or a date with a time.
func (r *Rows) Time(v time.Time, day bool) {
	if _, ok := r.next(); !ok {
		return
	}
	layout := time.RFC3339Nano
	if day {
		layout = time.DateOnly
	}
	r.buf = append(r.buf, '"')
	r.buf = v.AppendFormat(r.buf, layout)
	r.buf = append(r.buf, '"')
}

// number tells whether v is a number as JSON writes them.
func number(v string) bool {
	if v == "" || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return false
	}
	return json.Valid([]byte(v))
}

// appendDate adds a date as databases write it in the form of ISO 8601: a T
// between day and time, a zone of hours and minutes, Z for UTC.
func appendDate(dst []byte, v string) []byte {
	if len(v) < 19 || v[4] != '-' || v[10] != ' ' && v[10] != 'T' {
		return appendString(dst, v)
	}
	day, clock, zone := v[:10], v[11:], ""
	for i := 8; i < len(clock); i++ {
		if c := clock[i]; c == '+' || c == '-' || c == 'Z' {
			clock, zone = clock[:i], clock[i:]
			break
		}
	}
	switch {
	case zone == "+00" || zone == "-00" || zone == "+00:00":
		zone = "Z"
	case len(zone) == 3:
		zone += ":00"
	}
	return appendString(dst, day+"T"+clock+zone)
}

// appendString adds a JSON string. Bytes that are not UTF-8 are replaced.
func appendString(dst []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return append(append(append(dst, '"'), s...), '"')
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) //nolint:errchkjson // a string
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
