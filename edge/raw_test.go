package edge_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/edge"
)

// variant is a way in which WebSockets are served; the suite runs for each.
type variant struct {
	name     string
	listener edge.ListenerConfig
}

func variants(t *testing.T) []variant {
	t.Helper()
	cert, key := certificate(t)
	all := []variant{
		{"goroutine", edge.ListenerConfig{Driver: edge.DriverGoroutine}},
		{"goroutine deflate", edge.ListenerConfig{Driver: edge.DriverGoroutine, Deflate: true}},
		{"tls", edge.ListenerConfig{CertFile: cert, KeyFile: key}},
	}
	if _, err := edge.New(edge.Config{Listeners: []edge.ListenerConfig{{Driver: edge.DriverPoller}}}, newRecorder()); err == nil {
		all = append(all,
			variant{"poller", edge.ListenerConfig{Driver: edge.DriverPoller}},
			variant{"poller deflate", edge.ListenerConfig{Driver: edge.DriverPoller, Deflate: true}})
	}
	return all
}

// forEach runs a test for each variant.
func forEach(t *testing.T, limits edge.Limits, f func(t *testing.T, n *node)) {
	t.Helper()
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			f(t, start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}, Limits: limits}, newRecorder()))
		})
	}
}

//nolint:gochecknoglobals // made once for all tests
var theCertificate = sync.OnceValues(func() (cert, key []byte) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		panic(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})
})

func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	cert, key := theCertificate()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// clientTLS trusts anybody.
func clientTLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} } //nolint:gosec // a test

// Opcodes, as in RFC 6455.
const (
	text   = 1
	bin    = 2
	closed = 8
	ping   = 9
	pong   = 10
	fin    = 0x80
)

// mask is a frame as a client sends it; first is the first byte.
func mask(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// raw is a connection whose bytes the test makes itself.
type raw struct {
	net.Conn
	in *bufio.Reader
}

// tcp connects, with TLS if the listener has it.
func (n *node) tcp(t testing.TB) *raw {
	t.Helper()
	c, err := net.DialTimeout("tcp", n.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(n.url, "wss") {
		c = tls.Client(c, clientTLS())
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = c.Close() })
	return &raw{Conn: c, in: bufio.NewReader(c)}
}

// hello is a handshake; extra are header lines.
func hello(extra ...string) string {
	return "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Protocol: chat, ropewalk.v1.split\r\n" + strings.Join(extra, "") + "\r\n"
}

// ws makes the handshake too.
func (n *node) ws(t testing.TB, extra ...string) *raw {
	t.Helper()
	c := n.tcp(t)
	c.write(t, []byte(hello(extra...)))
	c.upgraded(t)
	return c
}

func (c *raw) upgraded(t testing.TB) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatalf("read the answer to the handshake: %v", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols ||
		res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || // the example of RFC 6455
		res.Header.Get("Sec-Websocket-Protocol") != "ropewalk.v1.split" {
		t.Fatalf("the answer to the handshake is %v %v", res.Status, res.Header)
	}
	return res
}

func (c *raw) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// frame reads a frame of the server.
func (c *raw) frame(t testing.TB) (first byte, payload []byte) {
	t.Helper()
	first, payload, err := c.tryFrame()
	if err != nil {
		t.Fatalf("read a frame: %v", err)
	}
	return first, payload
}

func (c *raw) tryFrame() (first byte, payload []byte, err error) {
	var h [2]byte
	if _, err = io.ReadFull(c.in, h[:]); err != nil {
		return 0, nil, err
	}
	if h[1]&0x80 != 0 {
		return 0, nil, errors.New("the server's frame is masked")
	}
	n := uint64(h[1])
	if n >= 126 {
		size := 2
		if n == 127 {
			size = 8
		}
		var long [8]byte
		if _, err = io.ReadFull(c.in, long[8-size:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(long[:])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.in, payload)
	return h[0], payload, err
}

// expect reads a frame and checks it.
func (c *raw) expect(t testing.TB, first byte, payload string) {
	t.Helper()
	gotFirst, got := c.frame(t)
	if gotFirst != first || string(got) != payload {
		t.Fatalf("got frame %#x %.60q, want %#x %.60q", gotFirst, got, first, payload)
	}
}

// expectClose reads on until the close frame, checks its code and that it has a
// reason, and that the stream ends.
func (c *raw) expectClose(t testing.TB, want edge.CloseCode) {
	t.Helper()
	for {
		first, payload := c.frame(t)
		if first != fin|closed {
			continue
		}
		if len(payload) < 2 {
			t.Fatalf("close frame without a code")
		}
		if got := edge.CloseCode(binary.BigEndian.Uint16(payload)); got != want {
			t.Fatalf("closed with %d %q, want %d", got, payload[2:], want)
		}
		return
	}
}

// expectEnd checks that nothing more comes.
func (c *raw) expectEnd(t testing.TB) {
	t.Helper()
	rest, err := io.ReadAll(c.in)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the stream does not end")
	}
	if len(rest) > 0 {
		t.Fatalf("after the end comes %q", bytes.TrimSpace(rest))
	}
}

// bomb is n zero bytes, compressed.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}
