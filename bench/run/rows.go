//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// resultsName is the file that keeps every measurement.
const resultsName = "results.json"

// origin is when, where and how one run of the bench was made.
type origin struct {
	Date string `json:"date"`
	// Commit is what was measured; empty if git did not tell.
	Commit string `json:"commit"`
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Rounds int    `json:"rounds"`
	For    string `json:"for"`
	Idle   string `json:"idle"`
	Binary int64  `json:"binary,omitempty"`
}

// row is what the newest run that measured it found in one row.
type row struct {
	Name string `json:"row"`
	origin
	Measures []measure `json:"measures"`
}

// report is everything that was found; results.json is this. Each row is of a
// run of its own: one that is measured again leaves the others as they were.
type report struct {
	Rows []row `json:"rows"`
}

var errOldResults = errors.New("not a file of this bench: move it away")

// readReport reads what the last runs found; none is no error.
func readReport(dir string) (*report, error) {
	raw, err := os.ReadFile(filepath.Join(dir, resultsName))
	if errors.Is(err, fs.ErrNotExist) {
		return new(report), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	r := new(report)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", filepath.Join(dir, resultsName), errOldResults, err)
	}
	return r, nil
}

// add adds a measure to a row.
func (r *report) add(name string, of origin, m measure) {
	at := slices.IndexFunc(r.Rows, func(w row) bool { return w.Name == name })
	if at < 0 {
		at = len(r.Rows)
		r.Rows = append(r.Rows, row{Name: name, origin: of})
	}
	r.Rows[at].Measures = append(r.Rows[at].Measures, m)
}

// replace takes rows from a newer report, each as a whole: only what one run has
// measured in turns can be compared.
func (r *report) replace(newer *report) {
	kept := slices.DeleteFunc(r.Rows, func(old row) bool {
		return slices.ContainsFunc(newer.Rows, func(w row) bool { return w.Name == old.Name })
	})
	r.Rows = slices.Concat(kept, newer.Rows)
	order := allRows()
	slices.SortStableFunc(r.Rows, func(a, b row) int { return cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name)) })
}

// measures are those of all rows.
func (r *report) measures() iter.Seq[measure] {
	return func(yield func(measure) bool) {
		for _, w := range r.Rows {
			for _, m := range w.Measures {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// of is the origin of a row; it is zero if the row was not measured.
func (r *report) of(name string) origin {
	for _, w := range r.Rows {
		if w.Name == name {
			return w.origin
		}
	}
	return origin{}
}

// newest is the origin of the row measured last.
func (r *report) newest() origin {
	var last origin
	for _, w := range r.Rows {
		if w.Date >= last.Date {
			last = w.origin
		}
	}
	return last
}

// others is how many cores other programs used while a row was measured.
func (w row) others() []float64 {
	var got []float64
	for _, m := range w.Measures {
		if m.Mode != rowContents {
			got = append(got, m.Others)
		}
	}
	return got
}

func newOrigin(ctx context.Context, o options, dir string) (origin, error) {
	r := origin{
		Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Commit: commit(ctx, dir), Cores: runtime.NumCPU(),
		Rounds: o.rounds, For: o.span.String(), Idle: o.idle.String(),
	}
	var err error
	if r.Go, err = output(ctx, ".", "go", "env", "GOVERSION"); err != nil {
		return r, err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return r, fmt.Errorf("read kernel: %w", err)
	}
	r.Kernel = strings.TrimSpace(string(kernel))
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return r, fmt.Errorf("read cpuinfo: %w", err)
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			r.CPU = strings.TrimSpace(value)
			break
		}
	}
	return r, nil
}

// commit names what lies in the directory, with a + if anything but the results
// was changed since; it is empty outside a checkout.
func commit(ctx context.Context, dir string) string {
	head, err := output(ctx, dir, "git", "rev-parse", "--short", "HEAD")
	if err != nil {
		return ""
	}
	changed, err := output(ctx, dir, "git", "status", "--porcelain", "--", ":/", ":!RESULTS.md", ":!"+resultsName)
	if err != nil || changed != "" {
		head += "+"
	}
	return head
}
