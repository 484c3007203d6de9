package middleware_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
)

func TestSecret(t *testing.T) {
	t.Parallel()
	h := middleware.Secret(middleware.SecretConfig{Secrets: []string{"new", "old"}})(reply)
	for _, c := range []struct {
		name string
		aut  []byte
		code message.Code
		text string
	}{
		{"ok", []byte("new"), "", ""},
		{"ok, the other", []byte("old"), "", ""},
		{"wrong", []byte("nex"), message.CodeUnauthenticated, "the message has the wrong secret"},
		{"prefix", []byte("ne"), message.CodeUnauthenticated, "the message has the wrong secret"},
		{"none", nil, message.CodeUnauthenticated, "the message has no secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := newCall("a:/x")
			in.req.Message.Authorization = c.aut
			if run(t, h, in); in.code() != c.code || in.err != nil && in.err.Message != c.text {
				t.Errorf("got %v", in.err)
			}
		})
	}
}
