//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

const (
	// queryAt is the address of the files of row query.
	queryAt = "query:/bench"
	// queryConns watch queryGroups contents of one query.
	queryConns, queryGroups = 1000, 100
	// queryBurst writes are made at once, queryInFlight of them under way.
	queryBurst, queryInFlight = 10_000, 64
	// queryEvery is the time between two writes otherwise.
	queryEvery = 100 * time.Millisecond
)

// queryFiles are what a node of row query serves. The index has each content
// found in ten steps, so that what is measured is what goes on around it.
func queryFiles() map[string]string {
	return map[string]string{
		"init.sql": fmt.Sprintf(`-- @timeout 1m
CREATE TABLE rows (id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, v INTEGER NOT NULL, name TEXT NOT NULL);
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
INSERT INTO rows SELECT i, i %% %d, 0, 'row ' || i FROM n;
CREATE INDEX rows_by_grp ON rows (grp, v)
`, load.QueryRows-1, queryGroups),
		"rows.sql": "-- @param grp integer\nSELECT id, v, name FROM rows WHERE grp = :grp ORDER BY v DESC, id DESC LIMIT 10\n",
		"set.sql":  "-- @param id integer\n-- @param v integer\nUPDATE rows SET v = :v WHERE id = :id\n",
	}
}

// contents writes the files, and returns what the configuration says of them.
func (b *bench) contents() (map[string]any, error) {
	root, db := b.bin("content"), b.bin("rows.db")
	for _, old := range []string{db, db + "-wal", db + "-shm"} {
		_ = os.Remove(old) // of the last round
	}
	dir := filepath.Join(root, "bench")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	for name, text := range queryFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write query: %w", err)
		}
	}
	return map[string]any{
		"root": root, "query": map[string]any{"databases": map[string]any{"main": map[string]any{"file": db}}},
	}, nil
}

// fillTable makes the table.
func (b *bench) fillTable(addr string) error {
	//nolint:gosec,noctx // our own program; it has a time limit
	out, err := exec.Command(b.bin("ropewalk"), "publish", "--url", "ws://"+addr, queryAt+"/init.sql", "{}").CombinedOutput()
	if err != nil {
		return fmt.Errorf("fill the table: %w: %s", err, out)
	}
	return nil
}

// querySteps are one write after another, and many at once.
func querySteps(o options) []step {
	one := step{row: load.ModeQuery, warm: o.span / 4, span: o.span, conns: queryConns, size: queryGroups}
	many := one
	many.inFlight = queryInFlight
	return []step{one, many}
}

// The steps of row query.
var (
	oneWrite   = at{mode: load.ModeQuery, size: queryGroups}                          //nolint:gochecknoglobals // constants
	manyWrites = at{mode: load.ModeQuery, size: queryGroups, inFlight: queryInFlight} //nolint:gochecknoglobals // constants
)

// What was computed for each write, in a second, and for how much CPU time.
func runsEach(m measure) float64    { return float64(m.Runs) / float64(m.Count) }
func runsPerSec(m measure) float64  { return float64(m.Runs) / m.Seconds }
func serverMilli(m measure) float64 { return m.Server / 1000 }
func serverRun(m measure) float64   { return m.Server / runsEach(m) }

func (m measure) query() string {
	return fmt.Sprintf(" %d watch %d, %d writes under way: server %.2f ms a write, %.1f contents a write, %.0f/s; %.0f writes/s; "+
		"p50 %.1f p99 %.1f ms; others %.2f cores", m.Conns, m.Topics, m.InFlight, serverMilli(m), runsEach(m), runsPerSec(m), m.Rate, p50(m), p99(m), m.Others)
}

func (r *report) queryTable(b *bytes.Buffer) {
	if !r.has(load.ModeQuery) {
		return
	}
	r.heading(b, load.ModeQuery,
		fmt.Sprintf("Live queries: %d watchers of %d contents of a table of %d rows in SQLite", queryConns, queryGroups, load.QueryRows),
		"writes", "from the write to the last delivery, p50 ms", "p99 ms", "server CPU ms a write", "contents computed a write",
		"a second", "server CPU µs a content", "writes/s")
	for _, t := range []struct {
		name string
		in   at
	}{
		{fmt.Sprintf("one each %s", queryEvery), oneWrite},
		{fmt.Sprintf("%d, %d under way", queryBurst, queryInFlight), manyWrites},
	} {
		of := func(value func(measure) float64) []float64 { return r.series(ropewalkName, t.in, value) }
		if len(of(server)) == 0 {
			continue
		}
		first, last := cell(of(p50), 1), cell(of(p99), 1)
		if t.in == manyWrites {
			first, last = "all right "+first+" after the last answer", ""
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", t.name, first, last, cell(of(serverMilli), 2), cell(of(runsEach), 1),
			cell(of(runsPerSec), 0), cell(of(serverRun), 1), cell(of(rate), 0))
	}
}
