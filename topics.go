package ropewalk

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/topic"
)

// serveTopics has the node answer for the topics of the configuration.
func (n *Node) serveTopics() error {
	services := make(map[string]*Service)
	for _, at := range slices.Sorted(maps.Keys(n.cfg.Topics)) {
		t := n.cfg.Topics[at]
		addr, pattern, err := parseTopic(at, &t)
		if err != nil {
			return fmt.Errorf("topics[%q]: %w", at, err)
		}
		svc := services[addr.Name]
		if svc == nil {
			svc = NewService(addr.Name, service.WithDescription("Topics of the configuration."))
			services[addr.Name] = svc
		}
		if !t.Durable {
			topic.NewLog(addr.Name, pattern, t, n.topics.Metrics()).AddTo(svc)
			continue
		}
		if n.cfg.TopicLog == nil {
			return fmt.Errorf("topics[%q].durable: %w", at, errNoLog)
		}
		log := n.cfg.TopicLog(addr.Name, pattern, t)
		n.logs = append(n.logs, log)
		log.AddTo(svc)
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if err := n.Serve(services[name]); err != nil {
			return fmt.Errorf("topics: %w", err)
		}
	}
	return nil
}

// closeLogs ends what keeps durable topics.
func (n *Node) closeLogs() {
	for _, l := range n.logs {
		l.Close()
	}
}

// errNoLog is for durable topics without a place to keep them.
var errNoLog = &message.Error{
	Code: message.CodeInvalidInput, Path: "durable", Message: "there is no store for events that are to outlive nodes",
	Hint: "Name a directory in mesh.store, or leave durable out.",
}

// CheckTopics returns all that is wrong with the topics, as *message.Error whose
// Path is the field below topics; a node itself stops at the first. Durable
// events need TopicLog, or the means of one: Mesh.Store or Mesh.NATS.
func (c *Config) CheckTopics() []error {
	var all []error
	for _, at := range slices.Sorted(maps.Keys(c.Topics)) {
		t := c.Topics[at]
		_, _, err := parseTopic(at, &t)
		if err == nil && t.Durable && c.TopicLog == nil && c.Mesh.Store == "" && len(c.Mesh.NATS) == 0 {
			err = errNoLog
		}
		if err == nil {
			continue
		}
		e := *message.AsError(err)
		if e.Path == "" {
			e.Path = at
		} else {
			e.Message = strings.TrimPrefix(e.Message, e.Path+": ")
			e.Path = at + "." + e.Path
		}
		all = append(all, &e)
	}
	return all
}

// parseTopic checks a topic and where it is. The Path of its error is a field of
// the topic, if it is about one.
func parseTopic(at string, t *route.Topic) (a message.Address, p route.Pattern, err error) {
	if a, err = message.ParseStrict(at); err != nil || a.Instance != "" || a.Method != "" || a.Query != "" {
		return a, p, message.NewError(message.CodeInvalidInput, "this is no pattern of addresses", "Write it like prices:/**.")
	}
	if err = service.CheckName(a.Name); err != nil {
		return a, p, err
	}
	if err = t.Check(); err != nil {
		return a, p, err
	}
	if p, err = route.ParsePattern(a.Path); err != nil {
		e := *message.AsError(err)
		e.Path = "" // the pattern, and no field
		return a, p, &e
	}
	return a, p, nil
}

// Watch has what comes at an address: the content and every change, or events.
// See [call.Watcher].
func (n *Node) Watch(ctx context.Context, address string, opts ...call.WatchOption) *call.Watch {
	return n.topics.Watch(ctx, address, opts...)
}

// Get returns the content of a topic as it is now.
func (n *Node) Get(ctx context.Context, address string, opts ...call.Option) (*call.Update, error) {
	a, err := n.x.Local().Get(ctx, address, opts...)
	if err != nil {
		return nil, err
	}
	return &call.Update{Body: a.Body, ContentType: a.ContentType, Address: address}, nil
}

// Publish makes body the content of a topic, or an event of it, and returns when
// that is done; nil deletes the content.
func (n *Node) Publish(ctx context.Context, address string, body any, opts ...call.Option) (*call.Answer, error) {
	return n.x.Local().Publish(ctx, address, body, opts...)
}

// Owns tells whether this node has the server that all nodes choose now for a
// topic, so that of several nodes one does what is to be done once. Nodes that
// do not reach each other choose by themselves, and for a moment after one has come
// or gone two may do so differently.
func (n *Node) Owns(address string) bool {
	owner, _, err := n.x.Owner(address)
	return err == nil && owner.Local() && owner.ID() == n.id
}

var _ call.Watcher = (*Node)(nil)
