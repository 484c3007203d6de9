package ropewalk

import "testing"

func TestOwnPage(t *testing.T) {
	t.Parallel()
	named := []string{"https://app.example", "http://old.example", "*"}
	for _, c := range []struct {
		origin, host string
		tls, own     bool
	}{
		{"https://shop.example", "shop.example", true, true},
		{"https://shop.example:8443", "shop.example:8443", true, true},
		{"HTTPS://Shop.example", "shop.example", true, true},
		{"http://shop.example", "shop.example", false, true}, // perhaps a proxy has TLS
		{"http://shop.example", "shop.example", true, false},
		{"ftp://shop.example", "shop.example", true, false},
		{"https://app.example", "shop.example", true, true},
		{"http://app.example", "shop.example", true, false},
		{"http://old.example", "shop.example", true, true}, // somebody wants it so
		{"https://evil.example", "shop.example", false, false},
		{"https://shop.example.evil.example", "shop.example", false, false},
		{"https://shop.example@evil.example", "shop.example", false, false},
		{"*", "shop.example", false, false},
		{"null", "shop.example", false, false},
		{"", "shop.example", false, false},
		{"https://", "", false, false},
	} {
		if own := ownPage(c.origin, c.host, named, c.tls); own != c.own {
			t.Errorf("%q at %q, with TLS %t: %t", c.origin, c.host, c.tls, own)
		}
	}
}
