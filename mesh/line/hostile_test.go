package line_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

// TestStrangers say what they like to a node, and are closed without anything of
// it reaching the mesh.
func TestStrangers(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	a, b := start(t, net, "a"), start(t, net, "b")
	eventually(t, "they meet", func() bool { return a.direct() && b.direct() })
	hello := func(version byte, from, to string) string {
		var nonce [32]byte
		_, _ = rand.Read(nonce[:])
		return "h" + string(version) + from + to + string(nonce[:])
	}
	me, to := strings.Repeat("\xcc", 16), strings.Repeat("\xaa", 16)
	for name, test := range map[string]struct {
		say  []string
		want string
	}{
		"nothing":           {[]string{""}, "close 1002"},
		"a packet":          {[]string{"\x02" + strings.Repeat("\xbb", 16) + strings.Repeat("\x01", 40)}, "close 1002"},
		"no greeting":       {[]string{"GET / HTTP/1.1\r\n\r\n"}, "close 1002"},
		"too long":          {[]string{hello(1, me, to) + "x"}, "close 1002"},
		"too short":         {[]string{"h\x01"}, "close 1002"},
		"another version":   {[]string{hello(2, me, to)}, "close 1002"},
		"another node":      {[]string{hello(1, me, strings.Repeat("\xdd", 16))}, "close 4102"},
		"itself":            {[]string{hello(1, to, to)}, "close 4102"},
		"no proof":          {[]string{hello(1, me, to), "p"}, "close 1002"},
		"a wrong proof":     {[]string{hello(1, me, to), "p" + strings.Repeat("x", 32)}, "close 4101"},
		"a second hello":    {[]string{hello(1, me, to), hello(1, me, to)}, "close 1002"},
		"much":              {[]string{strings.Repeat("x", 100_000)}, "close 1002"},
		"more than allowed": {[]string{strings.Repeat("x", mesh.MaxMessage+1)}, "close 1009"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, res := knock(t, a.addr())
			if res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(res.Status)
			}
			for i, m := range test.say {
				c.say(t, []byte(m))
				if i < len(test.say)-1 {
					if got := c.hear(t); len(got) != 33 || got[0] != 'c' {
						t.Fatalf("the challenge is %q", got)
					}
				}
			}
			if got := c.hear(t); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestPages wants web pages to have no way to a line, and frames of clients not
// to be taken.
func TestPages(t *testing.T) {
	t.Parallel()
	a := start(t, nil, "a")
	if _, res := knock(t, a.addr(), "Origin: http://"+a.addr()); res.StatusCode != http.StatusForbidden {
		t.Errorf("a page got %s", res.Status)
	}
	c, _ := knock(t, a.addr())
	if _, err := c.Write([]byte{0x82, 0x81, 0, 0, 0, 0, 'h'}); err != nil {
		t.Fatal(err)
	}
	if got := c.hear(t); got != "close 1002" {
		t.Errorf("a masked frame got %q", got)
	}
}

// TestReplay says again what a node has said, to both sides.
func TestReplay(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	said := make(map[bool][]byte)
	a, b := pair(t, func(s *spot) { s.proxied = true })
	record := func(fromDialer bool, p []byte) {
		mu.Lock()
		defer mu.Unlock()
		said[fromDialer] = append(said[fromDialer], p...)
	}
	for _, s := range []*spot{a, b} {
		s.proxy.mu.Lock()
		s.proxy.tap = record
		s.proxy.mu.Unlock()
		s.proxy.cut()
	}
	eventually(t, "a line is gone", func() bool {
		return a.logs.count("direct line to a node is lost")+b.logs.count("direct line to a node is lost") == 2
	})
	eventually(t, "a line again", func() bool { return a.direct() && b.direct() })
	mu.Lock()
	defer mu.Unlock()
	// The smaller id has dialed: its bytes, after the head of its request.
	_, frames, ok := bytes.Cut(slices.Clone(said[true]), []byte("\r\n\r\n"))
	if !ok || len(frames) < 2+66+2+33 || frames[1] != 66 {
		t.Fatalf("recorded %q", said[true])
	}
	hello, proof := frames[2:2+66], frames[2+66+2:2+66+2+33]
	c, _ := knock(t, b.addr())
	c.say(t, hello)
	if got := c.hear(t); len(got) != 33 {
		t.Fatalf("the challenge is %q", got)
	}
	c.say(t, proof)
	if got := c.hear(t); got != "close 4101" {
		t.Errorf("a proof that was recorded got %q", got)
	}
	// The other way round: the answers of the accepter prove nothing to a dialer.
	_, answers, _ := bytes.Cut(said[false], []byte("\r\n\r\n"))
	c, _ = knock(t, b.addr())
	c.say(t, hello)
	_ = c.hear(t)
	c.say(t, answers[2+33+2:2+33+2+33])
	if got := c.hear(t); got != "close 4101" {
		t.Errorf("the proof of the other side got %q", got)
	}
}

// TestGarbageOnALine breaks the line at most.
func TestGarbageOnALine(t *testing.T) {
	t.Parallel()
	a, b := pair(t, func(s *spot) { s.proxied = true })
	for i := range 20 {
		junk := make([]byte, 1+i*37)
		_, _ = rand.Read(junk)
		if i%2 == 0 {
			junk = frame(junk)
		}
		for _, s := range []*spot{a, b} {
			s.proxy.inject(junk)
		}
	}
	a.send(t, "x")
	b.send(t, "y")
	eventually(t, "messages", func() bool { return a.received() == 1 && b.received() == 1 })
	if a.got[0] != "y" || b.got[0] != "x" {
		t.Errorf("received %v, %v", a.got, b.got)
	}
	eventually(t, "a line", func() bool { return a.direct() && b.direct() })
	if a.logs.count("panic")+b.logs.count("panic") > 0 || a.left+b.left > 0 {
		t.Errorf("panics, or lost: %d, %d\n%s", a.left, b.left, fmt.Sprint(a.logs.b.String()))
	}
}

// TestKeyIsNotEnough has somebody who knows the key, as everybody does where the
// mesh has no secret, and the ids of two nodes, which they tell their clients,
// come through a proxy on this machine.
func TestKeyIsNotEnough(t *testing.T) {
	t.Parallel()
	net := ropewalktest.NewNetwork(1)
	a, b := start(t, net, "a"), start(t, net, "b")
	eventually(t, "they meet", func() bool { return a.direct() && b.direct() })
	to, _ := hex.DecodeString(a.id)
	me, _ := hex.DecodeString(b.id)
	dialed := strings.Repeat("n", 32)
	c, _ := knock(t, a.addr())
	c.say(t, []byte("h\x01"+string(me)+string(to)+dialed))
	challenge := c.hear(t)
	if len(challenge) != 33 {
		t.Fatalf("the challenge is %q", challenge)
	}
	for _, word := range []string{"", "\n"} {
		h := hmac.New(sha256.New, []byte(goodKey))
		h.Write([]byte("ropewalk line v1 dial\n" + word + string(me) + string(to) + dialed + challenge[1:]))
		c.say(t, h.Sum([]byte("p")))
	}
	if got := c.hear(t); got != "close 4101" {
		t.Errorf("a proof without the word got %q", got)
	}
	for _, n := range a.mesh.Nodes() {
		if n.LineWord != "" {
			t.Errorf("the word of %s is told to people", n.Name)
		}
	}
}
