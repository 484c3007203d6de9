package ropewalk

import (
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	n, err := New(Config{Logger: slog.New(slog.DiscardHandler), Listeners: map[string]Listener{
		"a": {Address: "127.0.0.1:0"},
		"b": {Address: "127.0.0.1:0", Advertise: "wss://b.example.com"},
		"c": {Address: "127.0.0.1:0", Advertise: "none"},
		"d": {Address: ":0"},
		"e": {Address: "localhost:0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if got := n.urls(); got != nil {
		t.Errorf("before the start: %q", got)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	port := func(name string) string {
		_, p, _ := strings.Cut(n.Addrs()[name].String(), ":")
		return p
	}
	want := []string{"wss://b.example.com", "ws://127.0.0.1:" + port("a"), "ws://localhost:" + port("e")}
	if got := n.urls(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMadeURL(t *testing.T) {
	t.Parallel()
	bound := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 81}
	for _, tt := range []struct {
		l    Listener
		want string
	}{
		{Listener{Address: "10.0.0.1:0"}, "ws://10.0.0.1:81"},
		{Listener{Address: "a.example.com:443", CertFile: "x"}, "wss://a.example.com:81"},
		{Listener{Address: "[2001:db8::1]:0"}, "ws://[2001:db8::1]:81"},
		{Listener{Address: "0.0.0.0:0"}, ""},
		{Listener{Address: "[::]:0"}, ""},
		{Listener{Address: "[fe80::1%eth0]:0"}, ""}, // means nothing on another machine
		{Listener{Address: "nonsense"}, ""},
	} {
		if got := tt.l.madeURL(bound); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.l.Address, got, tt.want)
		}
	}
}

func TestAdvertiseIsChecked(t *testing.T) {
	t.Parallel()
	for url, bad := range map[string]bool{
		"": false, "none": false, "ws://a": false, "wss://a.example.com/rope": false,
		"a": true, "http://a": true, "ws://": true, "ws://me:secret@a": true, "ws://a/#x": true, "://": true,
	} {
		n, err := New(Config{Logger: slog.New(slog.DiscardHandler), Listeners: map[string]Listener{"main": {Address: "127.0.0.1:0", Advertise: url}}})
		if err != nil {
			t.Fatal(err)
		}
		err = n.Start(t.Context())
		if (err != nil) != bad || bad && (!strings.Contains(err.Error(), "listeners.main.advertise: ") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %v", url, err)
		}
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
