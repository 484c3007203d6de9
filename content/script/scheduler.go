package script

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// DefaultRescan is how often a Scheduler looks for scripts that have come,
	// gone or changed.
	DefaultRescan = 10 * time.Second
	// maxScan bounds the files that a Scheduler looks at.
	maxScan = 20_000
	// lateness is how much later than its time a run may begin; one that is later,
	// since the machine slept, is left out.
	lateness = time.Minute
)

// Scheduler runs the scripts of a provider that have a schedule, or handle events:
//
//	export const schedule = "every 5m"; // or "*/5 8-18 * * 1-5"
//	export async function tick(ctx) { … }
//
//	export const events = ["prices:/**"];
//	export async function event(e, ctx) { … }
//
// A tick runs once at a time; what falls into a run is left out. Events are
// handled one after the other. Make one with [NewScheduler].
type Scheduler struct {
	p      *Provider
	o      SchedulerOptions
	lane   *lane.Lane
	rescan time.Duration

	jobs map[string]*job // guarded by the loop: only it uses them

	mu   sync.Mutex
	busy map[string]bool
}

// SchedulerOptions are settings of [NewScheduler]. The zero value is good.
type SchedulerOptions struct {
	// Rescan is how often is looked for changes. Default: [DefaultRescan].
	Rescan time.Duration
	// Mine says whether this node is to run scripts now, so that of several nodes
	// with the same scripts one does. It is asked each time that one is due, or an event is there, and must
	// not block for long. Default: always.
	Mine func() bool
	// Ran is told of each run that has ended, by its export, and of events that a
	// script may not have. It may be called by several goroutines. Default: nobody;
	// errors are logged in any case.
	Ran func(path, export string, took time.Duration, err error)
}

// job is a script as the scheduler knows it.
type job struct {
	stamp stamp
	text  string   // of the schedule
	told  []string // the topics that it says
	ears  ears
	plan  *schedule // nil: it has none, or one that cannot be read
	next  time.Time
}

// NewScheduler starts to run scripts on their schedules, until
// [Scheduler.Close]. It must be closed before the provider is.
func NewScheduler(p *Provider, o SchedulerOptions) *Scheduler {
	s := &Scheduler{p: p, o: o, rescan: o.Rescan, jobs: map[string]*job{}, busy: map[string]bool{}, lane: lane.New(context.Background(), p.log)}
	if s.rescan <= 0 {
		s.rescan = DefaultRescan
	}
	s.lane.Go("schedules", s.loop)
	return s
}

// Close ends all runs and returns when they have ended.
func (s *Scheduler) Close() { s.lane.Close() }

func (s *Scheduler) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var scanned time.Time
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		now := time.Now().In(s.p.location)
		if scanned.IsZero() || now.Sub(scanned) >= s.rescan {
			s.scan(now)
			scanned = now
		}
		wake := scanned.Add(s.rescan)
		mine := s.mine()
		for p, j := range s.jobs {
			s.listen(p, &j.ears, mine)
			if soon := now.Add(ownership); len(j.ears.topics) > 0 && soon.Before(wake) {
				wake = soon
			}
			if j.plan == nil {
				continue
			}
			if !j.next.After(now) {
				if now.Sub(j.next) < lateness {
					s.start(p)
				}
				j.next = j.plan.next(now)
			}
			if !j.next.IsZero() && j.next.Before(wake) {
				wake = j.next
			}
		}
		timer.Reset(max(0, time.Until(wake)))
	}
}

// mine reports whether this node is to run scripts now.
func (s *Scheduler) mine() bool { return s.o.Mine == nil || s.o.Mine() }

// ran tells of a run.
func (s *Scheduler) ran(p, export string, took time.Duration, err error) {
	if s.o.Ran != nil {
		s.o.Ran(p, export, took, err)
	}
}

// start runs a script, unless it still runs.
func (s *Scheduler) start(p string) {
	if !s.mine() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[p] {
		s.p.log.Warn("a script still runs when it is due again; make it faster, or its schedule slower", "path", p)
		return
	}
	s.busy[p] = s.lane.Go("schedule", func(ctx context.Context) {
		defer func() {
			s.mu.Lock()
			delete(s.busy, p)
			s.mu.Unlock()
		}()
		begun := time.Now()
		_, err := s.p.run(ctx, s.p.programs.get(p), &order{path: p, export: engine.ExportTick, session: session.Anonymous()})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.p.log.Error("a script on a schedule failed", "path", p, "err", err)
		} else {
			s.p.changed(p)
		}
		s.ran(p, engine.ExportTick, time.Since(begun), err)
	})
}

// scan finds the scripts that have a schedule or handle events.
func (s *Scheduler) scan(now time.Time) {
	seen := map[string]bool{}
	for name, a := range s.p.tree.apps {
		root, err := os.OpenRoot(a.dir)
		if err != nil {
			s.p.log.Warn("the scripts cannot be read", "path", "/"+name, "err", err)
			continue
		}
		// What cannot be read is as good as not there.
		_ = fs.WalkDir(root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || len(seen) >= maxScan:
				return fs.SkipDir
			case rel == ".":
				return nil
			case !goodName(d.Name()) || d.Name() == "node_modules":
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if p := path.Join("/", name, filepath.ToSlash(rel)); d.Type().IsRegular() && isScript(p) {
				seen[p] = true
				s.look(p, d, now)
			}
			return nil
		})
		_ = root.Close() // it was only read from
	}
	for p, j := range s.jobs {
		if !seen[p] {
			j.ears.close()
			delete(s.jobs, p)
		}
	}
}

// look reads the schedule and the topics of a file that has changed.
func (s *Scheduler) look(p string, d fs.DirEntry, now time.Time) {
	info, err := d.Info()
	if err != nil {
		return
	}
	j := s.jobs[p]
	if j == nil {
		j = &job{ears: ears{stops: map[string]func(){}}}
		s.jobs[p] = j
	}
	if j.stamp == stampOf(info) && now.Sub(info.ModTime()) > settled+s.rescan {
		return
	}
	j.stamp = stampOf(info)
	text, _, err := s.p.tree.read(p, s.p.settings.MaxFile)
	if err != nil {
		text = ""
	}
	text = uncommented(text)
	if topics := topicsIn(text); !slices.Equal(topics, j.told) {
		j.told = topics
		s.hear(p, &j.ears, topics)
	}
	plan := ""
	if m := scheduleLine.FindStringSubmatch(text); m != nil {
		plan = strings.TrimSpace(m[1] + m[2] + m[3])
	}
	if plan == j.text {
		return
	}
	j.text, j.plan = plan, nil
	if plan == "" {
		return
	}
	if j.plan, err = parseSchedule(plan); err != nil {
		s.p.log.LogAttrs(context.Background(), slog.LevelWarn, "the schedule of a script cannot be read; it is not run",
			slog.String("path", p), slog.Any("err", err))
		return
	}
	j.next = j.plan.next(now)
}
