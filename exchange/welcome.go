package exchange

import (
	"encoding/json"
	"time"
)

// Welcome is the body of the first message on each connection.
type Welcome struct {
	ID     string        `json:"id"`
	Node   NodeRef       `json:"node"`
	Limits WelcomeLimits `json:"limits"`
}

// NodeRef names a node.
type NodeRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// WelcomeLimits tells a client what the node will refuse.
type WelcomeLimits struct {
	Frame int `json:"frame"` // bytes
	Calls int `json:"calls"` // in flight
}

func (x *Exchange) welcome(p *Peer, maxFrame int) []byte {
	b, err := json.Marshal(Welcome{
		ID:     p.ID(),
		Node:   NodeRef{ID: x.cfg.NodeID, Name: x.cfg.NodeName},
		Limits: WelcomeLimits{Frame: maxFrame, Calls: x.cfg.MaxCalls},
	})
	if err != nil {
		panic(err) //nolint:forbidigo // strings and numbers always marshal
	}
	return b
}

// ClientInfo describes one connection, for node:/clients.
type ClientInfo struct {
	ID         string    `json:"id"`
	Listener   string    `json:"listener"`
	Transport  string    `json:"transport"`
	RemoteAddr string    `json:"remoteAddr"`
	Since      time.Time `json:"since"`
	Calling    int       `json:"calling"`   // calls it made that are in flight
	Answering  int       `json:"answering"` // calls it is answering
	Serves     int       `json:"serves"`    // routes
	Draining   bool      `json:"draining,omitempty"`
}

// Info describes the peer.
func (p *Peer) Info() ClientInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ClientInfo{
		ID: p.ID(), Listener: p.Listener(), Transport: p.link.Transport(), RemoteAddr: p.RemoteAddr(),
		Since: p.since, Calling: p.inFlight, Answering: p.InFlight(), Serves: p.x.table.Count(p), Draining: p.draining,
	}
}
