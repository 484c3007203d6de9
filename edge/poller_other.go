//go:build !linux

package edge

import (
	"context"
	"errors"
	"net"
)

const pollerSupported = false

var errNoPoller = errors.New("edge: the poller driver needs Linux")

// poller stands in for the one that only Linux has; none is ever made.
type poller struct{ link }

func newPoller(*Server) (*poller, error)          { return nil, errNoPoller }
func pollerSocket(*net.TCPListener) (int, error)  { return -1, errNoPoller }
func (p *poller) run(context.Context)             {}
func (p *poller) halt()                           {}
func (p *poller) close()                          {}
func (p *poller) do(func()) bool                  { return false }
func (p *poller) listen(*listener) error          { return errNoPoller }
func (p *poller) unlisten(*listener)              {}
func (p *poller) repeat(*beat) error              { return errNoPoller }
func (p *poller) adopt(*Conn, *net.TCPConn) error { return errNoPoller }
func (p *poller) detach(*Conn) (net.Conn, error)  { return nil, errNoPoller }
