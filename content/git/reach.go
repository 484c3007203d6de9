package git

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/net/proxy"
)

// The library makes a connection for ssh that no context ends: a host that takes it
// and says nothing would be waited for without end. What the library takes is the
// URL of a proxy, so each exchange has one of its own, which is a context.
const reachScheme = "ropewalk-reach"

// reaching are the exchanges that are under way, by the host of that URL.
var reaching = struct { //nolint:gochecknoglobals // as the kinds of proxies are
	sync.Mutex

	once sync.Once
	last uint64
	ctx  map[string]context.Context
}{ctx: map[string]context.Context{}}

// reach returns what has connections for ssh end with ctx. done has to be called.
func reach(ctx context.Context) (o transport.ProxyOptions, done func()) {
	reaching.Lock()
	defer reaching.Unlock()
	reaching.once.Do(func() { proxy.RegisterDialerType(reachScheme, dialerOf) })
	reaching.last++
	key := strconv.FormatUint(reaching.last, 10)
	reaching.ctx[key] = ctx //nolint:fatcontext // it is taken away by done
	return transport.ProxyOptions{URL: reachScheme + "://" + key}, func() {
		reaching.Lock()
		defer reaching.Unlock()
		delete(reaching.ctx, key)
	}
}

func dialerOf(u *url.URL, _ proxy.Dialer) (proxy.Dialer, error) {
	reaching.Lock()
	defer reaching.Unlock()
	ctx := reaching.ctx[u.Host]
	if ctx == nil {
		return nil, errors.New("the exchange is over")
	}
	return dialer{ctx}, nil
}

// dialer makes the connections of one exchange.
type dialer struct {
	ctx context.Context //nolint:containedctx // it is the exchange itself
}

// Dial implements [proxy.Dialer].
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := proxy.Dial(d.ctx, network, address) // as the library does
	if err != nil {
		return nil, err
	}
	context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	return conn, nil
}

// DialContext implements [proxy.ContextDialer].
func (d dialer) DialContext(_ context.Context, network, address string) (net.Conn, error) {
	return d.Dial(network, address)
}

var _ proxy.ContextDialer = dialer{}
