package script

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// ownership is how often a Scheduler that handles events asks whether they are
	// still its own: as long as a hand-over takes.
	ownership = time.Second
	// rewatch is how long after its end a watch is tried again: it has ended for a
	// reason that does not pass by itself, such as that nobody serves the address.
	rewatch = 5 * time.Second
	// logEvery bounds what a script that fails with each of many events writes.
	logEvery = 10 * time.Second
	// maxTopics bounds the watches of a script, each of which holds events.
	maxTopics = 16
)

// Event is what is handled by the export "event" of a script.
type Event struct {
	// Address is the topic's; of a Gap it may be the pattern that is watched.
	Address string
	// Content is what was published.
	Content content.Content
	// Publisher is a JSON object, who it was; nil if the topic does not say that.
	Publisher json.RawMessage
	// Epoch and Offset are the position in the topic.
	Epoch  string
	Offset uint64
	// Gap says that events may be missing before the next one.
	Gap bool
}

// json returns an event as scripts get it.
func (e *Event) json() (json.RawMessage, error) {
	in, err := body(e.Content)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Address   string          `json:"address"`
		Content   json.RawMessage `json:"content,omitempty"`
		Publisher json.RawMessage `json:"publisher,omitempty"`
		Epoch     string          `json:"epoch,omitempty"`
		Offset    uint64          `json:"offset"`
		Gap       bool            `json:"gap,omitempty"`
	}{e.Address, in, e.Publisher, e.Epoch, e.Offset, e.Gap})
}

const textLiteral = "(?:\"[^\"\\n]*\"|'[^'\\n]*'|`[^`\\n$]*`)"

var (
	// eventsLine finds the topics without running the script.
	eventsLine = regexp.MustCompile("(?m)(?:^|[;}])[ \t]*export\\s+const\\s+events\\s*(?::\\s*(?:readonly\\s+)?string\\[\\]\\s*)?=\\s*" +
		"\\[((?:\\s|,|//[^\\n]*\\n|" + textLiteral + ")*)\\]")
	topicText = regexp.MustCompile("//[^\\n]*\\n|" + textLiteral)
)

// topicsIn returns the addresses that a script says to handle the events of.
func topicsIn(text string) []string {
	m := eventsLine.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	var out []string
	for _, t := range topicText.FindAllString(m[1], -1) {
		if !strings.HasPrefix(t, "//") {
			out = append(out, t[1:len(t)-1])
		}
	}
	return out
}

// ears are the watches of a script. Only the loop of the scheduler uses topics and
// stops.
type ears struct {
	topics []string          // what it may watch
	stops  map[string]func() // those that are watched

	mu     sync.Mutex // held while an event is handled
	logged time.Time
	quiet  int // failures since then
}

// hear has ears know what a script says to watch, without what it may not.
func (s *Scheduler) hear(p string, e *ears, topics []string) {
	e.topics = nil
	may := grantsOf(s.p.grants, p)
	for i, t := range topics {
		var err error
		switch {
		case i >= maxTopics:
			err = message.NewError(message.CodeLimitExceeded, fmt.Sprintf("a script watches at most %d addresses", maxTopics),
				"Watch patterns, or write several scripts.")
		case s.p.host.Watch == nil || !covered(may.watch, t):
			err = denied("events of "+t, p)
		default:
			e.topics = append(e.topics, t)
			continue
		}
		s.p.log.Error("a script does not get events", "path", p, "topic", t, "err", err)
		s.ran(p, engine.ExportEvent, 0, err)
	}
}

// listen begins and ends watches, so that there are those that are wanted.
func (s *Scheduler) listen(p string, e *ears, mine bool) {
	wanted := map[string]bool{}
	for _, t := range e.topics {
		wanted[t] = mine
	}
	for t, stop := range e.stops {
		if !wanted[t] {
			stop()
			delete(e.stops, t)
		}
	}
	for t, want := range wanted {
		if !want || e.stops[t] != nil {
			continue
		}
		ctx, stop := context.WithCancel(s.lane.Context())
		e.stops[t] = stop
		s.lane.Go("events of a script", func(run context.Context) { s.watch(ctx, run, p, t, e) })
	}
}

// watch has a script handle the events of a topic until ctx ends; run is the
// context of what it has begun then.
func (s *Scheduler) watch(ctx, run context.Context, p, topic string, e *ears) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last message.Code
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.p.host.Watch(ctx, Origin{p, session.Anonymous(), 0}, topic, func(ev Event) {
			if last = ""; ctx.Err() == nil && s.mine() {
				s.handle(run, p, e, &ev)
			}
		})
		if code := message.CodeOf(err); ctx.Err() == nil && code != last {
			last = code
			s.p.log.Warn("a script gets no events for now", "path", p, "topic", topic, "err", err)
		}
		timer.Reset(rewatch)
	}
}

// handle runs a script with an event, and waits until it has run.
func (s *Scheduler) handle(ctx context.Context, p string, e *ears, ev *Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	begun := time.Now()
	input, err := ev.json()
	if err == nil {
		_, err = s.p.run(ctx, s.p.programs.get(p), &order{path: p, export: engine.ExportEvent, input: input, session: session.Anonymous()})
	}
	if ctx.Err() != nil {
		return
	}
	switch now := time.Now(); {
	case err == nil:
		s.p.changed(p)
	case now.Sub(e.logged) < logEvery:
		e.quiet++
	default:
		s.p.log.Error("a script failed with an event", "path", p, "topic", ev.Address, "err", err, "unlogged", e.quiet)
		e.logged, e.quiet = now, 0
	}
	s.ran(p, engine.ExportEvent, time.Since(begun), err)
}

// close ends all watches.
func (e *ears) close() {
	for _, stop := range e.stops {
		stop()
	}
}
