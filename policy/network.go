package policy

import (
	"net/netip"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// withinName is the function ip.within('10.0.0.0/8').
const withinName = "within"

// within tells whether an address is in a network. What is no address is in
// none.
func within(ip, network ref.Val) ref.Val {
	a, ok := ip.(types.String)
	n, ok2 := network.(types.String)
	if !ok || !ok2 {
		return types.MaybeNoSuchOverloadErr(ip)
	}
	at, err := netip.ParseAddr(string(a))
	if err != nil {
		return types.False
	}
	p, err := netip.ParsePrefix(string(n))
	if err != nil {
		return types.NewErr("%s is no network", string(n))
	}
	return types.Bool(p.Contains(at.Unmap().WithZone("")))
}

func isNetwork(s string) bool {
	_, err := netip.ParsePrefix(s)
	return err == nil
}
