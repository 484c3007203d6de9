// Package nats is what the NATS servers of the bench have in common.
package nats

import (
	"net/url"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster has a server accept others on the loopback, at any port, and join the
// one at the address join, if that is not empty: one connection between two
// servers and no compression, as between nodes.
func Cluster(o *server.Options, join string) {
	o.Cluster = server.ClusterOpts{
		Name: "bench", Host: "127.0.0.1", Port: server.RANDOM_PORT, PoolSize: 1,
		Compression: server.CompressionOpts{Mode: server.CompressionOff},
	}
	if join != "" {
		o.Routes = []*url.URL{{Scheme: "nats-route", Host: join}}
	}
}
