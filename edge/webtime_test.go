package edge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/edge"
)

// A request that announces a body and never sends it must not keep its
// connection for ever, whoever answers it and whether the body is read or not.
func TestBodyThatNeverComes(t *testing.T) {
	for name, head := range map[string]string{
		"open":        "POST /ropewalk/v1/open?framing=json HTTP/1.1\r\n",
		"no token":    "POST /ropewalk/v1/send HTTP/1.1\r\n",
		"wrong token": "POST /ropewalk/v1/poll HTTP/1.1\r\nRopewalk-Connection: a.b.c\r\n",
		"method":      "PUT /ropewalk/v1/poll HTTP/1.1\r\n",
		"unknown":     "POST /ropewalk/v1/nothing HTTP/1.1\r\n",
		"other":       "POST /page HTTP/1.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			forEach(t, edge.Limits{Unread: 100 * time.Millisecond}, func(t *testing.T, n *node) {
				t.Helper()
				c := n.tcp(t)
				c.write(t, []byte(head+"Host: x\r\nContent-Length: 10\r\n\r\n"))
				if _, err := io.Copy(io.Discard, c.in); err != nil {
					t.Fatalf("the connection lives on: %v", err)
				}
			})
		})
	}
}

// Who asks and asks and never reads the answers does not keep a connection.
func TestAnswersThatAreNotRead(t *testing.T) {
	t.Parallel()
	n := start(t, edge.Config{
		Listeners: []edge.ListenerConfig{{}},
		Limits:    edge.Limits{Unread: 100 * time.Millisecond},
	}, newRecorder())
	c := n.tcp(t)
	_ = c.SetDeadline(time.Now().Add(3 * patience)) // much fits into the buffers of the sockets
	ask := bytes.Repeat([]byte("PUT /ropewalk/v1/poll HTTP/1.1\r\nHost: x\r\n\r\n"), 1000)
	for {
		_, err := c.Write(ask)
		if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
			t.Fatal("the connection lives on")
		}
		if err != nil {
			return
		}
	}
}

// A connection that has not made its handshake has nothing to wait for when
// the node stops, and understands no close frame.
func TestShutdownBeforeTheHandshake(t *testing.T) {
	forEach(t, edge.Limits{Close: time.Hour}, func(t *testing.T, n *node) {
		t.Helper()
		silent, halfway := n.tcp(t), n.tcp(t)
		halfway.write(t, []byte(hello()[:40]))
		third := n.ws(t) // so both were accepted
		_ = third.Close()
		n.rec.waitClosed(t, edge.CloseAbnormal)
		ctx, cancel := context.WithTimeout(t.Context(), patience/2)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- n.Shutdown(ctx) }()
		for _, c := range []*raw{silent, halfway} {
			if b, _ := io.ReadAll(c.in); len(b) > 0 {
				t.Errorf("it got %q", b)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}
