package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the database
)

// Where the data are from; see README.md.
const (
	npmPackage   = "vega-datasets@3.2.1"
	flightsFile  = "flights-20k.json"
	airportsFile = "airports.csv"
)

// databaseFile is in the directory of the data. Another form of the tables needs
// another name.
const databaseFile = "flights-1.db"

// prepare returns the database, which it makes if it is not there: from files of a
// directory, or fetched.
func prepare(ctx context.Context, s settings) (file string, err error) {
	file = filepath.Join(s.data, databaseFile)
	if _, err := os.Stat(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := os.MkdirAll(s.data, 0o750); err != nil {
		return "", err
	}
	source := s.source
	if source == "" {
		if source, err = os.MkdirTemp(s.data, "fetch-*"); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(source)) }()
		if err := fetch(ctx, source, s.out); err != nil {
			return "", err
		}
	}
	// It gets its name when it is complete.
	part := file + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := load(ctx, source, part, s.out); err != nil {
		return "", errors.Join(err, os.Remove(part))
	}
	return file, os.Rename(part, file)
}

// fetch has npm fetch the package, and takes the two files out of it.
func fetch(ctx context.Context, dir string, out io.Writer) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("%w: npm fetches the flights; install it, or give the files with -source", err)
	}
	fmt.Fprintf(out, "fetching %s (18 MB) from the npm registry\n", npmPackage)
	var problem strings.Builder
	cmd := exec.CommandContext(ctx, npm, "pack", npmPackage, "--silent", "--ignore-scripts", "--pack-destination", ".") //nolint:gosec // constants
	cmd.Dir, cmd.Stderr = dir, &problem
	name, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("npm pack %s: %w\n%s", npmPackage, err, problem.String())
	}
	return unpack(filepath.Join(dir, filepath.Base(strings.TrimSpace(string(name)))), dir)
}

// unpack writes the two files of a package into a directory.
func unpack(packed, dir string) error {
	f, err := os.Open(packed) //nolint:gosec // what npm has written
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", npmPackage, err)
	}
	missing := map[string]bool{flightsFile: true, airportsFile: true}
	for all := tar.NewReader(z); len(missing) > 0; {
		header, err := all.Next()
		if err != nil {
			return fmt.Errorf("unpack %s: %w", npmPackage, err)
		}
		name := path.Base(header.Name)
		if !missing[name] {
			continue
		}
		delete(missing, name)
		const most = 10 << 20
		b, err := io.ReadAll(io.LimitReader(all, most))
		if err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// flight is one of the data.
type flight struct {
	Date        string `json:"date"`     // 2001/01/01 00:47
	Delay       int    `json:"delay"`    // in minutes
	Distance    int    `json:"distance"` // in miles
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
}

// tables of the database. recorded is the delay that the data have; delay is what
// the editor makes of it.
const tables = `
CREATE TABLE airport (
  iata TEXT PRIMARY KEY,
  city TEXT NOT NULL,
  state TEXT NOT NULL
) STRICT;
CREATE TABLE flight (
  id INTEGER PRIMARY KEY,
  scheduled TEXT NOT NULL,
  origin TEXT NOT NULL REFERENCES airport,
  destination TEXT NOT NULL REFERENCES airport,
  distance INTEGER NOT NULL,
  recorded INTEGER NOT NULL,
  delay INTEGER NOT NULL CHECK (delay BETWEEN -120 AND 1440)
) STRICT;
CREATE INDEX flight_scheduled ON flight (scheduled);
CREATE INDEX flight_origin ON flight (origin, scheduled);
`

// load makes a database of the files of a directory.
func load(ctx context.Context, source, file string, out io.Writer) (err error) {
	var flights []flight
	b, err := os.ReadFile(filepath.Join(source, flightsFile)) //nolint:gosec // it is what the command line says
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &flights); err != nil {
		return fmt.Errorf("read %s: %w", flightsFile, err)
	}
	airports, err := readAirports(filepath.Join(source, airportsFile))
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=foreign_keys(1)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if _, err := tx.ExecContext(ctx, tables); err != nil {
		return err
	}
	if err := insert(ctx, tx, airports, flights, progress(out, len(flights))); err != nil {
		return err
	}
	return tx.Commit()
}

// readAirports returns code, city and state of all airports.
func readAirports(file string) ([][3]string, error) {
	f, err := os.Open(file) //nolint:gosec // it is what the command line says
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", airportsFile, err)
	}
	var all [][3]string
	for _, line := range lines[min(1, len(lines)):] { // behind iata,name,city,state,…
		if len(line) < 4 {
			return nil, fmt.Errorf("read %s: a line has %d fields", airportsFile, len(line))
		}
		all = append(all, [3]string{line[0], line[2], line[3]})
	}
	return all, nil
}

func insert(ctx context.Context, tx *sql.Tx, airports [][3]string, flights []flight, done func(n int)) error {
	add := func(query string, n int, args func(i int) []any, done func(n int)) error {
		stmt, err := tx.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		defer func() { _ = stmt.Close() }()
		for i := range n {
			if _, err := stmt.ExecContext(ctx, args(i)...); err != nil {
				return err
			}
			done(i + 1)
		}
		return nil
	}
	err := add("INSERT INTO airport VALUES (?, ?, ?)", len(airports), func(i int) []any {
		a := airports[i]
		return []any{a[0], a[1], a[2]}
	}, func(int) {})
	if err != nil {
		return fmt.Errorf("load airports: %w", err)
	}
	err = add("INSERT INTO flight VALUES (?, ?, ?, ?, ?, ?, ?)", len(flights), func(i int) []any {
		f := flights[i]
		when := strings.Replace(strings.ReplaceAll(f.Date, "/", "-"), " ", "T", 1) + ":00"
		return []any{i + 1, when, f.Origin, f.Destination, f.Distance, f.Delay, f.Delay}
	}, done)
	if err != nil {
		return fmt.Errorf("load flights: %w", err)
	}
	return nil
}

// progress returns a function that draws a bar when it is told how much is done.
func progress(out io.Writer, all int) func(n int) {
	const width = 40
	drawn := -1
	return func(n int) {
		if at := n * width / all; at != drawn {
			drawn = at
			fmt.Fprintf(out, "\rloading flights [%s%s] %d/%d", strings.Repeat("#", at), strings.Repeat(".", width-at), n, all)
		}
		if n == all {
			fmt.Fprintln(out)
		}
	}
}
