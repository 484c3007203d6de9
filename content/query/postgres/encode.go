package postgres

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
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
	unknown []uint32 // types of which it does not know whether they are arrays
}

func newEncoder(m *pgtype.Map, known *arrays, fields []pgconn.FieldDescription) *encoder {
	n := len(fields)
	e := &encoder{columns: make([]sqldb.Column, n), blobs: make([]bool, n), arrays: make([]bool, n), elems: make([]sqlfile.Type, n)}
	for i := range fields {
		oid := fields[i].DataTypeOID
		e.columns[i].Name = fields[i].Name
		elem, ok := known.elem(m, oid)
		if !ok {
			e.unknown = append(e.unknown, oid)
		}
		if elem != 0 {
			e.arrays[i], e.elems[i], e.columns[i].Type = true, typeOf(elem), sqlfile.JSON
			e.blobs[i] = elem == pgtype.ByteaOID
			continue
		}
		e.blobs[i] = oid == pgtype.ByteaOID
		e.columns[i].Type = typeOf(oid)
	}
	return e
}

// firstOwn is the first number of types that are not PostgreSQL's own.
const firstOwn = 16384

// arrays knows which types that users made are arrays, and of what.
type arrays struct {
	mu    sync.Mutex
	elems map[uint32]uint32 // 0: it is none
}

// elem returns the type of the elements of an array, 0 for what is none. It is
// not ok if that has to be learnt first.
func (a *arrays) elem(m *pgtype.Map, oid uint32) (elem uint32, ok bool) {
	if oid >= firstOwn {
		a.mu.Lock()
		defer a.mu.Unlock()
		elem, ok = a.elems[oid]
		return elem, ok
	}
	if t, found := m.TypeForOID(oid); found && oid != pgtype.BoxArrayOID { // which has other commas
		if c, isArray := t.Codec.(*pgtype.ArrayCodec); isArray {
			elem = c.ElementType.OID
		}
	}
	return elem, true
}

// learn asks what types are.
func (a *arrays) learn(ctx context.Context, tx pgx.Tx, oids []uint32) error {
	rows, err := tx.Query(ctx, `SELECT a.oid, CASE WHEN a.typcategory = 'A' AND e.typdelim = ',' THEN coalesce(nullif(e.typbasetype, 0), e.oid) ELSE 0 END
		FROM pg_type a LEFT JOIN pg_type e ON e.oid = a.typelem WHERE a.oid = ANY($1)`, oids)
	if err != nil {
		return err
	}
	found := map[uint32]uint32{}
	var oid, elem uint32
	_, err = pgx.ForEachRow(rows, []any{&oid, &elem}, func() error {
		found[oid] = elem
		return nil
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.elems == nil {
		a.elems = map[uint32]uint32{}
	}
	for _, oid := range oids {
		a.elems[oid] = found[oid]
	}
	return nil
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
		out, ok := array(string(v), func(dst []byte, text string) []byte {
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

// array makes JSON of an array in text form, such as {1,NULL,"a \"b\""}; elem
// adds that of an element. Bounds other than 1, as in [0:1]={1,2}, are left out.
func array(v string, elem func(dst []byte, text string) []byte) ([]byte, bool) {
	if strings.HasPrefix(v, "[") {
		_, v, _ = strings.Cut(v, "=")
	}
	var dst []byte
	depth := 0
	for i := 0; i < len(v); {
		switch c := v[i]; c {
		case '{':
			dst = append(dst, '[')
			depth++
			i++
		case '}':
			dst = append(dst, ']')
			i++
			if depth--; depth <= 0 {
				return dst, depth == 0 && i == len(v)
			}
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
	return nil, false
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
