package ropewalk

import (
	"log/slog"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session/token"
)

// TokenCodec returns what makes and reads tokens as nodes of this configuration
// do, for programs that give them out. It reads the files with keys, and, with
// Sessions.Tokens.Dir, makes them if there are none; it may take a tenth of a
// second. A nil log is slog.Default. Close it when it is not needed any more. It
// fails with CodeConflict if each node makes keys of its own and keeps them in
// memory.
func (c *Config) TokenCodec(log *slog.Logger) (*token.Codec, error) {
	t := c.tokens()
	if t.Secret == "" && len(t.Keys) == 0 && t.Dir == "" {
		return nil, message.NewError(message.CodeConflict, "the configuration has no keys for tokens: each node makes its own",
			"Set mesh.secret or sessions.tokens.secret, or keep keys in sessions.tokens.dir.")
	}
	return token.New(t, token.Options{Mesh: c.Mesh.Name, Log: log})
}
