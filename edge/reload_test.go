package edge_test

import (
	"net/http"
	"testing"

	"github.com/ropewalk/ropewalk/edge"
)

// answer is the status of an attempt to connect.
func (n *node) answer(t *testing.T, extra ...string) int {
	t.Helper()
	c := n.tcp(t)
	defer func() { _ = c.Close() }()
	c.write(t, []byte(hello(extra...)))
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func TestOriginsCanChange(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		const origin = "Origin: https://new.example\r\n"
		if got := n.answer(t, origin); got != http.StatusForbidden {
			t.Errorf("before: %d", got)
		}
		name := "main"
		if !n.SetOrigins(name, []string{"https://new.example"}) || n.SetOrigins("nobody", nil) {
			t.Error("the listener was not found")
		}
		if got := n.answer(t, origin); got != http.StatusSwitchingProtocols {
			t.Errorf("after: %d", got)
		}
		n.SetOrigins(name, nil)
		if got := n.answer(t, origin); got != http.StatusForbidden {
			t.Errorf("afterwards: %d", got)
		}
	})
}

func TestConnectionsCanChange(t *testing.T) {
	t.Parallel()
	n := start(t, edge.Config{Limits: edge.Limits{Connections: 1, PerIP: 5}}, newRecorder())
	n.ws(t)
	if got := n.answer(t); got != http.StatusServiceUnavailable {
		t.Errorf("before: %d", got)
	}
	n.SetConnections(10, 2)
	n.ws(t)
	if got := n.answer(t); got != http.StatusTooManyRequests {
		t.Errorf("after: %d", got)
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, newRecorder())
		use, err := n.ReadCertificates()
		if err != nil {
			t.Fatal(err)
		}
		use()
		n.ws(t)
	}
}
