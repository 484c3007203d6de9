package mysql

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/content/query/sqlfile"
)

// query runs a statement and encodes its rows.
func query(ctx context.Context, tx *sql.Tx, s sqldb.Statement, to *sqldb.Rows) error {
	rows, err := tx.QueryContext(ctx, s.SQL, arguments(s.Args)...)
	if err != nil {
		return fault(ctx, err, s.SQL)
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return fault(ctx, err, s.SQL)
	}
	columns := make([]sqldb.Column, len(types))
	blobs, moments := make([]bool, len(types)), make([]bool, len(types))
	for i, t := range types {
		columns[i].Name = t.Name()
		columns[i].Type, blobs[i] = typeOf(t.DatabaseTypeName())
		moments[i] = t.DatabaseTypeName() == "TIMESTAMP"
	}
	if err := to.SetColumns(columns); err != nil {
		return err
	}
	values := make([]sql.RawBytes, len(types))
	row := make([]any, len(types))
	for i := range values {
		row[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return fault(ctx, err, s.SQL)
		}
		if err := to.Begin(); err != nil {
			if errors.Is(err, sqldb.ErrStop) {
				return nil
			}
			return err
		}
		for i, v := range values {
			switch {
			case v == nil:
				to.Null()
			case blobs[i]:
				to.Blob(v)
			case moments[i]:
				to.Text(string(v) + "Z") // the zone of the session is UTC
			default:
				to.Text(string(v))
			}
		}
		if err := to.End(); err != nil {
			return err
		}
	}
	return fault(ctx, rows.Err(), s.SQL)
}

// typeOf is what a type is in JSON, and whether its values are bytes.
func typeOf(name string) (t sqlfile.Type, blob bool) {
	switch name = strings.TrimPrefix(name, "UNSIGNED "); name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		return sqlfile.Integer, false
	case "DECIMAL", "FLOAT", "DOUBLE":
		return sqlfile.Number, false
	case "DATE", "DATETIME", "TIMESTAMP":
		return sqlfile.Date, false
	case "JSON":
		return sqlfile.JSON, false
	case "BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "BIT", "GEOMETRY":
		return sqlfile.Any, true
	}
	return sqlfile.String, false
}
