package nodeapi_test

import (
	"encoding/json"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// stateOf returns the state of a middleware as JSON, "" for none.
func stateOf(t *testing.T, s nodeapi.Stages, name string) string {
	t.Helper()
	for _, stage := range s.Stages {
		for _, e := range stage.Entries {
			if e.Name == name && e.State != nil {
				b, err := json.Marshal(e.State)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
		}
	}
	return ""
}

// States are shown in the list, and set one by one, at any node of the mesh.
func TestSetMiddleware(t *testing.T) {
	inMesh(t, []string{"a", "b"}, func(t *testing.T, n *nodes) {
		a, b := n.all[0], n.all[1].ID()+"@"
		settings := map[string]any{"calls": 5}
		ask[nodeapi.Stages](t, a, b+"node:/middleware/insert", map[string]any{"stage": "call", "kind": "limit", "settings": settings})
		set := func(change any) (nodeapi.Stages, error) {
			return ropewalk.Call[nodeapi.Stages](t.Context(), a, b+"node:/middleware/set", change)
		}
		got, err := set(map[string]any{"stage": "call", "name": "limit", "state": map[string]any{"calls": 7}})
		if s := stateOf(t, got, "limit"); err != nil || s != `[{"calls":7,"running":0,"waiting":0}]` { // this call passed the stage at the other node
			t.Errorf("%s, %v", s, err)
		}
		if s := stateOf(t, ask[nodeapi.Stages](t, a, "node:/middleware", nil), "limit"); s != "" {
			t.Errorf("the other node has %s", s)
		}
		for _, c := range []struct {
			stage, name string
			state       any
			code        message.Code
		}{
			{"call", "limit", map[string]any{"calls": 0}, message.CodeInvalidInput},
			{"call", "limit", nil, message.CodeInvalidInput},
			{"call", "log", map[string]any{}, message.CodeUnimplemented},
			{"call", "teapot", map[string]any{}, message.CodeNotFound},
			{"kitchen", "limit", map[string]any{}, message.CodeInvalidInput},
		} {
			if _, err := set(map[string]any{"stage": c.stage, "name": c.name, "state": c.state}); message.CodeOf(err) != c.code {
				t.Errorf("%s %s %v: %v", c.stage, c.name, c.state, err)
			}
		}
	})
}
