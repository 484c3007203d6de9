//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

// measure is one result in one round.
type measure struct {
	Round   int    `json:"round"`
	Program string `json:"program"`
	// Size is how many servers a gather asked, how many nodes a mesh had, or how
	// many topics there were.
	Size int `json:"size,omitempty"`
	load.Result
	Members *members `json:"members,omitempty"` // row nodes only
	// Contents are microseconds, by package and benchmark; row contents only.
	Contents map[string]float64 `json:"contents,omitempty"`
}

// String is the line shown while the bench runs.
func (m measure) String() string {
	head := fmt.Sprintf("%d %-18s %-7s", m.Round+1, m.Program, m.Mode)
	switch m.Mode {
	case rowNodes:
		return head + fmt.Sprintf(" %4d nodes: %s; others %.2f cores", m.Size, m.Members, m.Others)
	case load.ModeGather:
		head += fmt.Sprintf(" of %d", m.Size)
		fallthrough
	case load.ModeCall, load.ModeSend:
		return head + fmt.Sprintf(" %4d in flight: servers %6.2f µs each, service %5.2f, load %5.2f; %7.0f/s; p50 %5.0f p99 %6.0f µs; others %.2f cores",
			m.InFlight, m.Server, m.Peer, m.Own, m.Rate, m.P50, m.P99, m.Others)
	case load.ModeFanout, load.ModeTopics, load.ModeWatches, load.ModeStorm:
		return head + m.topical()
	case rowContents:
		return head + fmt.Sprint(" µs: ", m.Contents)
	case load.ModeQuery:
		return head + m.query()
	case load.ModeConnect:
		return head + fmt.Sprintf(" %d: server %.1f µs each; %.0f/s; p99 %.1f ms; others %.2f cores",
			m.Conns, m.Server, m.Rate, m.P99/1000, m.Others)
	default:
		return head + fmt.Sprintf(" %d: base %.1f MB, %.2f KB each (rested %.2f); %.2f %% of a core, %d pings; others %.2f cores",
			m.Conns, mb(m.Base), m.each(m.Full), m.each(m.Rested), m.ServerShare, m.Pings, m.Others)
	}
}

// each is the memory of one connection in KB when the server has rss bytes.
func (m measure) each(rss int64) float64 { return float64(rss-m.Base) / float64(m.Conns) / 1024 }

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// at is one step in the tables: what was done, how many at a time, and the size
// of what it was done with.
type at struct {
	mode           string
	inFlight, size int
	stalled        int
}

// series are the values of one program in one step, round by round.
func (r *report) series(program string, in at, value func(measure) float64) []float64 {
	var got []float64
	for m := range r.measures() {
		if m.Program == program && m.Mode == in.mode && m.InFlight == in.inFlight && m.Size == in.size && m.Stalled == in.stalled {
			got = append(got, value(m))
		}
	}
	return got
}

// The generated parts of RESULTS.md lie between these; the rest is written by hand.
const (
	begin        = "<!-- begin: written by go run ./run -->\n"
	end          = "<!-- end -->\n"
	beginProfile = "<!-- begin profile: written by go run ./run --profile -->\n"
	endProfile   = "<!-- end profile -->\n"
)

var errMarks = errors.New("RESULTS.md lacks a mark")

// write writes results.json, and the tables into RESULTS.md.
func (r *report) write(dir string) error {
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, resultsName), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	var b bytes.Buffer
	r.tables(&b)
	return rewrite(dir, begin, end, b.Bytes())
}

// rewrite replaces what lies between two marks of RESULTS.md.
func rewrite(dir, begin, end string, text []byte) error {
	path := filepath.Join(dir, "RESULTS.md")
	page, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		page, err = []byte("# Results\n\n"+begin+end), nil
	}
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	from, to := bytes.Index(page, []byte(begin)), bytes.Index(page, []byte(end))
	if from < 0 || to < from {
		return fmt.Errorf("%w: %s", errMarks, strings.TrimSpace(begin))
	}
	page = slices.Concat(page[:from+len(begin)], text, page[to:])
	if err := os.WriteFile(path, page, 0o600); err != nil { //nolint:gosec // where --out says
		return fmt.Errorf("write page: %w", err)
	}
	fmt.Println("wrote", path)
	return nil
}

// spread is a median with the smallest and largest of its values.
type spread struct{ median, low, high float64 }

// sum makes a spread; it has no values if there are none.
func sum(values []float64) (spread, bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	v := slices.Clone(values)
	slices.Sort(v)
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return spread{mid, v[0], v[len(v)-1]}, true
}

// ratios divides round by round; rounds that one of them lacks are left out.
func ratios(a, b []float64) []float64 {
	var got []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			got = append(got, a[i]/b[i])
		}
	}
	return got
}

// differences is how much more a is than b, round by round.
func differences(a, b []float64) []float64 {
	got := make([]float64, min(len(a), len(b)))
	for i := range got {
		got[i] = a[i] - b[i]
	}
	return got
}
