package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/internal/race"
)

// echoer is the cheapest Handler there can be.
type echoer struct{}

func (echoer) Open(*edge.Conn)          {}
func (echoer) Closed(*edge.Conn, error) {}
func (echoer) Frame(c *edge.Conn, frame []byte) {
	f := edge.NewFrame()
	f.Payload = append(f.Payload, frame...)
	_ = c.Send(f)
	f.Release()
}

// serveEcho runs an echo server; the driver decides how.
func serveEcho(tb testing.TB, d edge.Driver) (addr string) {
	tb.Helper()
	s, err := edge.New(edge.Config{
		Listeners: []edge.ListenerConfig{{Addr: "127.0.0.1:0", Driver: d}},
		Logger:    quiet(),
	}, echoer{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Listen(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(tb.Context()) }()
	tb.Cleanup(func() { <-served })
	return s.Addrs()[0].String()
}

func dialEcho(tb testing.TB, addr string) net.Conn {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, hello()); err != nil {
		tb.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		tb.Fatal(res, err)
	}
	return c
}

// roundTrip returns a function that echoes n frames of size bytes in one go.
func roundTrip(tb testing.TB, c net.Conn, n, size int) func() {
	tb.Helper()
	var out []byte
	for range n {
		out = append(out, mask(fin|bin, make([]byte, size))...)
	}
	in := make([]byte, len(out)-4*n) // unmasked
	return func() {
		if _, err := c.Write(out); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(c, in); err != nil {
			tb.Fatal(err)
		}
	}
}

//nolint:paralleltest // it counts the allocations of the process
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	for _, test := range []struct {
		name   string
		driver edge.Driver
		frames int
		size   int
		most   float64 // in one round
	}{
		{"poller, small frames", edge.DriverPoller, 64, 128, 0},
		{"poller, frames larger than the buffer", edge.DriverPoller, 8, 100_000, 0},
		{"goroutine, small frames", edge.DriverGoroutine, 64, 128, 16}, // the goroutine that writes
	} {
		t.Run(test.name, func(t *testing.T) {
			once := roundTrip(t, dialEcho(t, serveEcho(t, test.driver)), test.frames, test.size)
			for range 100 {
				once() // fill the pools
			}
			if n := testing.AllocsPerRun(200, once); n > test.most {
				t.Errorf("%v allocations for %d frames, want at most %v", n, test.frames, test.most)
			}
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, d := range []edge.Driver{edge.DriverPoller, edge.DriverGoroutine} {
		for _, size := range []int{128, 2048} {
			for _, n := range []int{1, 16} {
				b.Run(fmt.Sprintf("%v/%dB/%d", d, size, n), func(b *testing.B) {
					once := roundTrip(b, dialEcho(b, serveEcho(b, d)), n, size)
					b.ReportAllocs()
					for b.Loop() {
						once()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/frame")
				})
			}
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	for _, d := range []edge.Driver{edge.DriverPoller, edge.DriverGoroutine} {
		b.Run(d.String(), func(b *testing.B) {
			addr := serveEcho(b, d)
			request, answer := []byte(hello()), make([]byte, 512)
			for b.Loop() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if n, err := c.Read(answer); err != nil || n < 100 {
					b.Fatal(n, err)
				}
				_ = c.Close()
			}
		})
	}
}
