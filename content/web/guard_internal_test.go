package web

import (
	"net/netip"
	"testing"
)

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string][2]bool{ // public, private
		"8.8.8.8":                {true, true},
		"2606:4700:4700::1111":   {true, true},
		"127.0.0.1":              {false, true},
		"10.1.2.3":               {false, true},
		"172.31.255.255":         {false, true},
		"172.32.0.0":             {true, true},
		"192.168.0.1":            {false, true},
		"100.64.0.1":             {false, true},
		"100.128.0.0":            {true, true},
		"169.254.169.254":        {false, true},
		"192.0.0.8":              {false, true},
		"198.19.0.1":             {false, true},
		"203.0.113.9":            {false, true},
		"0.0.0.0":                {false, false},
		"0.1.2.3":                {false, true},
		"224.0.0.1":              {false, false},
		"240.0.0.1":              {false, true},
		"255.255.255.255":        {false, false},
		"::":                     {false, false},
		"::1":                    {false, true},
		"::8.8.8.8":              {false, true},
		"::ffff:8.8.8.8":         {false, true},
		"64:ff9b::808:808":       {false, true},
		"64:ff9b:1::1":           {false, true},
		"100::1":                 {false, true},
		"2001::1":                {false, true},
		"2001:db8::1":            {false, true},
		"2002:7f00:1::":          {false, true},
		"fc00::1":                {false, true},
		"fd00:ec2::254":          {false, true},
		"fe80::1":                {false, true},
		"fec0::1":                {false, true},
		"ff02::1":                {false, false},
		"2606:4700::1%eth0":      {false, true},
		"3fff::1":                {false, true},
		"2a00:1450:4001:80b::1":  {true, true},
		"5f00::1":                {false, true},
		"2620:4f:8000::1":        {false, true},
		"192.175.48.1":           {false, true},
		"2001:200::1":            {true, true},
		"2001:1ff:ffff::ffff":    {false, true},
		"fe80::1%25":             {false, true},
		"4000::1":                {false, true},
		"192.88.99.1":            {false, true},
		"1.1.1.1":                {true, true},
		"223.255.255.254":        {true, true},
		"192.0.2.1":              {false, true},
		"198.51.100.1":           {false, true},
		"169.253.255.255":        {true, true},
		"2003:db8::1":            {true, true},
		"2001:4860:4860::8888":   {true, true},
		"2002:c0a8:0101::1":      {false, true},
		"64:ff9b::7f00:1":        {false, true},
		"::ffff:0:127.0.0.1":     {false, true},
		"2001:0:53aa:64c::1":     {false, true},
		"2001:10::1":             {false, true},
		"ff0e::1":                {false, false},
		"fe80:ffff::1":           {false, true},
		"2002:808:808::808:0808": {false, true},
	} {
		addr := netip.MustParseAddr(ip)
		if got := [2]bool{isPublic(addr), isPrivate(addr)}; got != want {
			t.Errorf("%s: got %v, want %v", ip, got, want)
		}
	}
	if isPublic(netip.Addr{}) || isPrivate(netip.Addr{}) {
		t.Error("no address is an address")
	}
}
