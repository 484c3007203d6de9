package nodeapi

import (
	"context"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/topic"
)

// topics lists what is watched, for administrators: it tells what others look at.
func (h *api) topics(ctx context.Context, in Page) ([]topic.Info, error) {
	if err := h.allowed(ctx); err != nil {
		return nil, err
	}
	return h.listTopics(ctx, in)
}

func (h *api) listTopics(_ context.Context, in Page) ([]topic.Info, error) {
	all := []topic.Info{}
	if h.Topics != nil {
		all = h.Topics()
	}
	from, to, err := in.of(len(all))
	return all[from:to], err
}

// nodesDiffer tells whether a list of nodes is worth to be told: not when a node
// was just heard of again.
func nodesDiffer(old, now []NodeStatus) bool {
	return differAsJSON(lasting(old), lasting(now))
}

// lasting is a list of nodes without what changes with each beat of a heart.
func lasting(list []NodeStatus) []NodeStatus {
	list = slices.Clone(list)
	for i := range list {
		list[i].Heard, list[i].RTT, list[i].Pending = time.Time{}, 0, 0
	}
	return list
}
