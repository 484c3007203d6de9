package nodeapi

import (
	"context"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// Changes is the answer of node:/reload: what came of a new configuration.
type Changes struct {
	// Applied are the fields that hold from now on, sorted.
	Applied []string `json:"applied"`
	// Restart are the fields that differ from those the node works with, and will
	// until it is started anew.
	Restart []string `json:"restart"`
}

// String is the changes in a sentence.
func (c Changes) String() string {
	var parts []string
	if len(c.Applied) > 0 {
		parts = append(parts, "changed: "+strings.Join(c.Applied, ", "))
	}
	if len(c.Restart) > 0 {
		parts = append(parts, "needs a restart: "+strings.Join(c.Restart, ", "))
	}
	if len(parts) == 0 {
		return "nothing has changed"
	}
	return strings.Join(parts, "; ")
}

func (h *api) reload(ctx context.Context, _ none) (Changes, error) {
	if err := h.allowed(ctx); err != nil {
		return Changes{}, err
	}
	if h.Reload == nil {
		return Changes{}, message.NewError(message.CodeUnimplemented, "this node does not know where its configuration comes from",
			"Start it with a configuration file, or have the program that it is part of set Config.Source.")
	}
	return h.Reload(ctx)
}
