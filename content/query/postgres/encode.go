package postgres

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
)

// encoder makes JSON of values in text form.
type encoder struct {
	columns []sqldb.Column
	blobs   []bool
	arrays  []bool // the type of a column is then that of the elements
	elems   []sqlfile.Type
}

func newEncoder(m *pgtype.Map, fields []pgconn.FieldDescription) *encoder {
	n := len(fields)
	e := &encoder{columns: make([]sqldb.Column, n), blobs: make([]bool, n), arrays: make([]bool, n), elems: make([]sqlfile.Type, n)}
	for i := range fields {
		oid := fields[i].DataTypeOID
		e.columns[i].Name = fields[i].Name
		if t, ok := m.TypeForOID(oid); ok {
			if a, isArray := t.Codec.(*pgtype.ArrayCodec); isArray && oid != pgtype.BoxArrayOID { // which has other commas
				e.arrays[i], e.elems[i], e.columns[i].Type = true, typeOf(a.ElementType.OID), sqlfile.JSON
				e.blobs[i] = a.ElementType.OID == pgtype.ByteaOID
				continue
			}
		}
		e.blobs[i] = oid == pgtype.ByteaOID
		e.columns[i].Type = typeOf(oid)
	}
	return e
}

// typeOf is what a type of PostgreSQL is in JSON.
func typeOf(oid uint32) sqlfile.Type {
	switch oid {
	case pgtype.BoolOID:
		return sqlfile.Boolean
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		return sqlfile.Integer
	case pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
		return sqlfile.Number
	case pgtype.JSONOID, pgtype.JSONBOID:
		return sqlfile.JSON
	case pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID:
		return sqlfile.Date
	case pgtype.ByteaOID:
		return sqlfile.Any
	}
	return sqlfile.String
}

func (e *encoder) value(to *sqldb.Rows, i int, v []byte) {
	switch {
	case v == nil:
		to.Null()
	case e.arrays[i]:
		out, ok := array(nil, string(v), func(dst []byte, text string) []byte {
			if e.blobs[i] {
				text = base64.StdEncoding.EncodeToString(blob(text))
			}
			return sqldb.AppendText(dst, e.elems[i], text)
		})
		if !ok {
			to.Text(string(v))
			return
		}
		to.Raw(out)
	case e.blobs[i]:
		to.Blob(blob(string(v)))
	default:
		to.Text(string(v))
	}
}

// blob reads bytes, which come in hexadecimal digits.
func blob(v string) []byte {
	b, err := hex.DecodeString(strings.TrimPrefix(v, `\x`))
	if err != nil {
		return []byte(v)
	}
	return b
}

// array adds the JSON of an array in text form, such as {1,NULL,"a \"b\""}; elem
// adds that of an element. Bounds other than 1, as in [0:1]={1,2}, are left out.
func array(dst []byte, v string, elem func(dst []byte, text string) []byte) ([]byte, bool) {
	if strings.HasPrefix(v, "[") {
		_, v, _ = strings.Cut(v, "=")
	}
	depth := 0
	for i := 0; i < len(v); {
		switch c := v[i]; c {
		case '{':
			dst = append(dst, '[')
			depth++
			i++
		case '}':
			dst = append(dst, ']')
			depth--
			i++
		case ',':
			dst = append(dst, ',')
			i++
		default:
			text, n, quoted := element(v[i:])
			if n == 0 {
				return nil, false
			}
			if !quoted && text == "NULL" {
				dst = append(dst, "null"...)
			} else {
				dst = elem(dst, text)
			}
			i += n
		}
	}
	return dst, depth == 0 && len(dst) > 0
}

// element reads one element of an array and returns how many bytes it has.
func element(v string) (text string, n int, quoted bool) {
	if v[0] != '"' {
		n = strings.IndexAny(v, ",}")
		return v[:max(n, 0)], max(n, 0), false
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '\\' && i+1 < len(v):
			i++
			b.WriteByte(v[i])
		case v[i] == '"':
			return b.String(), i + 1, true
		default:
			b.WriteByte(v[i])
		}
	}
	return "", 0, true
}
