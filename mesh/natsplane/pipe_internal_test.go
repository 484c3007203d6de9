package natsplane

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// scripted is the other end of a pipe: a server that greets, and then gives its
// end of the connection to the test.
func scripted(dials chan<- net.Conn) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.WriteString(theirs, "INFO {}\r\n")
			var got strings.Builder
			buf := make([]byte, 4096)
			for !strings.Contains(got.String(), "PING\r\n") {
				n, err := theirs.Read(buf)
				if err != nil {
					return
				}
				got.Write(buf[:n])
			}
			_, _ = io.WriteString(theirs, "+OK\r\nPONG\r\n")
			dials <- theirs
		}()
		return ours, nil
	}
}

func TestPipeComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials, states, heard := make(chan net.Conn, 1), make(chan bool, 8), make(chan string, 8)
		p := &pipe{
			dial: scripted(dials), subjects: [2]string{"a", "all"}, log: slog.New(slog.DiscardHandler),
			hear: func(b []byte) { heard <- string(b) }, state: func(yes bool) { states <- yes },
		}
		if err := openPipe(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		server := <-dials
		_, _ = io.WriteString(server, "MSG a 1 3\r\none\r\n-ERR 'Slow Consumer'\r\n")
		if got := <-heard; got != "one" {
			t.Errorf("heard %q", got)
		}
		server.Close()
		if <-states {
			t.Error("a lost connection counts as one")
		}
		if err := p.publish("b", []byte("x")); !errors.Is(err, errLost) {
			t.Errorf("error %v, want that the connection is lost", err)
		}
		server = <-dials
		if !<-states {
			t.Error("a new connection counts as none")
		}
		_, _ = io.WriteString(server, "MSG a 1 3\r\ntwo\r\n")
		if got := <-heard; got != "two" {
			t.Errorf("heard %q", got)
		}
		server.Close()
		synctest.Wait() // in the middle of the next try
		p.close()
	})
}

func TestPipeAnswersPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials := make(chan net.Conn, 1)
		p := &pipe{dial: scripted(dials), log: slog.New(slog.DiscardHandler), hear: func([]byte) {}, state: func(bool) {}}
		if err := openPipe(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		server := <-dials
		go func() { _, _ = io.WriteString(server, "PING\r\n") }()
		buf := make([]byte, 6)
		if _, err := io.ReadFull(server, buf); err != nil || string(buf) != "PONG\r\n" {
			t.Errorf("%q, %v", buf, err)
		}
		stuck := make(chan error)
		go func() { stuck <- p.publish("b", make([]byte, 100_000)) }()
		synctest.Wait() // nobody reads it
		server.Close()
		if err := <-stuck; err == nil {
			t.Error("no error of half a message")
		}
		p.close()
	})
}

func TestPipeEndsAWriteThatIsStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials := make(chan net.Conn, 1)
		p := &pipe{dial: scripted(dials), log: slog.New(slog.DiscardHandler), hear: func([]byte) {}, state: func(bool) {}}
		if err := openPipe(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		defer (<-dials).Close()
		stuck := make(chan error, 1)
		go func() { stuck <- p.publish("b", []byte("x")) }()
		synctest.Wait()
		p.lane.Close()
		if err := <-stuck; err == nil {
			t.Error("no error of a message that nobody took")
		}
	})
}

func TestPipeGivesUpGreeting(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"silence": "", "an error": "-ERR 'no'\r\n", "another protocol": "HTTP/1.1 400\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				go func() { _, _ = io.WriteString(theirs, first) }()
				ctx, cancel := context.WithCancel(t.Context())
				p := &pipe{dial: func() (net.Conn, error) { return ours, nil }, log: slog.New(slog.DiscardHandler)}
				done := make(chan error, 1)
				go func() { done <- openPipe(ctx, p) }()
				synctest.Wait()
				cancel()
				if err := <-done; err == nil {
					t.Error("no error")
				}
			})
		})
	}
	t.Run("no connection", func(t *testing.T) {
		t.Parallel()
		p := &pipe{dial: func() (net.Conn, error) { return nil, io.ErrClosedPipe }}
		if err := openPipe(t.Context(), p); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v", err)
		}
	})
}
