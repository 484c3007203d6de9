package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/audit"
)

// auditCmd reads audit logs.
type auditCmd struct {
	Show auditShowCmd `cmd:"" help:"Print the events of an audit log."`
	Tail auditTailCmd `cmd:"" help:"Print the last events, and new ones as they come."`
}

// auditFilter chooses events.
type auditFilter struct {
	File    string `arg:"" help:"The file, as audit.file in the configuration names it."`
	Kind    string `placeholder:"KIND" help:"Only events of this kind: access, login, logout, session, permissions, middleware, config, node."`
	Outcome string `placeholder:"WORD" help:"Only events with this outcome: done, refused, failed."`
	Who     string `placeholder:"WORD" help:"Only events of this subject, session, client or address."`
}

func (f *auditFilter) fits(e *audit.Event) bool {
	return (f.Kind == "" || string(e.Kind) == f.Kind) && (f.Outcome == "" || string(e.Outcome) == f.Outcome) &&
		(f.Who == "" || f.Who == e.Who.Subject || f.Who == e.Who.Session || f.Who == e.Who.Client || f.Who == e.Who.IP)
}

func (f *auditFilter) open() (*os.File, error) {
	file, err := os.Open(f.File)
	if err != nil {
		return nil, usage("the audit log cannot be read: "+err.Error(), "Name the file of audit.file; only who runs the node may read it.")
	}
	return file, nil
}

type auditShowCmd struct {
	auditFilter
	Since time.Duration `placeholder:"TIME" help:"Only events of so long ago and less, such as 24h."`
}

// Run prints.
func (c *auditShowCmd) Run(w *world) error {
	file, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for e, err := range audit.Read(file) {
		if err != nil {
			w.warnf("%v", err)
			continue
		}
		if c.fits(&e) && (c.Since <= 0 || time.Since(e.Time) <= c.Since) {
			if err := w.event(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

type auditTailCmd struct {
	auditFilter
	Last int64 `default:"4096" placeholder:"BYTES" help:"Begin so many bytes before the end. Default: ${default}."`
}

// tailEach is how often a file is looked at.
const tailEach = 250 * time.Millisecond

// Run prints until ctx ends.
func (c *auditTailCmd) Run(ctx context.Context, w *world) error {
	file, err := c.open()
	if err != nil {
		return err
	}
	t := &tail{file: file}
	defer func() { _ = t.file.Close() }()
	if err := t.skip(c.Last); err != nil {
		return err
	}
	ticker := time.NewTicker(tailEach)
	defer ticker.Stop()
	for {
		moved := t.moved(c.File) // before the last of it is read
		if err := t.lines(func(line []byte) error { return c.line(w, line) }); err != nil {
			return err
		}
		if moved {
			t.follow(c.File)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (c *auditTailCmd) line(w *world, line []byte) error {
	e, err := audit.Parse(line)
	if err != nil {
		w.warnf("%v", err)
		return nil
	}
	if !c.fits(&e) {
		return nil
	}
	return w.event(&e)
}

// tail reads the lines that are added to a file.
type tail struct {
	file *os.File
	rest []byte // of a line that is not whole yet
}

// skip goes to the first line within the last bytes.
func (t *tail) skip(last int64) error {
	size, err := t.file.Seek(0, io.SeekEnd)
	if err != nil || size <= last {
		_, back := t.file.Seek(0, io.SeekStart)
		return errors.Join(err, back)
	}
	if _, err := t.file.Seek(size-max(last, 0)-1, io.SeekStart); err != nil {
		return err
	}
	first := true
	err = t.lines(func([]byte) error {
		if first {
			first = false
			return errSkipped
		}
		return nil
	})
	if errors.Is(err, errSkipped) {
		return nil
	}
	return err
}

// errSkipped ends the reading after the first line, and leaves the rest to come.
var errSkipped = errors.New("skipped")

// lines calls f for each line that is whole.
func (t *tail) lines(f func([]byte) error) error {
	text, err := io.ReadAll(t.file)
	if err != nil {
		return err
	}
	t.rest = append(t.rest, text...)
	for {
		i := bytes.IndexByte(t.rest, '\n')
		if i < 0 {
			return nil
		}
		line := t.rest[:i]
		t.rest = t.rest[i+1:]
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := f(line); err != nil {
			return err
		}
	}
}

// moved tells whether another file has taken the place of the one that is read.
func (t *tail) moved(path string) bool {
	now, err := os.Stat(path)
	if err != nil {
		return false
	}
	was, err := t.file.Stat()
	return err == nil && !os.SameFile(now, was)
}

// follow goes on with the file that is there now.
func (t *tail) follow(path string) {
	next, err := os.Open(path)
	if err != nil {
		return
	}
	_ = t.file.Close()
	t.file, t.rest = next, nil
}

// event prints an event.
func (w *world) event(e *audit.Event) error {
	if w.json {
		return unwritable(w.line(e))
	}
	color := green
	if e.Outcome != audit.Done {
		color = red
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-11s %s", e.Time.Local().Format(time.DateTime), e.Kind, w.paint(color, fmt.Sprintf("%-7s", e.Outcome)))
	for _, part := range []struct{ word, value string }{
		{"", e.Verb}, {"", e.Address}, {"by ", e.Who.Subject}, {"session ", e.Who.Session}, {"from ", e.Who.IP},
		{"rule ", e.Rule}, {"", string(e.Code)}, {"on ", e.Node}, {"– ", e.Detail},
	} {
		if part.value != "" {
			b.WriteString(" " + part.word + printable(part.value))
		}
	}
	if e.Count > 0 {
		fmt.Fprintf(&b, " (%d times since %s)", e.Count, e.Since.Local().Format(time.TimeOnly))
	}
	return unwritable(w.printf("%s\n", b.String()))
}
