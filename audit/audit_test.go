package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin makes a log with a file, and returns what reads the file.
func begin(t *testing.T, cfg audit.Config, env audit.Env) (*audit.Log, func() []audit.Event) {
	t.Helper()
	if cfg.File == "" {
		cfg.File = filepath.Join(t.TempDir(), "audit.jsonl")
	}
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := audit.New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l, func() []audit.Event {
		t.Helper()
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return read(t, cfg.File)
	}
}

func read(t *testing.T, path string) []audit.Event {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []audit.Event
	for e, err := range audit.Read(bytes.NewReader(text)) {
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		list = append(list, e)
	}
	return list
}

func refusal(ip, address string) audit.Event {
	return audit.Event{
		Kind: audit.KindAccess, Outcome: audit.Refused, Verb: "serve", Address: address, Rule: "default",
		Code: message.CodeForbidden, Who: audit.Who{IP: ip},
	}
}

func TestEventsAreWritten(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	l, end := begin(t, audit.Config{Log: true}, audit.Env{Node: "n1", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := audit.Event{
		Time: at, Kind: audit.KindLogin, Outcome: audit.Done, Detail: "by password",
		Who: audit.Who{Subject: "anna", Session: "s1", Client: "c1", IP: "192.0.2.1"}, Address: "login:/password",
	}
	given := want
	given.Who.IP += ":4711"
	given.Address += "?token=planted"
	l.Record(given)
	l.Record(audit.Event{Kind: audit.KindConfig, Outcome: audit.Done})
	got := end()
	want.Node = "n1"
	if len(got) != 2 || got[0] != want || got[1].Kind != audit.KindConfig || got[1].Time.IsZero() {
		t.Errorf("the file has %+v", got)
	}
	if text := log.String(); !strings.Contains(text, "subject=anna") || strings.Contains(text, "planted") {
		t.Errorf("the log is %s", text)
	}
	l.Record(given) // closed: nothing happens
}

func TestOffIsALogToo(t *testing.T) {
	t.Parallel()
	l, err := audit.New(audit.Config{}, audit.Env{})
	if l != nil || err != nil {
		t.Fatalf("%v, %v", l, err)
	}
	l.Record(refusal("", ""))
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheOwnerReads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"time":"2026-01-02T03:04:05Z","kind":"x","out`), 0o644); err != nil {
		t.Fatal(err)
	}
	l, _ := begin(t, audit.Config{File: path}, audit.Env{})
	l.Record(refusal("192.0.2.1", "a:/b"))
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
	text, err := os.ReadFile(path)
	if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); err != nil || len(lines) != 2 {
		t.Errorf("behind a torn line the file is %q, %v", text, err)
	}
}

func TestRefusalsAreFolded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, end := begin(t, audit.Config{Fold: duration.Duration(time.Minute)}, audit.Env{})
		start := time.Now()
		for i := range 1000 {
			l.Record(refusal("192.0.2.1", fmt.Sprintf("a:/%d", i)))
			l.Record(refusal(fmt.Sprintf("2001:db8::%x", i), "a:/b")) // one network
		}
		l.Record(refusal("192.0.2.2", "a:/b"))
		l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done})
		time.Sleep(3 * time.Minute)
		l.Record(refusal("192.0.2.1", "a:/late"))
		time.Sleep(5 * time.Minute)
		l.Record(refusal("192.0.2.1", "a:/much/later"))
		counts, lines := 0, 0
		for _, e := range end() {
			lines++
			if e.Count > 0 && (!e.Since.Equal(start) || e.Count != 999) {
				t.Errorf("%+v", e)
			}
			counts += e.Count
		}
		if counts != 2*999 || lines != 4+2+1+1 {
			t.Errorf("%d lines with %d folded", lines, counts)
		}
	})
}

func TestManyAttackersTakeBoundedRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, end := begin(t, audit.Config{Queue: 1 << 17}, audit.Env{})
		for i := range 100_000 {
			l.Record(refusal(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "a:/b"))
		}
		got := end()
		total := 0
		for _, e := range got {
			total += max(e.Count, 1)
		}
		if len(got) > 4096+4 || total != 100_000 {
			t.Errorf("%d lines stand for %d events", len(got), total)
		}
	})
}

func TestFullQueueIsNoted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	stop := make(chan struct{})
	blocked := slog.New(blockingHandler{until: stop})
	l, end := begin(t, audit.Config{Queue: 2, Log: true}, audit.Env{Logger: blocked, Metrics: audit.NewMetrics(reg)})
	for range 100 {
		l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done})
	}
	close(stop)
	got := end()
	missing, there := 0, 0
	for _, e := range got {
		if e.Kind == audit.KindAudit {
			missing += e.Count
		} else {
			there++
		}
	}
	if missing == 0 || missing+there != 100 {
		t.Errorf("%d events are there and %d missing", there, missing)
	}
	if n := value(t, reg, "ropewalk_audit_dropped_total"); int(n) != missing {
		t.Errorf("the metric says %v", n)
	}
}

// blockingHandler holds up whoever logs.
type blockingHandler struct {
	slog.Handler
	until <-chan struct{}
}

func (blockingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h blockingHandler) Handle(context.Context, slog.Record) error { <-h.until; return nil }

// value adds up the values of a counter.
func value(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	l, end := begin(t, audit.Config{File: path, MaxSize: 4096, Keep: 2, Queue: 2000}, audit.Env{})
	for i := range 1000 {
		l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: fmt.Sprint(i)})
	}
	last := end()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("there are %v, %v", files, err)
	}
	for _, f := range files {
		if i, err := f.Info(); err != nil || i.Size() > 4096 || i.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", i, err)
		}
	}
	if last[len(last)-1].Detail != "999" {
		t.Errorf("the last event is %+v", last[len(last)-1])
	}
	before := read(t, path+".1")
	var first int
	if _, err := fmt.Sscan(last[0].Detail, &first); err != nil || before[len(before)-1].Detail != fmt.Sprint(first-1) {
		t.Errorf("%s is followed by %s", before[len(before)-1].Detail, last[0].Detail)
	}
}

func TestRenamedByOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l, end := begin(t, audit.Config{File: path}, audit.Env{})
		l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: "1"})
		synctest.Wait()
		if err := os.Rename(path, path+".old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: "2"})
		if got := end(); len(got) != 1 || got[0].Detail != "2" {
			t.Errorf("the new file has %+v", got)
		}
		if got := read(t, path+".old"); len(got) != 1 || got[0].Detail != "1" {
			t.Errorf("the old file has %+v", got)
		}
	})
}

func TestFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		dir := t.TempDir()
		path := filepath.Join(dir, "audit.jsonl")
		l, end := begin(t, audit.Config{File: path}, audit.Env{
			Logger: slog.New(slog.NewTextHandler(&locked{mu: &mu, b: &log}, nil)), Metrics: audit.NewMetrics(reg),
		})
		// The file goes and nothing can be made in its place.
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for range 3 {
			l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done})
			synctest.Wait()
		}
		if n := value(t, reg, "ropewalk_audit_dropped_total"); n != 3 {
			t.Errorf("%v events were counted as lost", n)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		l.Record(audit.Event{Kind: audit.KindLogout, Outcome: audit.Done})
		if got := end(); len(got) != 1 || got[0].Kind != audit.KindLogout {
			t.Errorf("when there is room again, the file has %+v", got)
		}
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(log.String(), "events are missing"); n == 0 || n > 2 {
			t.Errorf("the log is %s", &log)
		}
	})
}

// locked is a buffer for several.
type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestInjection(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	l, _ := begin(t, audit.Config{File: filepath.Join(t.TempDir(), "a"), Log: true}, audit.Env{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	evil := "a\n{\"kind\":\"login\"}\r\x1b[2J\x9b\u202e\u2028\x00\xff" + strings.Repeat("x", 10_000)
	l.Record(audit.Event{
		Kind: audit.Kind(evil), Outcome: audit.Outcome(evil), Verb: evil, Address: evil, Rule: evil, Code: message.Code(evil), Detail: evil,
		Who: audit.Who{Subject: evil, Session: evil, Client: evil, IP: evil},
	})
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if strings.Count(text, "\n") != 1 || len(text) > 6000 || strings.ContainsAny(text, "\r\x1b\u202e\u2028\x00") {
		t.Errorf("the log is %q", text)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]audit.Config{
		"maxSize": {File: "x", MaxSize: 5},
		"keep":    {File: "x", Keep: -1},
		"fold":    {File: "x", Fold: -1},
		"queue":   {File: "x", Queue: 1 << 30},
		"file":    {File: t.TempDir()},
	} {
		_, err := audit.New(cfg, audit.Env{})
		var e *message.Error
		if !errors.As(err, &e) || e.Path != field || e.Code != message.CodeInvalidInput {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := audit.New(audit.Config{File: "/nonexistent/dir/x"}, audit.Env{}); err == nil {
		t.Error("a file in no directory was accepted")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	l, end := begin(t, audit.Config{Queue: 10_000}, audit.Env{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 100 {
				l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done})
				l.Record(refusal(fmt.Sprintf("192.0.2.%d", g), "a:/b"))
			}
		})
	}
	wg.Wait()
	total := 0
	for _, e := range end() {
		total += max(e.Count, 1)
	}
	if total != 1600 {
		t.Errorf("%d events are there", total)
	}
}

func TestFoldedRefusalsDoNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	l, _ := begin(t, audit.Config{}, audit.Env{})
	e := refusal("192.0.2.1", "a:/b")
	l.Record(e)
	if n := testing.AllocsPerRun(100, func() { l.Record(e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRead(f *testing.F) {
	line, err := json.Marshal(audit.Event{Time: time.Unix(1, 0), Kind: audit.KindLogin, Outcome: audit.Done})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte("{}\n\nnull\n{\"kind\":1}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for e, err := range audit.Read(bytes.NewReader(text)) {
			if err == nil && (e.Kind == "" || e.Time.IsZero()) {
				t.Errorf("%+v", e)
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("a\nb", "10.0.0.1:5", "x\u202e")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, subject, ip, address string) {
		l, err := audit.New(audit.Config{File: filepath.Join(dir, fmt.Sprint(os.Getpid())), MaxSize: 1 << 20, Keep: 1}, audit.Env{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l.Record(audit.Event{Kind: audit.KindAccess, Outcome: audit.Refused, Who: audit.Who{Subject: subject, IP: ip}, Address: address})
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, e := range read(t, filepath.Join(dir, fmt.Sprint(os.Getpid()))) {
			if strings.Contains(e.Address, "?") || strings.ContainsAny(e.Who.Subject, "\r\n\x1b") {
				t.Errorf("%+v", e)
			}
		}
	})
}
