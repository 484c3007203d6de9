package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// writer puts events where they belong. One goroutine uses it.
type writer struct {
	log  *slog.Logger
	tell bool  // the log gets the events as well
	file *file // nil: none
	lost prometheus.Counter
	// unsure are events in the buffer: whether they are in the file is known
	// after the next flush.
	unsure int
	warned time.Time
}

// warnEach is how often the log says that events are lost.
const warnEach = time.Minute

func (w *writer) write(e *Event) {
	if w.tell {
		w.log.LogAttrs(context.Background(), slog.LevelInfo, "audit", e.attrs()...)
	}
	if w.file == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		w.unsure++
		err = w.file.write(append(line, '\n'))
	}
	if err != nil {
		w.failed(err)
	}
}

func (w *writer) flush() {
	if w.file == nil {
		return
	}
	if err := w.file.flush(); err != nil {
		w.failed(err)
		return
	}
	w.unsure = 0
}

// look finds that somebody else has renamed or removed the file.
func (w *writer) look() {
	if w.file == nil {
		return
	}
	if err := w.file.look(); err != nil {
		w.failed(err)
	}
}

func (w *writer) close() {
	w.flush()
	if w.file == nil {
		return
	}
	if err := w.file.close(); err != nil {
		w.failed(err)
	}
}

// failed counts what is lost, and says so now and then.
func (w *writer) failed(err error) {
	w.lost.Add(float64(w.unsure))
	w.unsure = 0
	if now := time.Now(); w.warned.IsZero() || now.Sub(w.warned) >= warnEach {
		w.warned = now
		w.log.LogAttrs(context.Background(), slog.LevelError, "events are missing in the audit log: make room on the disk, or look after its file",
			slog.String("err", err.Error()))
	}
}

// file is a file that is rotated by size.
type file struct {
	path string
	most int64 // bytes
	keep int

	f    *os.File
	info fs.FileInfo // of f, to see whether it is still the one at path
	buf  *bufio.Writer
	size int64
	torn bool // the last line may not have an end
}

const (
	fileMode = 0o600 // the log tells who was there
	bufSize  = 64 << 10
)

func openFile(path string, most int64, keep int) (*file, error) {
	f := &file{path: path, most: most, keep: keep, buf: bufio.NewWriterSize(nil, bufSize)}
	return f, f.open()
}

func (f *file) open() error {
	if i, err := os.Stat(f.path); err == nil && !i.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", f.path)
	}
	o, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	info, err := o.Stat()
	if err == nil && info.Mode().Perm()&^fileMode != 0 {
		err = o.Chmod(fileMode) // somebody made it before
	}
	if err != nil {
		return errors.Join(err, o.Close())
	}
	f.f, f.info, f.size, f.torn = o, info, info.Size(), false
	if f.size > 0 {
		var last [1]byte
		_, err := o.ReadAt(last[:], f.size-1)
		f.torn = err != nil || last[0] != '\n' // the node was killed while it wrote
	}
	f.buf.Reset(o)
	return nil
}

// write adds a line, to the next file if this one is full.
func (f *file) write(line []byte) error {
	if f.f == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.size > 0 && f.size+int64(len(line)) > f.most {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.torn {
		f.torn = false
		line = append([]byte{'\n'}, line...)
	}
	f.size += int64(len(line))
	if _, err := f.buf.Write(line); err != nil {
		return f.broke(err)
	}
	return nil
}

func (f *file) flush() error {
	if f.f == nil {
		return nil
	}
	if err := f.buf.Flush(); err != nil {
		return f.broke(err)
	}
	return nil
}

// broke gives up what is in the buffer, so that later lines are written when
// there is room again.
func (f *file) broke(err error) error {
	f.buf.Reset(f.f)
	f.torn = true
	if i, statErr := f.f.Stat(); statErr == nil {
		f.size = i.Size()
	}
	return err
}

// rotate renames the files, each to the next number, and begins a new one.
func (f *file) rotate() error {
	if err := f.close(); err != nil {
		return err
	}
	for i := f.keep; i > 0; i-- {
		if err := os.Rename(f.numbered(i-1), f.numbered(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.open()
}

// numbered is the name of the file that was renamed so many times.
func (f *file) numbered(i int) string {
	if i == 0 {
		return f.path
	}
	return f.path + "." + strconv.Itoa(i)
}

// look opens the path again if what is there is no more what is written.
func (f *file) look() error {
	if f.f == nil {
		return f.open()
	}
	if now, err := os.Stat(f.path); err == nil && os.SameFile(now, f.info) {
		return nil
	}
	if err := f.close(); err != nil {
		return err
	}
	return f.open()
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.flush(), f.f.Sync(), f.f.Close())
	f.f = nil
	return err
}
