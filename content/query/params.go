package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// claimPrefix begins the names of parameters that come from the session.
const claimPrefix = "claims."

// params are the values that a query is run with: JSON by name.
type params map[string]json.RawMessage

// readParams reads a JSON object; nil is an empty one.
func readParams(raw []byte) (params, error) {
	if len(bytes.TrimSpace(raw)) == 0 || string(raw) == "null" {
		return params{}, nil
	}
	var p params
	if err := json.Unmarshal(raw, &p); err != nil || p == nil {
		return nil, message.NewError(message.CodeInvalidInput, "the params are no JSON object", `Send them like {"name":"value"}.`)
	}
	return p, nil
}

// claim returns the JSON of a claim; null if the session has none.
func claim(s *session.Session, name string) json.RawMessage {
	if s == nil {
		return json.RawMessage("null")
	}
	v, _ := s.Claim(name)
	if name == "sub" { // what was proved, and not a claim of that name
		if v = s.Subject; v == "" {
			v = nil
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// withClaims returns p with the claims that a file uses. A parameter cannot be
// given in the place of a claim.
func (p params) withClaims(f *sqlfile.File, s *session.Session) params {
	all := make(params, len(p))
	for name, v := range p {
		if !strings.HasPrefix(name, claimPrefix) {
			all[name] = v
		}
	}
	for _, name := range f.Values {
		if c, ok := strings.CutPrefix(name, claimPrefix); ok {
			all[name] = claim(s, c)
		}
	}
	return all
}

// page is what the params that begin with "$" say.
type page struct {
	limit, offset  int
	columns, total bool
}

func readPage(p params) (page, error) {
	var g page
	for name, raw := range p {
		if !strings.HasPrefix(name, "$") {
			continue
		}
		var err error
		switch name {
		case "$limit":
			err = natural(raw, &g.limit, 1)
		case "$offset":
			err = natural(raw, &g.offset, 0)
		case "$columns":
			err = json.Unmarshal(raw, &g.columns)
		case "$total":
			err = json.Unmarshal(raw, &g.total)
		default:
			return g, invalid(name, fmt.Sprintf("there is no %.100s", name), "There are $limit, $offset, $columns and $total.")
		}
		if err != nil {
			return g, invalid(name, name+" is not what it has to be", "$limit and $offset are whole numbers, $columns and $total are true or false.")
		}
	}
	return g, nil
}

func natural(raw json.RawMessage, to *int, least int) error {
	if err := json.Unmarshal(raw, to); err != nil {
		return err
	}
	if *to < least || *to > math.MaxInt32 {
		return strconv.ErrRange
	}
	return nil
}

func invalid(path, text, hint string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, text, hint)
	e.Path = path
	return e
}

// args returns the values of parameters, in the order of names.
func (p params) args(o *sqlfile.Options, names []string) ([]any, error) {
	args := make([]any, len(names))
	var missing []string
	for i, name := range names {
		raw, typ := p[name], sqlfile.Any
		if d := o.Param(name); d != nil {
			typ = d.Type
			if raw == nil {
				raw = d.Default
			}
		}
		if raw == nil {
			if !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
			continue
		}
		v, err := convert(raw, typ)
		if err != nil {
			return nil, invalid(name, fmt.Sprintf("%s is %.100s, but has to be %s", name, raw, err), "")
		}
		args[i] = v
	}
	if missing != nil {
		return nil, invalid(missing[0], "params are missing: "+strings.Join(missing, ", "),
			`Give them as params, like {"`+missing[0]+`":…}, or a default in the file: -- @param `+missing[0]+` string = ""`)
	}
	return args, nil
}

// identifier returns the name that a parameter stands for.
func (p params) identifier(o *sqlfile.Options, name string) (string, error) {
	id, given := o.Identifier(name), ""
	if raw := p[name]; raw != nil {
		if json.Unmarshal(raw, &given) != nil || !slices.Contains(id.In, given) {
			return "", invalid(name, fmt.Sprintf("%s is %.100s", name, raw), "It may be one of "+strings.Join(id.In, ", ")+".")
		}
		return given, nil
	}
	if id.Default == "" {
		return "", invalid(name, "params are missing: "+name, "It may be one of "+strings.Join(id.In, ", ")+".")
	}
	return id.Default, nil
}

// wrongTypeError is what a value has to be, and is not.
type wrongTypeError string

func (w wrongTypeError) Error() string { return string(w) }

// convert makes a value for a database of JSON.
func convert(raw json.RawMessage, typ sqlfile.Type) (any, error) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" && typ != sqlfile.JSON {
		return nil, nil //nolint:nilnil // NULL
	}
	switch typ {
	case sqlfile.String:
		return text(raw)
	case sqlfile.Integer:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return nil, wrongTypeError("a whole number of 64 bits")
		}
		return n, nil
	case sqlfile.Number:
		if !isNumber(raw) {
			return nil, wrongTypeError("a number")
		}
		return numeric(raw), nil
	case sqlfile.Boolean:
		if s := string(raw); s == "true" || s == "false" {
			return s == "true", nil
		}
		return nil, wrongTypeError("true or false")
	case sqlfile.Date:
		return date(raw)
	case sqlfile.JSON:
		return compact(raw), nil
	case sqlfile.Any:
	}
	switch c := raw[0]; {
	case c == '"':
		return text(raw)
	case c == 't' || c == 'f':
		return c == 't', nil
	case isNumber(raw):
		return numeric(raw), nil
	}
	return compact(raw), nil
}

func compact(raw []byte) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw)
	return b.String()
}

func isNumber(raw []byte) bool {
	return len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

// numeric keeps all digits.
func numeric(raw []byte) any {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n
	}
	return json.Number(raw)
}

func text(raw []byte) (any, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, wrongTypeError("a string")
	}
	return s, nil
}

// layouts of dates that are accepted. Those without a zone are in UTC.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04", "2006-01-02 15:04",
}

func date(raw []byte) (any, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, wrongTypeError("a date in a string")
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return sqldb.Date{Time: t, Day: true}, nil
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			return sqldb.Date{Time: t}, nil
		}
	}
	return nil, wrongTypeError("a date like 2026-11-22 or 2026-11-22T06:40:00Z")
}
